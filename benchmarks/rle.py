"""Brush masks: our codec against label_studio_sdk.converter.brush, on blobs and on noise, in one run.

Claim: at least as fast as the SDK on blobs, and 20 times as fast on noise, with the same bytes and pixels.
Run: python benchmarks/rle.py [WIDTH HEIGHT]     (default 1920 1080; the SDK takes minutes for much more)
     python benchmarks/rle.py --quick            (192 x 108)

Prints megapixels a second, the best of the rounds, taken turn by turn; and ours over theirs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from label_studio_sdk.converter import brush as sdk

from workflow.labelstudio.regions.brush import mask_to_rle, rle_to_alpha

ROUNDS = 5


def main() -> None:
    width, height = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (1920, 1080)
    if "--quick" in sys.argv:
        width, height = 192, 108
    print(f"{width} x {height}, best of {ROUNDS}, megapixels a second")
    print(f"{'':16} {'bytes':>9} {'SDK':>9} {'ours':>9} {'ratio':>7}")
    for name, pixels in {"blobs": blobs(width, height), "noise": noise(width, height)}.items():
        as_bytes = pixels * np.uint8(255)
        rle = mask_to_rle(pixels)
        theirs, ours = race(partial(sdk.mask2rle, as_bytes), partial(mask_to_rle, pixels))
        assert theirs[1] == ours[1] == rle
        show(f"{name}, encode", len(rle), pixels.size, theirs[0], ours[0])
        theirs, ours = race(partial(sdk_alpha, rle, height, width), partial(rle_to_alpha, rle, height, width))
        assert (theirs[1] == ours[1]).all()
        assert (ours[1] == as_bytes).all()
        show(f"{name}, decode", len(rle), pixels.size, theirs[0], ours[0])


def sdk_alpha(rle: list[int], height: int, width: int) -> Any:
    return sdk.decode_rle(rle).reshape(height, width, 4)[:, :, 3]


def blobs(width: int, height: int) -> np.ndarray:
    """Twelve ellipses, every other one a hole."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    pixels = np.zeros((height, width), dtype=bool)
    for number in range(12):
        cx, cy = random.uniform(0, width), random.uniform(0, height)
        rx, ry = random.uniform(0.03, 0.2, 2) * (width, height)
        pixels[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = number % 2 == 0
    return pixels


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(2).random((height, width)) < 0.5


def race(*ways: Callable[[], Any]) -> list[tuple[float, Any]]:
    """The shortest time and the result of each way."""
    best: list[tuple[float, Any]] = [(float("inf"), None)] * len(ways)
    for _ in range(ROUNDS):
        for number, way in enumerate(ways):
            start = time.perf_counter()
            result = way()
            best[number] = (min(best[number][0], time.perf_counter() - start), result)
    return best


def show(name: str, size: int, pixels: int, theirs: float, ours: float) -> None:
    rates = f"{pixels / theirs / 1e6:9.1f} {pixels / ours / 1e6:9.1f}"
    print(f"{name:16} {size:9} {rates} {theirs / ours:6.1f}x")


if __name__ == "__main__":
    main()

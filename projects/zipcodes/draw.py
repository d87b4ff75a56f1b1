"""Draw the raw images of the demo: photographed envelopes with handwritten ZIP codes.

The handwriting is real (the 8x8 digits that scikit-learn ships) and so are the textures (photos
that scikit-image ships), so the demo needs no download and every box is known exactly.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from envelope import (
    GLYPH,
    HEIGHT,
    WIDTH,
    ZOOM,
    Array,
    Box,
    blank_paper,
    ink_in,
    photograph,
    put_airmail_border,
    put_stamp,
    scribble,
    strokes,
    write_row,
)
from numpy.typing import NDArray
from PIL import Image

SENDERS = 24
TURNED = {(2, 0), (9, 1), (17, 5)}  # stored on their side, with EXIF orientation 6
UNREADABLE = {(5, 1)}
DAMAGED = "sender-11-damaged.jpg"
INKS = ((120, 44, 22), (38, 34, 32), (150, 60, 40), (40, 80, 30), (48, 36, 150), (90, 88, 86))


@cache
def handwriting() -> tuple[NDArray[Any], NDArray[Any]]:
    from sklearn.datasets import load_digits  # late, for the reason given at `photo`

    digits = load_digits()
    return digits.images.astype(np.float32) / 16, digits.target


def pen_glyph(image: NDArray[Any], weight: float) -> Array:
    """One 8x8 digit as a smooth pen stroke; a higher weight is a broader pen."""
    padded = np.pad(image, 1)
    big = cv2.resize(padded, (GLYPH, GLYPH), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(big, (0, 0), 1.6)
    return (1 / (1 + np.exp(-(soft - (1 - weight) * soft.max()) * 16))).astype(np.float32)


def draw_envelope(
    rng: np.random.Generator, digits: Iterable[Array], hand: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Box]]:
    """One envelope; `hand` decides what stays the same for a sender: pen, slant and size."""
    height = ZOOM * int(rng.integers(HEIGHT - 10, HEIGHT + 1))
    sheet = blank_paper(rng, height, ZOOM * WIDTH, rng.uniform(2, 9))
    if rng.random() < 0.25:
        put_airmail_border(sheet)
    colour = INKS[hand.integers(len(INKS))]
    weight, slant, size = hand.uniform(0.48, 0.6), hand.uniform(-0.05, 0.3), hand.uniform(70, 90)
    pen = int(hand.integers(3, 5))
    sender = [scribble(rng, 44, 46 + 26 * k, rng.uniform(120, 210), 14) for k in range(3)]
    ink_in(sheet, strokes(sheet.shape, sum(sender, []), 2), colour, 0.75)
    left = rng.uniform(190, 300)
    rows = [scribble(rng, left, 190 + 52 * k, rng.uniform(200, 360), 30) for k in range(3)]
    ink_in(sheet, strokes(sheet.shape, sum(rows, []), pen), colour, 0.88)
    put_stamp(rng, sheet)
    if rng.random() < 0.4:
        under = np.array([[left, 320], [left + rng.uniform(180, 330), 320 + rng.normal(0, 8)]])
        ink_in(sheet, strokes(sheet.shape, [under], pen), colour, 0.8)
    at = (rng.uniform(120, 330), height - rng.uniform(84, 106))
    glyphs = [pen_glyph(digit, weight) for digit in digits]
    masks = write_row(rng, sheet, glyphs, at, size, slant, colour)
    return photograph(rng, sheet, masks)


def spoil(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """So dark and so blurred that nobody can read it."""
    return (cv2.GaussianBlur(image, (0, 0), 9) * 0.12).astype(np.uint8)


def save_jpeg(image: NDArray[np.uint8], path: Path, turned: bool) -> None:
    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    exif = Image.Exif()
    if turned:
        # Orientation 6 means: turn by a quarter clockwise to see it upright.
        picture, exif[0x0112] = picture.transpose(Image.Transpose.ROTATE_90), 6
    draft = path.with_suffix(".tmp")
    picture.save(draft, format="JPEG", quality=90, exif=exif)
    draft.replace(path)


def write_text(text: str, path: Path) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def draw_one(images: Path, index: int, seed: int) -> dict[str, Any]:
    """Draw and save one envelope; returns its line of the truth."""
    envelope, sender = divmod(index, SENDERS)
    pictures, labels = handwriting()
    # Each sender writes with digits nobody else has, so that a split by sender leaks nothing.
    own = np.array_split(np.arange(len(labels)), SENDERS)[sender]
    order = np.random.default_rng([seed, sender]).permutation(own)
    chosen = order.take(range(envelope * 5, envelope * 5 + 5), mode="wrap")
    if (sender + envelope) % 10 == 3:
        chosen = chosen[:0]
    rng = np.random.default_rng([seed, sender, envelope])
    hand = np.random.default_rng([seed, sender, 10_000])
    image, boxes = draw_envelope(rng, pictures[chosen], hand)
    line: dict[str, Any] = {"file": f"sender-{sender:02d}-envelope-{envelope:02d}.jpg"}
    line |= {"width": image.shape[1], "height": image.shape[0]}
    names = [str(labels[k]) for k in chosen]
    line["annotations"] = [{"label": n, "box": b} for n, b in zip(names, boxes, strict=True)]
    if (sender, envelope) in UNREADABLE:
        image = spoil(image)
        line |= {"annotations": [], "unreadable": True}
    save_jpeg(image, images / line["file"], (sender, envelope) in TURNED)
    return line


def draw_envelopes(out: Path, count: int = 240, seed: int = 0) -> int:
    """Draw `count` envelopes below `out` unless they are there; returns how many there are."""
    images, truth, mark = out / "images", out / "truth" / "truth.jsonl", out / "truth" / "drawn.json"
    # The last says how the truth is written: one written otherwise is drawn anew.
    wanted = json.dumps({"count": count, "seed": seed, "truth": "annotations"})
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        names = [json.loads(line)["file"] for line in truth.read_text("utf-8").splitlines()]
        if all((images / name).is_file() for name in [*names, DAMAGED]):
            return count
    mark.unlink(missing_ok=True)
    for folder in (images, truth.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for stray in images.glob("sender-*.jpg"):
        stray.unlink()  # from another count or seed; the truth would not know it
    lines = sorted((draw_one(images, k, seed) for k in range(count)), key=lambda line: line["file"])
    whole = (images / lines[0]["file"]).read_bytes()
    draft = images / "damaged.tmp"
    draft.write_bytes(whole[: len(whole) // 20])
    draft.replace(images / DAMAGED)
    write_text("".join(json.dumps(line) + "\n" for line in lines), truth)
    write_text(wanted, mark)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    count = draw_envelopes(chosen.out, chosen.count, chosen.seed)
    print(f"{count} envelopes in {chosen.out}")


if __name__ == "__main__":
    main()

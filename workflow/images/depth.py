"""Which gray values are black and white, where a pixel has more than 8 bits.

A 12-bit scan in a 16-bit file comes out black where it is taken for 16 bits, and an image that is stretched
to its own brightest pixel cannot be compared with its neighbour: so one decision holds for a whole source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# The values that are shown as black and as white.
Levels = tuple[float, float]
# The bits that scanners, cameras and detectors have.
USUAL = (8, 10, 12, 14, 16)
TIFF_BITS, TIFF_FORMAT, UNSIGNED = 258, 339, 1
# Pixels that are converted at a time.
STRIP = 2**18


@dataclass(frozen=True, slots=True)
class Gray:
    """The lowest and the highest value of deep gray, and whether its values are fractions."""

    low: float
    high: float
    floating: bool = False


def is_deep(image: Image.Image) -> bool:
    """Whether the image is gray of more than 8 bits a pixel."""
    return image.mode == "F" or image.mode.startswith("I")


def rows_at_once(width: int) -> int:
    """How many rows of pixels are converted at a time, lest those of a wide image take much memory."""
    return max(1, STRIP // width)


def strips(image: Image.Image) -> Iterator[NDArray]:
    """The values of a loaded deep image, some rows at a time, as what its file says they are."""
    rows = rows_at_once(image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        if _is_unsigned_32(image):
            values = values.view(np.uint32)
        yield np.nan_to_num(values, posinf=0, neginf=0) if values.dtype.kind == "f" else values


def measure(image: Image.Image) -> Gray:
    """The range of a loaded deep image's values."""
    ranges = [(strip.min(), strip.max()) for strip in strips(image)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return Gray(float(low), float(high), image.mode == "F")


def stated(image: Image.Image, significant: int | None) -> Levels | None:
    """What the file of a loaded image says: fewer bits than it stores (BitsPerSample of TIFF, sBIT of PNG).

    JPEG 2000 comes from Pillow with all its bits at the top of 16.
    """
    if not is_deep(image):
        return None
    if image.format == "JPEG2000":
        return of_bits(16)
    bits = significant or 0
    if image.format == "PNG" and 8 <= bits < 16 and _are_scaled_up(image, bits):
        return of_bits(16)
    if image.format == "TIFF":
        bits = max(image.tag_v2.get(TIFF_BITS, (0,)))  # type: ignore[attr-defined]
    # More than that is not what it says.
    return of_bits(bits) if 1 <= bits < 16 and measure(image).high < 2**bits else None


def _are_scaled_up(image: Image.Image, bits: int) -> bool:
    """Whether 16-bit values have their significant `bits` at the top, as PNG wants it, and not at the bottom.

    The rest of them is then 0, or the first bits once more.
    """
    zeros = copied = True
    for strip in strips(image):
        values = strip.astype(np.uint32)
        top = values >> (16 - bits)
        zeros &= bool((values == top << (16 - bits)).all())
        copied &= bool((values == (top << (16 - bits) | top >> (2 * bits - 16))).all())
    return zeros or copied


def of_bits(bits: int) -> Levels:
    return 0.0, 2.0**bits - 1


def common(grays: Iterable[Gray]) -> Levels:
    """One decision for gray images that belong together: the smallest usual depth that holds them all."""
    grays = list(grays)
    low, high = min(g.low for g in grays), max(g.high for g in grays)
    if any(g.floating for g in grays):
        top = next((t for t in (1.0, 255.0, 65535.0) if max(high, -low) <= t), max(high, -low))
        return (0.0 if low >= 0 else -top), top
    sign = 0 if low >= 0 else 1
    # Of signed values, one bit is the sign.
    need = max(int(high).bit_length(), (-int(low) - 1).bit_length() if sign else 0) + sign
    bits = next((usual for usual in USUAL if need <= usual), need)
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if sign else of_bits(bits)


def describe(levels: Levels) -> str:
    """As people say it: "12 bits (0 to 4095)"."""
    low, high = levels
    bits = math.log2(high - low + 1)
    span = f"{low:.10g} to {high:.10g}"
    return f"{bits:g} bits ({span})" if bits.is_integer() and high > 1 else span


def scale(values: NDArray, levels: Levels) -> NDArray[np.uint8]:
    """Eight bits of deep values: what lies below black is black, and above white is white."""
    low, high = levels
    return (np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)


def _is_unsigned_32(image: Image.Image) -> bool:
    """Pillow keeps unsigned TIFFs of 32 bits as signed ones."""
    if image.format != "TIFF" or image.mode != "I":
        return False
    tags = image.tag_v2  # type: ignore[attr-defined]
    return tuple(tags.get(TIFF_BITS, ())) == (32,) and tags.get(TIFF_FORMAT, (UNSIGNED,))[0] == UNSIGNED

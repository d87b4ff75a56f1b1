"""What is measured of an image on a thumbnail of it: a hash of its looks, brightness, blur.

The thumbnail is gray, upright, and `SIDE` pixels long, or as long as the image where that is smaller.
The hashes are difference hashes of 64 bits: https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128
BOX = Image.Resampling.BOX


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`dhash`: 16 hex digits; the more bits two of them share, the more alike two images look.

    Of a thumbnail of 9 x 8 pixels, row by row from the top left, a bit is 1 where a pixel is darker than the
    next to its right. `mirrored` is the same of the mirrored thumbnail. Of one of 8 x 9 pixels a bit of
    `down` is 1 where a pixel is darker than the next below it. `brightness` is the mean gray, 0 to 255.
    `blur` is the variance of the Laplacian (its four neighbours less four times the pixel itself), the lower
    the more blurred; 0 where a side is under 3.
    """

    dhash: str
    mirrored: str
    down: str
    brightness: float
    blur: float


def size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the thumbnail of an image of that size, in pixels."""
    longer = max(width, height)
    if longer <= SIDE:
        return width, height
    return max(1, round(width * SIDE / longer)), max(1, round(height * SIDE / longer))


def reduced(image: Image.Image) -> Image.Image:
    """The gray thumbnail of an image of mode L or RGB, the way up that it is."""
    return image.resize(size(*image.size), BOX, reducing_gap=2.0).convert("L")


def measure(thumbnail: Image.Image) -> Thumbnail:
    """What an upright gray `thumbnail` shows."""
    cells, rows = (np.asarray(thumbnail.resize(shape, BOX)) for shape in ((9, 8), (8, 9)))
    left, right = cells[:, :-1], cells[:, 1:]
    pixels = np.asarray(thumbnail)
    return Thumbnail(
        dhash=_hex(left < right),
        mirrored=_hex((right < left)[:, ::-1]),
        down=_hex(rows[:-1] < rows[1:]),
        brightness=round(float(pixels.mean()), 2),
        blur=round(_blur(pixels), 2),
    )


def _hex(bits: NDArray[np.bool_]) -> str:
    return np.packbits(bits).tobytes().hex()


def _blur(gray: NDArray[np.uint8]) -> float:
    if min(gray.shape) < 3:
        return 0.0
    pixels = gray.astype(np.int16)
    beside = pixels[1:-1, :-2] + pixels[1:-1, 2:] + pixels[:-2, 1:-1] + pixels[2:, 1:-1]
    # By BLAS it would be quicker, but for the threads that it starts.
    return float((beside - 4 * pixels[1:-1, 1:-1]).var(dtype=np.float64))

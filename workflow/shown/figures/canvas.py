"""A part of an image, enlarged or reduced, to draw shapes, masks and points on; out as a JPEG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workflow.records import Point

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 640
MAX_BYTES = 70_000
DASH, GAP = 7, 5

# xyxy, in pixels of the upright image.
Window = tuple[float, float, float, float]


class Canvas:
    """The `window` of an upright image, as wide as a picture of the report. Coordinates are the image's."""

    def __init__(self, image: Image, window: Window) -> None:
        from PIL import ImageDraw

        self._window = window
        self._scale = WIDTH / (window[2] - window[0])
        self.size = (WIDTH, max(1, round((window[3] - window[1]) * self._scale)))
        self.image = image.convert("RGB").resize(self.size, box=window, reducing_gap=2.0)
        self._draw = ImageDraw.Draw(self.image)

    def outline(self, points: ArrayLike, colour: str, width: int, dashed: bool = False) -> None:
        """A closed line through the points (n, 2)."""
        placed = self._placed(points)
        for start, end in zip(placed, np.roll(placed, -1, axis=0), strict=True):
            for one, other in _dashes(start, end) if dashed else [(start, end)]:
                self._draw.line((*one, *other), colour, width)
        if not dashed:
            # Lines end square: without this, corners of thick ones have notches.
            for x, y in placed:
                self._draw.circle((x, y), width / 2 - 0.5, fill=colour)

    def fill(self, bits: NDArray[np.bool_], colour: str, share: float) -> None:
        """Lay a colour over pixels of the whole image, as opaque as `share` says."""
        self._paste(self._window_of(bits), colour, share)

    def edge(self, bits: NDArray[np.bool_], colour: str, width: int, dashed: bool = False) -> None:
        """The inner edge of pixels of the whole image."""
        from scipy.ndimage import minimum_filter

        shape = np.asarray(self._window_of(bits))
        # A mask that goes on outside the window has no edge there.
        edge = shape & ~minimum_filter(shape, 2 * width + 1, mode="nearest")
        if dashed:
            down, along = np.indices(edge.shape)
            edge[(down + along) % (DASH + GAP) >= DASH] = 0
        self._paste(_grey(edge), colour, 1.0)

    def dot(self, point: Point, colour: str, hollow: bool = False) -> None:
        """A keypoint: a disc, or a ring."""
        (place,) = self._placed([point])
        if hollow:
            self._draw.circle(tuple(place), 8, outline=colour, width=3)
        else:
            self._draw.circle(tuple(place), 5, fill=colour, outline="white", width=1)

    def line(self, start: Point, end: Point, colour: str) -> None:
        one, other = self._placed([start, end])
        self._draw.line((*one, *other), colour, 2)

    def placed(self, box: Window) -> Window:
        """Where a box of the image, xyxy, lies in the picture."""
        (x1, y1), (x2, y2) = self._placed([box[:2], box[2:]]).tolist()
        return x1, y1, x2, y2

    def jpeg_url(self) -> str:
        """The picture as a data URL of at most about 95 kB, as good as that allows."""
        for quality in (85, 75, 60, 40, 20):
            out = io.BytesIO()
            self.image.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= MAX_BYTES:
                break
        return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()

    def _placed(self, points: ArrayLike) -> NDArray[np.float64]:
        return (np.asarray(points, dtype=float).reshape(-1, 2) - self._window[:2]) * self._scale

    def _window_of(self, bits: NDArray[np.bool_]) -> Image:
        return _grey(bits.astype(np.uint8) * 255).resize(self.size, 0, box=self._window)

    def _paste(self, shape: Image, colour: str, share: float) -> None:
        self.image.paste(colour, (0, 0), shape.point(lambda value: round(value * share)))


def _dashes(start: NDArray, end: NDArray) -> Sequence[tuple[NDArray, NDArray]]:
    length = float(np.hypot(*(end - start)))
    if not length:
        return []
    along = (end - start) / length
    starts = np.arange(0, length, DASH + GAP).tolist()
    return [(start + along * at, start + along * min(at + DASH, length)) for at in starts]


def _grey(values: NDArray) -> Image:
    from PIL import Image

    return Image.fromarray(values)

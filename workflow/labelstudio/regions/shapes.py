"""The geometry in a region's value: percent of the upright image to pixels, clipped to it.

Each reader takes the value, the image's size and what counts a loss; it returns what an Annotation takes,
or None where the geometry cannot be read, which it has counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from workflow.errors import FormatError
from workflow.labelstudio.regions.brush import rle_to_alpha
from workflow.records import RotatedBox
from workflow.shapes import masks
from workflow.shapes.geometry import Floats, clip_polygon, enclosing_box, polygon_area

Geometry = dict[str, Any]
Value = dict[str, Any]
Lose = Callable[[str], None]
# Pixels. Percent arithmetic errs by 1e-11 in an image of 20,000, and what survives does within 1e-6.
SNAP = 1e-7


def box(value: Value, width: int, height: int, lose: Lose) -> Geometry | None:
    """A rectangle, which turns clockwise about its top left corner."""
    numbers = _numbers(value, "x", "y", "width", "height")
    if numbers is None:
        lose("box without coordinates")
        return None
    x, y, w, h = (n * side / 100 for n, side in zip(numbers, (width, height) * 2, strict=True))
    turn = (_numbers(value, "rotation") or [0.0])[0]
    angle = math.radians(turn)
    cx = x + math.cos(angle) * w / 2 - math.sin(angle) * h / 2
    cy = y + math.sin(angle) * w / 2 + math.cos(angle) * h / 2
    return _box((x, y, x + w, y + h), (cx, cy, w, h, turn), (width, height), lose)


def ellipse(value: Value, width: int, height: int, lose: Lose) -> Geometry | None:
    """An ellipse as the box round it, turned as it is about its centre: an annotation has none of its own."""
    numbers = _numbers(value, "x", "y", "radiusX", "radiusY")
    if numbers is None:
        lose("ellipse without coordinates")
        return None
    cx, cy, rx, ry = (n * side / 100 for n, side in zip(numbers, (width, height) * 2, strict=True))
    turn = (_numbers(value, "rotation") or [0.0])[0]
    upright = (cx - rx, cy - ry, cx + rx, cy + ry)
    around = _box(upright, (cx, cy, 2 * rx, 2 * ry, turn), (width, height), lose)
    if around is not None:
        lose("ellipse read as the box round it")
    return around


def _box(
    upright: tuple[float, ...], turned: tuple[float, ...], size: tuple[int, int], lose: Lose
) -> Geometry | None:
    """The box of corners `upright`, or, where its angle is one, of centre, sides and angle `turned`.

    A turned box that reaches over the edge stays whole: cut off, it would be no box.
    """
    width, height = size
    if min(turned[2:4]) <= 0:
        lose("box without an area")
        return None
    rotated = RotatedBox(*turned) if turned[4] % 360 else None
    x1, y1, x2, y2 = enclosing_box(rotated) if rotated else upright
    exact = (_snap(x1, width), _snap(y1, height), _snap(x2, width), _snap(y2, height))
    x1, y1, x2, y2 = max(exact[0], 0.0), max(exact[1], 0.0), min(exact[2], width), min(exact[3], height)
    if x2 <= x1 or y2 <= y1:
        lose("box outside the image")
        return None
    if rotated:
        return {"rotated_box": rotated}
    if (x1, y1, x2, y2) != exact:
        lose("box clipped to the image")
    return {"box": (float(x1), float(y1), float(x2), float(y2))}


def polygon(value: Value, width: int, height: int, lose: Lose) -> Geometry | None:
    """One closed outline."""
    points = _points(value.get("points"), width, height)
    if points is None:
        lose("polygon without coordinates")
        return None
    if len(points) < 3 or polygon_area(points) == 0:
        lose("polygon without an area")
        return None
    if value.get("closed") is False:
        lose("open polygon read as closed")
    if (points < 0).any() or (points > (width, height)).any():
        points = clip_polygon(points, width, height)
        if len(points) < 3 or polygon_area(points) == 0:
            lose("polygon outside the image")
            return None
        lose("polygon clipped to the image")
    return {"polygons": (tuple((float(x), float(y)) for x, y in points),)}


def keypoint(value: Value, width: int, height: int, lose: Lose) -> Geometry | None:
    """One point; its `width` is that of the dot the editor draws."""
    points = _points([[value.get("x"), value.get("y")]], width, height)
    if points is None:
        lose("keypoint without coordinates")
        return None
    clipped = np.clip(points, 0, (width, height))
    if (clipped != points).any():
        lose("keypoint clipped to the image")
    return {"keypoints": ((float(clipped[0, 0]), float(clipped[0, 1])),)}


def brush(value: Value, width: int, height: int, lose: Lose) -> Geometry | None:
    """A brush mask; a pixel belongs to it where it is at least half as opaque as the most opaque one.

    Half, as a brush's soft edge then ends where it was drawn; of the most opaque one, as tools that write
    0 and 1 mean a mask too.
    """
    if not value.get("rle"):
        lose("brush mask without pixels")
        return None
    try:
        alpha = rle_to_alpha(value["rle"], height, width)
    except FormatError:
        lose("brush mask that is broken or of another size")
        return None
    top = int(alpha.max())
    pixels = alpha >= max(1, (top + 1) // 2)
    if (alpha[pixels] != top).any() or np.count_nonzero(alpha) != np.count_nonzero(pixels):
        lose("soft edge of a brush mask made hard")
    return {"mask": masks.encode(pixels)}


def guess(value: Value) -> Callable[..., Geometry | None] | None:
    """The reader for a value whose type does not say its shape."""
    keys = {"points": polygon, "rle": brush, "radiusX": ellipse, "height": box, "x": keypoint}
    return next((read for key, read in keys.items() if key in value), None)


def _numbers(value: Value, *keys: str) -> list[float] | None:
    numbers = [value.get(key) for key in keys]
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        return None
    return [float(n) for n in numbers if n is not None]


def _points(points: Any, width: int, height: int) -> Floats | None:
    """Points in percent (n, 2) as pixels; None where they are none."""
    try:
        pixels = np.asarray(points, dtype=float).reshape(-1, 2) * (width / 100, height / 100)
    except (TypeError, ValueError):
        return None
    if not np.isfinite(pixels).all():
        return None
    for edge in ((0.0, 0.0), (float(width), float(height))):
        pixels = np.where(abs(pixels - edge) < SNAP, edge, pixels)
    return pixels


def _snap(value: float, limit: int) -> float:
    """Undo the rounding of percent arithmetic, which ends next to an edge instead of on it."""
    for edge in (0.0, float(limit)):
        if abs(value - edge) < SNAP:
            return edge
    return value

"""Annotations in an image's stored pixels, turned upright as EXIF's orientation says.

Orientations: https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, tag 0x0112.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from workflow.records import Annotation, Point, RotatedBox
from workflow.shapes import masks
from workflow.shapes.move import with_points

# Orientation -> where a point goes that lies at x, y of a stored image of `w` x `h` pixels.
MOVES: dict[int, Callable[[float, float, int, int], Point]] = {
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}
TURNS: dict[int, Callable[[masks.Bits], masks.Bits]] = {
    5: lambda pixels: pixels.T,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].T,
    8: lambda pixels: np.rot90(pixels),
}


def upright(annotation: Annotation, orientation: int, width: int, height: int) -> Annotation:
    """An annotation of the stored `width` x `height` image, as one of the upright image.

    `orientation` is one of those that turn by a quarter, 5 to 8. Exact but for the last bits of angles.
    """

    def move(point: Point) -> Point:
        return MOVES[orientation](*point, width, height)

    if annotation.mask is not None:
        return replace(annotation, mask=masks.encode(TURNS[orientation](masks.decode(annotation.mask))))
    if (turned := annotation.rotated_box) is not None:
        cx, cy = move((turned.cx, turned.cy))
        angle = math.radians(turned.angle)
        ax, ay = move((turned.cx + math.cos(angle), turned.cy + math.sin(angle)))
        box = RotatedBox(cx, cy, turned.width, turned.height, math.degrees(math.atan2(ay - cy, ax - cx)))
        return replace(annotation, rotated_box=box)
    return with_points(annotation, move)

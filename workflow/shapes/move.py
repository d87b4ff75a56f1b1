"""Annotations moved: by whole pixels, or each of their points by a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from workflow.records import Annotation, Point
from workflow.shapes import masks


def moved(annotation: Annotation, dx: int, dy: int) -> Annotation:
    """An annotation so many whole pixels further right and down; a mask must stay within its image."""
    if (turned := annotation.rotated_box) is not None:
        return replace(annotation, rotated_box=replace(turned, cx=turned.cx + dx, cy=turned.cy + dy))
    if annotation.mask is not None:
        return replace(
            annotation, mask=masks.encode(np.roll(masks.decode(annotation.mask), (dy, dx), (0, 1)))
        )
    return with_points(annotation, lambda point: (point[0] + dx, point[1] + dy))


def with_points(annotation: Annotation, move: Callable[[Point], Point]) -> Annotation:
    """A box, outlines or keypoints, each corner or point where `move` puts it; anything else as it is.

    A box stays upright: `move` may mirror it or turn it by quarters.
    """
    if annotation.box is not None:
        (x1, y1), (x2, y2) = move(annotation.box[:2]), move(annotation.box[2:])
        return replace(annotation, box=(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
    if annotation.polygons is not None:
        return replace(annotation, polygons=tuple(tuple(map(move, part)) for part in annotation.polygons))
    if annotation.keypoints is not None:
        return replace(annotation, keypoints=tuple(map(move, annotation.keypoints)))
    return annotation

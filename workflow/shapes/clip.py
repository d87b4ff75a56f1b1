"""What of an annotation lies within its image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from workflow.records import Annotation
from workflow.shapes.geometry import clip_boxes, clip_polygon, polygon_area

# Pixels by which rounding may leave an image: what is cut off there is no news. Four digits of a share, as
# some tools write them, are 0.05 pixels of a thousand.
SNAP = 0.05


def clip(annotation: Annotation, width: int, height: int, lose: Callable[[str], None]) -> Annotation | None:
    """The part of an annotation within an image; a rotated box stays whole, as cut off it would be none."""
    if annotation.box is not None:
        x1, y1, x2, y2 = clip_boxes([annotation.box], width, height)[0].tolist()
        if x2 <= x1 or y2 <= y1:
            lose("boxes outside the image")
            return None
        _tell_cut(np.abs(np.subtract(annotation.box, (x1, y1, x2, y2))).max(), "boxes", lose)
        return replace(annotation, box=(x1, y1, x2, y2))
    if annotation.polygons is not None and not annotation.within(width, height):
        parts = [clip_polygon(part, width, height) for part in annotation.polygons]
        parts = [part for part in parts if len(part) > 2 and polygon_area(part) > 0]
        if not parts:
            lose("outlines outside the image")
            return None
        points = np.array([p for part in annotation.polygons for p in part])
        _tell_cut(np.abs(points - np.clip(points, 0, (width, height))).max(), "outlines", lose)
        return replace(annotation, polygons=tuple(tuple(map(tuple, part.tolist())) for part in parts))
    if annotation.keypoints is not None:
        points = np.array(annotation.keypoints)
        cut = np.clip(points, 0, (width, height))
        if np.abs(points - cut).max() > SNAP:
            lose("points outside the image")
            return None
        return replace(annotation, keypoints=tuple(map(tuple, cut.tolist())))
    return annotation


def _tell_cut(by: float, what: str, lose: Callable[[str], None]) -> None:
    if by > SNAP:
        lose(f"{what} clipped to the image")

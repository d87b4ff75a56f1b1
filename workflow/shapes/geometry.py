"""Boxes and rotated boxes in numpy, vectorised. Everything is in pixels unless the name says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workflow.records import RotatedBox

Floats = NDArray[np.float64]


def box_iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Intersection over union of every box of `a` (n, 4) with every box of `b` (m, 4), xyxy: (n, m)."""
    a = np.asarray(a, dtype=float).reshape(-1, 4)
    b = np.asarray(b, dtype=float).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    union = box_area(a)[:, None] + box_area(b)[None, :] - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def box_area(boxes: ArrayLike) -> Floats:
    """Areas (n,) of xyxy boxes (n, 4)."""
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)


def clip_boxes(boxes: ArrayLike, width: int, height: int) -> Floats:
    """xyxy boxes (n, 4) cut to an image; one wholly outside comes back without area."""
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return np.clip(boxes, 0, [width, height, width, height])


def clip_polygon(points: ArrayLike, width: int, height: int) -> Floats:
    """A closed outline (n, 2) cut to an image: (m, 2), empty where nothing of it lies inside.

    Sutherland and Hodgman's way, one side of the image after the other. An outline that leaves the image
    and comes back stays one, its parts joined by lines of no width along the edge.
    """
    corners: Floats = np.asarray(points, dtype=float).reshape(-1, 2)
    for axis, sign, limit in ((0, 1, 0), (0, -1, width), (1, 1, 0), (1, -1, height)):
        if not len(corners):
            break
        inside = sign * (corners[:, axis] - limit) >= 0
        after = np.roll(corners, -1, axis=0)
        crosses = inside != np.roll(inside, -1)
        step = np.where(crosses, after[:, axis] - corners[:, axis], 1)
        cuts = corners + ((limit - corners[:, axis]) / step)[:, None] * (after - corners)
        both = np.stack([corners, cuts], axis=1).reshape(-1, 2)
        corners = both[np.stack([inside, crosses], axis=1).reshape(-1)]
    # Rounding leaves a cut the last bit past its edge.
    return np.clip(corners, 0, (width, height))


def polygon_area(points: ArrayLike) -> float:
    """The area within a closed outline (n, 2), by Gauss's formula."""
    x, y = np.asarray(points, dtype=float).reshape(-1, 2).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def xyxy_to_xywh(boxes: ArrayLike) -> Floats:
    """xyxy (n, 4) to COCO's x, y, width, height (n, 4)."""
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])


def xywh_to_xyxy(boxes_xywh: ArrayLike) -> Floats:
    """COCO's x, y, width, height (n, 4) to xyxy (n, 4)."""
    boxes = np.asarray(boxes_xywh, dtype=float).reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def rotated_corners(box: RotatedBox) -> Floats:
    """The four corners (4, 2) of a rotated box, clockwise from its own top left."""
    angle = np.deg2rad(box.angle)
    along = np.array([np.cos(angle), np.sin(angle)]) * box.width / 2
    down = np.array([-np.sin(angle), np.cos(angle)]) * box.height / 2
    centre = np.array([box.cx, box.cy])
    return np.array(
        [centre - along - down, centre + along - down, centre + along + down, centre - along + down]
    )


def enclosing_box(box: RotatedBox) -> tuple[float, float, float, float]:
    """The smallest upright xyxy box round a rotated one."""
    corners = rotated_corners(box)
    (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)

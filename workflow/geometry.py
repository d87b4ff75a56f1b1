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

"""How much two annotations of one image share, whatever their geometry.

Boxes by their corners; rotated boxes and polygons by their outlines (shapely, exact); where a mask is
one of the two, by pixels, as COCO has it. Labels of the whole image share all. Two single points share
the less the further apart they are. Anything else shares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workflow.records import Annotation, Mask
from workflow.shapes import masks
from workflow.shapes.geometry import Floats, box_iou, rotated_corners

# Pixels at which two keypoints are as like as boxes that share a third.
REACH = 20.0
# Percent arithmetic in Label Studio's JSON moves nothing by more than this.
SAME_PIXELS = 1e-3
OUTLINES = ("box", "rotated_box", "polygons")


def iou(a: Sequence[Annotation], b: Sequence[Annotation]) -> Floats:
    """Intersection over union of every one of `a` with every one of `b`: (n, m), in [0, 1]."""
    shapes = {one.geometry for one in (*a, *b)}
    if not a or not b:
        return np.zeros((len(a), len(b)))
    if shapes == {"box"}:
        return box_iou(*(np.array([one.box for one in side]) for side in (a, b)))
    if shapes == {""}:
        return np.ones((len(a), len(b)))
    if shapes == {"mask"}:
        return masks.iou([_mask(one) for one in a], [_mask(one) for one in b])
    if shapes <= set(OUTLINES):
        return _outline_iou(a, b)
    return np.array([[_pair(one, other) for other in b] for one in a])


def coverage(a: Sequence[Annotation], b: Sequence[Annotation]) -> Floats:
    """Which share of every one of `a` lies within every one of `b`: (n, m), in [0, 1].

    COCO compares so with a crowd. ValueError for what covers no pixels.
    """
    if not a or not b:
        return np.zeros((len(a), len(b)))
    mask = next((one.mask for one in (*a, *b) if one.mask is not None), None)
    if mask is not None:
        return masks.coverage(*([as_mask(one, mask.height, mask.width) for one in side] for side in (a, b)))
    import shapely

    one, other = (np.array([as_area(x) for x in side], dtype=object)[:, None] for side in (a, b))
    shared, whole = shapely.area(shapely.intersection(one, other.T)), shapely.area(one)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def iou_of(a: Annotation, b: Annotation) -> float:
    """The same of two: without numpy for boxes, of which a ledger judges one pair after the other."""
    if a.box is None or b.box is None:
        return float(iou([a], [b])[0, 0])
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.box, b.box
    width, height = min(ax2, bx2) - max(ax1, bx1), min(ay2, by2) - max(ay1, by1)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)


def same_place(a: Annotation, b: Annotation) -> bool:
    """Whether two annotations have the same geometry: masks to the pixel, all else within `SAME_PIXELS`."""
    if a.mask is not None or b.mask is not None:
        return a.mask == b.mask
    one, other = _points(a), _points(b)
    return [len(part) for part in one] == [len(part) for part in other] and all(
        np.abs(np.subtract(p, q)).max() <= SAME_PIXELS for p, q in zip(one, other, strict=True)
    )


def as_mask(annotation: Annotation, height: int, width: int) -> Mask:
    """The pixels of an annotation that covers some. ValueError for keypoints and whole-image labels."""
    if annotation.mask is not None:
        return annotation.mask
    return masks.from_polygons(outlines(annotation), height, width)


def as_box(annotation: Annotation) -> tuple[float, float, float, float] | None:
    """The smallest upright box round an annotation; None for what has no area, or none left."""
    if annotation.box is not None:
        return annotation.box
    if annotation.mask is not None:
        return masks.box(annotation.mask)
    if annotation.geometry not in OUTLINES:
        return None
    points = np.concatenate([np.asarray(part) for part in outlines(annotation)])
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def _pair(a: Annotation, b: Annotation) -> float:
    shapes = {a.geometry, b.geometry}
    if shapes == {"keypoints"}:
        return _closeness(a, b)
    if "keypoints" in shapes or "" in shapes:
        return float(shapes == {""})
    if shapes <= set(OUTLINES):
        return float(_outline_iou([a], [b])[0, 0])
    size = next(one.mask for one in (a, b) if one.mask is not None)
    both = [as_mask(one, size.height, size.width) for one in (a, b)]
    return float(masks.iou(both[:1], both[1:])[0, 0])


def _closeness(a: Annotation, b: Annotation) -> float:
    first, second = np.asarray(a.keypoints), np.asarray(b.keypoints)
    if first.shape != second.shape:
        return 0.0
    distance = np.linalg.norm(first - second, axis=1).mean()
    return float(np.exp(-((distance / REACH) ** 2)))


def _outline_iou(a: Sequence[Annotation], b: Sequence[Annotation]) -> Floats:
    import shapely

    one, other = (np.array([as_area(x) for x in side], dtype=object)[:, None] for side in (a, b))
    shared = shapely.area(shapely.intersection(one, other.T))
    union = shapely.area(one) + shapely.area(other).T - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def as_area(annotation: Annotation) -> Any:
    """A box, rotated box or polygons as shapely has areas."""
    import shapely

    # An outline that crosses itself is no area to shapely until it is made one.
    parts = [shapely.make_valid(shapely.Polygon(part)) for part in outlines(annotation)]
    return shapely.union_all(parts)


def outlines(annotation: Annotation) -> list[Any]:
    """The closed outlines of a box, rotated box or polygons."""
    if annotation.polygons is not None:
        return list(annotation.polygons)
    if annotation.rotated_box is not None:
        return [rotated_corners(annotation.rotated_box)]
    if annotation.box is not None:
        x1, y1, x2, y2 = annotation.box
        return [((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    raise ValueError(f"{annotation.label!r} covers no pixels")


def _points(annotation: Annotation) -> list[Any]:
    """What can be compared by coordinates: outlines, or points; none for the whole image."""
    if annotation.geometry in OUTLINES:
        return outlines(annotation)
    return [annotation.keypoints] if annotation.keypoints else []


def _mask(annotation: Annotation) -> Mask:
    assert annotation.mask is not None
    return annotation.mask

"""One outline for an object in several parts or with holes: YOLO's segments have no other way.

Each further ring hangs on the first by a bridge, a line that is walked there and back, as
`merge_multi_segment` of ultralytics does it. A bridge has no width, so whoever fills by the even-odd rule
gets just the pixels; cv2, with which ultralytics draws what it trains on, draws every line a pixel wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from workflow.records import Annotation, Mask, Point, Provenance
from workflow.shapes import masks

Ring = list[Point]


def joined(annotation: Annotation) -> Ring:
    """The one outline of polygons or of a mask, in pixels; nothing for an empty mask."""
    from scipy.spatial import cKDTree

    rings = _rings(annotation)
    path = rings[0] if rings else []
    for ring in rings[1:]:
        distances, nearest = cKDTree(path).query(ring)
        joint = int(np.argmin(distances))
        here = int(nearest[joint])
        path = [*path[: here + 1], *ring[joint:], *ring[: joint + 1], *path[here:]]
    return path


def parted(path: Ring, label: str, provenance: Provenance, width: int, height: int) -> Annotation:
    """Take the bridges out again: polygons, or a mask where one ring lies in another.

    ValueError for fewer than three points.
    """
    import shapely

    rings = _without_bridges(path)
    areas = np.array([shapely.make_valid(shapely.Polygon(ring)) for ring in rings], dtype=object)
    inside = shapely.contains(areas[:, None], shapely.point_on_surface(areas)[None])
    if (inside & ~np.eye(len(rings), dtype=bool)).any():
        return Annotation(label, provenance, mask=masks.from_polygons([path], height, width))
    return Annotation(label, provenance, polygons=tuple(tuple(ring) for ring in rings))


def _rings(annotation: Annotation) -> list[Ring]:
    import shapely

    if annotation.mask is not None:
        return _of_shape(_shape(annotation.mask))
    parts = [list(part) for part in annotation.polygons or ()]
    if len(parts) > 1:
        shapes = [shapely.make_valid(shapely.Polygon(part)) for part in parts]
        union = shapely.union_all(shapes)
        # Where parts overlap, the even-odd rule would leave out what both cover.
        if union.area < sum(shape.area for shape in shapes) * (1 - 1e-9):
            return _of_shape(union)
    return parts


def _shape(mask: Mask) -> Any:
    """The mask's pixels as the area they cover, its outlines along their edges."""
    import shapely

    pixels = masks.decode(mask).astype(np.int8)
    steps = np.diff(np.pad(pixels, ((0, 0), (1, 1))), axis=1)
    (rows, starts), (_, ends) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return shapely.simplify(shapely.union_all(shapely.box(starts, rows, ends, rows + 1)), 0)


def _of_shape(shape: Any) -> list[Ring]:
    import shapely

    parts = [part for part in shapely.get_parts(shapely.normalize(shape)) if part.geom_type == "Polygon"]
    return [list(ring.coords)[:-1] for part in parts for ring in (part.exterior, *part.interiors)]


def _without_bridges(path: Sequence[Point]) -> list[Ring]:
    """The rings of a path: wherever a step undoes an earlier one, what was walked between is a ring."""
    rings: list[Ring] = []
    walk: Ring = []
    steps: dict[tuple[Point, Point], int] = {}
    for point in path:
        if walk and (start := steps.get((point, walk[-1]))) is not None:
            rings.append(walk[start + 1 : -1])
            for step in pairwise(walk[start:]):
                steps.pop(step, None)
            del walk[start + 1 :]
            continue
        if walk:
            steps[walk[-1], point] = len(walk) - 1
        walk.append(point)
    closed_rings = [ring for ring in [walk, *rings] if len(ring) > 2]
    if not closed_rings:
        raise ValueError("an outline needs three points")
    return closed_rings

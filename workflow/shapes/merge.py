"""One object of the several guesses that the windows of an image hold of it.

`sahi` (MIT, github.com/obss/sahi) merges what overlaps, the best first, by union: so does this, but only what
an edge cut off is put together. What one window shows whole stands as it is, and the rest is dropped beside
it, as by non-maximum suppression. Of two guesses of one window neither is dropped for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from workflow.records import Annotation, Mask, RotatedBox
from workflow.shapes import masks
from workflow.shapes.geometry import Floats
from workflow.shapes.matching import score_of
from workflow.shapes.overlap import as_area, as_mask, outlines
from workflow.shapes.windows import Seen, likeness

# Two guesses that are so much alike are of one object: the usual of sahi, and of COCO.
SAME = 0.5


def same_objects(views: Sequence[Sequence[Seen]], across_classes: bool = False) -> list[list[Seen]]:
    """The guesses of each window, in groups of one object, best first: of one label, unless `across_classes`.

    The first of a group is whole, or the whole group are pieces.
    """
    every = [one for view in views for one in view]
    near = _alike(views, across_classes)
    ranked = sorted(range(len(every)), key=lambda k: -score_of(every[k].guess))
    heads: dict[int, int] = {}
    for k in ranked:
        if not every[k].cut:
            known = {m: like for m, like in near[k].items() if heads.get(m) == m}
            heads[k] = max(known, key=lambda m: known[m]) if known else k
    for k in ranked:
        if every[k].cut:
            known = {m: like for m, like in near[k].items() if not every[m].cut}
            if known:
                heads[k] = heads[max(known, key=lambda m: known[m])]
    for k in ranked:
        if k not in heads:
            heads |= dict.fromkeys(_joined(k, near, heads), k)
    groups: dict[int, list[Seen]] = {k: [] for k in ranked if heads[k] == k}
    for k in ranked:
        groups[heads[k]].insert(0 if k == heads[k] else len(every), every[k])
    return list(groups.values())


def _alike(views: Sequence[Sequence[Seen]], across_classes: bool) -> list[dict[int, float]]:
    """For each guess those of other windows that are of its object, by number, and how like they are."""
    near: list[dict[int, float]] = [{} for view in views for _ in view]
    # What may be of one object, with its number among all: a list a window, and of these one a label.
    alike: dict[str, list[list[tuple[int, Seen]]]] = {}
    for k, (place, one) in enumerate((place, one) for place, view in enumerate(views) for one in view):
        label = "" if across_classes else one.guess.label
        alike.setdefault(label, [[] for _ in views])[place].append((k, one))
    for sides in alike.values():
        for some, others in combinations(sides, 2):
            like = likeness([one for _, one in some], [one for _, one in others])
            for i, j in np.argwhere(like >= SAME).tolist():
                k, m = some[i][0], others[j][0]
                near[k][m] = near[m][k] = like[i, j]
    return near


def _joined(first: int, near: Sequence[dict[int, float]], taken: dict[int, int]) -> list[int]:
    """What is of one object with a piece, from piece to piece, of those that are of none yet."""
    found, waiting = {first}, [first]
    while waiting:
        more = [m for m in near[waiting.pop()] if m not in found and m not in taken]
        found.update(more)
        waiting += more
    return sorted(found)


def united(group: Sequence[Seen], height: int, width: int) -> Annotation:
    """The one guess of a group: its first, or the union of its pieces, at the best score of any.

    `height` and `width` are the image's.
    """
    guesses = [one.guess for one in group]
    scores = [a.score for a in guesses if a.score is not None]
    first = replace(guesses[0], score=max(scores, default=None))
    if len(group) == 1 or not group[0].cut:
        return first
    plain = replace(first, box=None, rotated_box=None, mask=None, polygons=None)
    if any(a.mask is not None for a in guesses):
        return replace(plain, mask=_painted(guesses, height, width))
    if first.polygons is not None:
        return _outlined(plain, guesses, height, width)
    corners = np.concatenate([np.asarray(part) for a in guesses for part in outlines(a)])
    if first.rotated_box is not None:
        return replace(plain, rotated_box=_round(corners, first.rotated_box.angle))
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return replace(plain, box=(x1, y1, x2, y2))


def _painted(guesses: Sequence[Annotation], height: int, width: int) -> Mask:
    """The union of the pixels, made within the box round them: an image may be a thousand times as large."""
    some = [as_mask(a, height, width) for a in guesses]
    boxes = np.array([box for mask in some if (box := masks.box(mask)) is not None], dtype=int)
    (x1, y1), (x2, y2) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    return masks.placed(masks.union([masks.cut(m, x1, y1, x2, y2) for m in some]), x1, y1, height, width)


def _outlined(plain: Annotation, guesses: Sequence[Annotation], height: int, width: int) -> Annotation:
    """The union of outlines; with a hole in it, which outlines have none of, it is a mask."""
    import shapely

    whole = shapely.get_parts(shapely.union_all([as_area(a) for a in guesses]))
    parts = [part for part in whole if part.geom_type == "Polygon"]
    if any(len(part.interiors) for part in parts):
        return replace(plain, mask=_painted(guesses, height, width))
    rings = (shapely.get_coordinates(part)[:-1].tolist() for part in parts)
    return replace(plain, polygons=tuple(tuple((x, y) for x, y in ring) for ring in rings))


def _round(points: Floats, angle: float) -> RotatedBox:
    """The smallest box round points (n, 2) that is turned by `angle` degrees."""
    turn = np.deg2rad(angle)
    axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    low, high = (points @ axes.T).min(axis=0), (points @ axes.T).max(axis=0)
    (cx, cy), (width, height) = ((low + high) / 2 @ axes).tolist(), (high - low).tolist()
    return RotatedBox(cx, cy, width, height, angle)

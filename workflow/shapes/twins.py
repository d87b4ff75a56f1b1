"""The very same thing said twice of one image: a model that finds it once would be half wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from workflow.records import Annotation


def without_twins(annotations: Sequence[Annotation]) -> tuple[list[Annotation], int]:
    """The annotations of one image without those that are there twice, and how many went.

    Twins have one label and the very same numbers, to the last bit; two objects with points are twins only if
    their points are. The first stays, with the best of their scores; points go with their object.
    """
    points: dict[str, list[Hashable]] = defaultdict(list)
    for a in annotations:
        if a.parent:
            points[a.parent].append(_shape(a))
    first: dict[Hashable, int] = {}
    kept: list[Annotation] = []
    gone: set[str] = set()
    for a in annotations:
        if a.parent and a.parent in gone:
            continue
        key = (_shape(a), a.parent, frozenset(points[a.id]) if a.id else frozenset())
        place = first.setdefault(key, len(kept))
        if place == len(kept):
            kept.append(a)
            continue
        gone.add(a.id)
        if a.score is not None and a.score > (kept[place].score or 0):
            kept[place] = replace(kept[place], score=a.score)
    kept = [a for a in kept if not a.parent or a.parent not in gone - {""}]
    return kept, len(annotations) - len(kept)


def _shape(annotation: Annotation) -> Hashable:
    a = annotation
    return (a.label, a.box, a.rotated_box, a.mask, a.polygons, a.keypoints)

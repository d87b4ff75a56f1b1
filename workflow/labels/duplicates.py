"""Exact doubles: the same label in the very same place, drawn or written down twice.

They are one object told twice, and a model that finds it once would be called half wrong. Of each set of
doubles one is kept: that of the highest score, and of equals the first. What belongs to another of them,
as a keypoint to its box or a relation, then belongs to the one that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workflow.records import GEOMETRIES, Annotation, Relation


def collapse(
    annotations: Sequence[Annotation], relations: Sequence[Relation] = ()
) -> tuple[tuple[Annotation, ...], tuple[Relation, ...], int]:
    """One annotation of each set of doubles, the relations between those, and how many were left out."""
    kept = list(annotations)
    while len(singles := _singles(kept)) < len(kept):
        heirs = _heirs(kept, singles)
        # Points of two boxes that are one now may be doubles themselves.
        kept = [replace(a, parent=heirs.get(a.parent, a.parent)) for a in singles]
        relations = [
            replace(r, first=heirs.get(r.first, r.first), last=heirs.get(r.last, r.last)) for r in relations
        ]
    count = len(annotations) - len(kept)
    return tuple(kept), tuple(dict.fromkeys(relations)) if count else tuple(relations), count


def _place(annotation: Annotation) -> tuple[Any, ...]:
    """What two doubles share."""
    shape = tuple(getattr(annotation, name) for name in GEOMETRIES)
    return annotation.label, annotation.parent, *shape


def _singles(annotations: Sequence[Annotation]) -> list[Annotation]:
    """The one of each set of doubles that is kept, in the order given."""
    best: dict[tuple[Any, ...], int] = {}
    for number, annotation in enumerate(annotations):
        rival = best.setdefault(_place(annotation), number)
        if (annotation.score or 0.0) > (annotations[rival].score or 0.0):
            best[_place(annotation)] = number
    return [annotations[number] for number in sorted(best.values())]


def _heirs(annotations: Sequence[Annotation], singles: Sequence[Annotation]) -> dict[str, str]:
    """The id of each double that was left out -> the id of the one in its place."""
    there = {a.id for a in singles}
    by_place = {_place(a): a.id for a in singles}
    return {a.id: by_place[_place(a)] for a in annotations if a.id and a.id not in there}

"""Exact doubles: the same label in the very same place, drawn or written down twice.

They are one object told twice, and a model that finds it once would be called half wrong. Doubles have one
label and the very same numbers, to the last bit, and are both ignored or neither; two objects with points are
doubles only where their points are. The first stays, with the best of their scores. Points go with their
object, and relations to the one that stays. Pull and import both hold to this rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from workflow.records import GEOMETRIES, Annotation, Relation


def collapse(
    annotations: Sequence[Annotation], relations: Sequence[Relation] = ()
) -> tuple[tuple[Annotation, ...], tuple[Relation, ...], int]:
    """One annotation of each set of doubles, the relations between those, and how many were left out."""
    points: dict[str, dict[Hashable, str]] = defaultdict(dict)
    for a in annotations:
        if a.parent:
            points[a.parent].setdefault(_shape(a), a.id)
    first: dict[Hashable, int] = {}
    kept: dict[int, Annotation] = {}
    heirs: dict[str, str] = {}
    for number, a in enumerate(annotations):
        place = first.setdefault((_shape(a), a.parent, frozenset(points[a.id]) if a.id else None), number)
        if place == number:
            kept[number] = a
            continue
        heirs[a.id] = kept[place].id
        if a.score is not None and a.score > (kept[place].score or 0):
            kept[place] = replace(kept[place], score=a.score)
    # A region with several labels is as many annotations of one id: it is gone only with all of them.
    gone = heirs.keys() - {a.id for a in kept.values()} - {""}
    for number, a in enumerate(annotations):
        if a.parent in gone:
            kept.pop(number, None)
            heirs[a.id] = points[heirs[a.parent]].get(_shape(a), "")
    ids = {a.id for a in kept.values()}
    ends = {name: heir for name, heir in heirs.items() if name and name not in ids}
    moved = (replace(r, first=ends.get(r.first, r.first), last=ends.get(r.last, r.last)) for r in relations)
    count = len(annotations) - len(kept)
    return tuple(kept.values()), tuple(dict.fromkeys(moved) if count else relations), count


def _shape(annotation: Annotation) -> Hashable:
    return (annotation.label, annotation.ignored, *(getattr(annotation, name) for name in GEOMETRIES))

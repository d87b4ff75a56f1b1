"""Labels that a person edited elsewhere than where people review: what was done, and what comes of it.

An edit replaces just what it started from: `given` names the labels its person saw. Where the line says
something else by now, it is no edit of that line. See workflow/commands/app.py for what then counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from workflow.project.rows import Row, annotation_from_row, annotation_to_row, digest
from workflow.records import Annotation, ImageRecord
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.shapes.clip import clip
from workflow.shapes.geometry import rotated_corners
from workflow.shapes.overlap import as_mask

# Pixels: what was moved by less was rounded on its way.
SAME = 1e-4


@dataclass(frozen=True)
class Edit:
    """What somebody did to the labels of one image, at `at`.

    `given` names the `count` labels they started from, in whose order `changed` and `deleted` are numbered:
    keypoints and masks without pixels are not among them. With `refused`, which says why, the edit cannot be
    carried.
    """

    image: str
    at: str
    given: str
    count: int
    changed: Mapping[int, Annotation] = field(default_factory=dict)
    deleted: tuple[int, ...] = ()
    added: tuple[Annotation, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return digest(self.to_row())

    def to_row(self) -> Row:
        row: Row = {"image": self.image, "at": self.at, "given": self.given, "count": self.count}
        row["changed"] = [[n, annotation_to_row(a)] for n, a in self.changed.items()]
        row |= {"deleted": list(self.deleted), "added": [annotation_to_row(a) for a in self.added]}
        return row | {"refused": list(self.refused)}

    @classmethod
    def from_row(cls, row: Row) -> Edit:
        changed = {n: annotation_from_row(a) for n, a in row["changed"]}
        added = tuple(annotation_from_row(a) for a in row["added"])
        known = (row["image"], row["at"], row["given"], row["count"])
        return cls(*known, changed, tuple(row["deleted"]), added, tuple(row["refused"]))


@dataclass(frozen=True)
class Edited:
    """The line that comes of an edit, what was done in words, and what of it was bent or lost, by reason.

    Where it is `refused`, the line is the one it was.
    """

    row: Row
    did: tuple[str, ...]
    losses: Counter[str]
    refused: tuple[str, ...] = ()


def given_name(truth: Sequence[Annotation]) -> str:
    """Names the labels that somebody is given: what they say, where, and by whom."""
    return digest([annotation_to_row(a) for a in truth])


def apply(row: Row, edit: Edit, record: ImageRecord, schema: Schema, where: str) -> Edited:
    """A reviewed line of labels.jsonl after an edit made `where`; what nobody touched stays as it is.

    Who changed a label is who made it from then on. A box that leaves the image is cut at its edge, and told.
    """
    annotations = [annotation_from_row(a) for a in row["annotations"]]
    places = [n for n, a in enumerate(annotations) if is_shown(a)]
    losses: Counter[str] = Counter()
    refused = list(edit.refused)
    if len(places) != edit.count:
        refused.append(f"{edit.count} labels were shown, and the line has {len(places)}")
    new = {
        n: _fitting(a, record, schema, losses) for n, a in enumerate([*edit.changed.values(), *edit.added])
    }
    refused += [why for why in new.values() if isinstance(why, str)]
    if refused:
        return Edited(row, (), losses, tuple(dict.fromkeys(refused)))
    fitting = [a for a in new.values() if isinstance(a, Annotation)]
    changed = dict(zip(edit.changed, fitting, strict=False))
    added = fitting[len(edit.changed) :]
    did: list[str] = []
    kept: dict[int, Annotation] = dict(enumerate(annotations))
    for number, after in changed.items():
        before = annotations[places[number]]
        said, now = _change(before, after, record)
        did += said
        kept[places[number]] = now if said else before
    gone = {places[number] for number in edit.deleted}
    owners = {annotations[n].id for n in gone} - {""}
    orphans = {n for n, a in kept.items() if a.parent in owners}
    did += [f"{annotations[n].label} deleted" for n in sorted(gone)]
    losses["keypoints of deleted objects deleted with them"] += len(orphans - gone)
    did += [f"{a.label} added" for a in added]
    rest = [a for n, a in kept.items() if n not in gone | orphans]
    line = row | {"annotations": [annotation_to_row(a) for a in [*rest, *added]]}
    line = _without_severed(line, losses)
    line["edited"] = {"in": where, "at": edit.at, "edit": edit.name}
    return Edited(line, tuple(did), +losses)


def is_shown(a: Annotation) -> bool:
    """Whether a label is one of those that are counted in an edit."""
    return a.keypoints is None and (a.mask is None or masks.area(a.mask) > 0)


def summed(did: tuple[str, ...]) -> str:
    """What was done, the same things counted once: 4 -> 9, 7 moved (2)."""
    counts = Counter(did)
    return ", ".join(what if n == 1 else f"{what} ({n})" for what, n in counts.items())


def _fitting(a: Annotation, record: ImageRecord, schema: Schema, losses: Counter[str]) -> Annotation | str:
    """An edited label within its image; or why it is none of the project's."""
    if a.label not in schema.classes:
        return f"{a.label!r} is no class of the project"
    if not schema.task.takes(a):
        return (
            f"{a.label} has {(a.geometry or 'no place').replace('_', ' ')}, which no {schema.task.name} has"
        )
    cut = clip(a, record.width, record.height, lambda why: losses.update([f"edited labels: {why}"]))
    return cut or f"{a.label} lies outside its image"


def _change(before: Annotation, after: Annotation, record: ImageRecord) -> tuple[list[str], Annotation]:
    """What was done to a label, and what it is now: to the last digit where it was, unless it was moved."""
    did = []
    if after.label != before.label:
        did.append(f"{before.label} -> {after.label}")
    if after.ignored != before.ignored:
        did.append(f"{after.label} {'' if after.ignored else 'not '}ignored")
    now = replace(after, id=before.id, parent=before.parent, box=_box(before, after))
    if _same_place(before, after, record):
        shape = {name: getattr(before, name) for name in ("box", "rotated_box", "mask", "polygons")}
        return did, replace(now, **shape)
    return [*did, f"{after.label} moved"], now


def _same_place(a: Annotation, b: Annotation, record: ImageRecord) -> bool:
    if a.mask or b.mask:
        return bool(a.geometry and b.geometry) and as_mask(a, record.height, record.width) == as_mask(
            b, record.height, record.width
        )
    first, last = _numbers(a), _numbers(b)
    return first.shape == last.shape and bool(np.allclose(first, last, rtol=0, atol=SAME))


def _box(before: Annotation, after: Annotation) -> tuple[float, float, float, float] | None:
    """A box, of which the sides that were not moved are where they were."""
    if before.box is None or after.box is None:
        return after.box
    x1, y1, x2, y2 = (
        old if abs(old - new) < SAME else new for old, new in zip(before.box, after.box, strict=True)
    )
    return x1, y1, x2, y2


def _numbers(a: Annotation) -> np.ndarray:
    if a.rotated_box is not None:
        return rotated_corners(a.rotated_box).reshape(-1)
    points = [v for part in a.polygons or () for point in part for v in point]
    return np.array([*(a.box or ()), *points])


def _without_severed(row: Row, losses: Counter[str]) -> Row:
    """The line without relations one of whose ends is gone."""
    if "relations" not in row:
        return row
    ids = {a.get("id") for a in row["annotations"]}
    left = [r for r in row["relations"] if {r["from_id"], r["to_id"]} <= ids]
    losses["relations of deleted labels"] += len(row["relations"]) - len(left)
    return row | {"relations": left}


def decided_anew(known: Row, now: Row) -> bool:
    """Whether people decided, where they review, other than what the edit of a `known` line started from."""
    if "imported" in known:
        return now["state"] in ("reviewed", "skipped")
    return any(now.get(key) != known.get(key) for key in ("task", "annotation", "at", "state"))

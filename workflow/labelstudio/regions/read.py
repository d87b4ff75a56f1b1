"""Label Studio's regions as annotations.

What is carried: labels, geometry, id, parentID, a model's score, the note `ignored`, and relations. What
says only how the editor shows a region (hidden, locked, origin, the size of a keypoint's dot) is no label and
stays behind. All else that is not carried exactly is counted in `Reading.lost`, by reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from workflow.labelstudio.regions import shapes as shapes
from workflow.labelstudio.regions.write import IGNORED, PART, Region, path_to_label
from workflow.project.rows import relation_from_row
from workflow.records import Annotation, Provenance, Relation

# A label control's type -> how the value's geometry is read.
SHAPES: Mapping[str, Callable[..., shapes.Geometry | None]] = {
    "rectanglelabels": shapes.box,
    "ellipselabels": shapes.ellipse,
    "polygonlabels": shapes.polygon,
    "brushlabels": shapes.brush,
    "keypointlabels": shapes.keypoint,
}
WHOLE_IMAGE = ("choices", "taxonomy")
RELATION = "relation"
# Lines of a region's note that say that it is ignored, whatever their case.
IGNORED_NOTES = (IGNORED, "ignore")
# Controls that draw without a label; one called Labels stores the same shape, labelled, under the same id.
BARE = ("rectangle", "ellipse", "polygon", "brush", "magicwand", "keypoint")
# The type of a region -> the control it must come from; "" is any.
ANY_BOX: Mapping[str, str] = {"rectanglelabels": ""}
EVERYTHING: Mapping[str, str] = dict.fromkeys([*SHAPES, "labels", *WHOLE_IMAGE], "")


@dataclass
class Reading:
    """What a result says: annotations, and what could not be carried exactly, counted by reason.

    `relations` lead from one of the annotations to another: one to a part of an object leads to the object.
    """

    annotations: list[Annotation] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)

    def lose(self, reason: str) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + 1


def submitted(annotations: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Of a task's annotations, those that were not skipped."""
    return [a for a in annotations if not a.get("was_cancelled")]


def from_result(
    result: Sequence[Region],
    width: int,
    height: int,
    provenance: Provenance,
    *,
    controls: Mapping[str, str] = ANY_BOX,
) -> Reading:
    """Read regions back as annotations of an upright `width` x `height` image.

    `controls` says which types are read, and from the control of which name ("" for any): rectangles by
    default, `EVERYTHING` at most. What an annotation cannot be (another geometry, no area, no label) is
    counted, never dropped in silence; what leaves the image is clipped, and counted. Several labels on
    one region become as many annotations with its id. An ellipse is read as the box round it, and counted.
    A taxonomy's path is one label: see `path_to_label`.
    """
    reading = Reading()
    shaped, labelled = _keys(result, _is_shape), _keys(result, lambda r: r.get("type") == "labels")
    ignored = _keys(result, _is_ignored)
    for region in result:
        kind, value = region.get("type", "unknown"), region.get("value")
        if kind == RELATION:
            reading.relations.append(relation_from_row(region))
        elif not isinstance(value, dict):
            reading.lose(f"{kind} without a value")
        elif kind in BARE and "labels" in controls and _key(region) in labelled:
            continue
        elif kind not in controls:
            reading.lose(f"{kind} region")
        elif controls[kind] and region.get("from_name", controls[kind]) != controls[kind]:
            reading.lose(f"{kind} of another control")
        elif kind in WHOLE_IMAGE and _key(region) in shaped:
            reading.lose(f"{kind} of a region")
        else:
            _read(reading, region, width, height, provenance, _key(region) in ignored)
    reading.annotations = _join_parts(reading.annotations)
    _drop_severed(reading)
    return reading


def _drop_severed(reading: Reading) -> None:
    """Keep the relations both ends of which were carried; the others are counted."""
    ids = {a.id for a in reading.annotations if a.id}
    whole = [replace(r, first=_among(r.first, ids), last=_among(r.last, ids)) for r in reading.relations]
    reading.relations = [relation for relation in whole if relation.first and relation.last]
    for _ in range(len(whole) - len(reading.relations)):
        reading.lose("relation of a region that is not carried")


def _among(name: str, ids: Collection[str]) -> str:
    return next((known for known in (name, whole_id(name)) if known in ids), "")


def whole_id(name: str) -> str:
    """The id of the object that the region of this id is, or is a part of."""
    return re.sub(rf"{PART}\d+$", "", name)


def _keys(result: Sequence[Region], which: Callable[[Region], bool]) -> set[Any]:
    return {_key(r) for r in result if isinstance(r.get("value"), dict) and which(r)}


def _is_shape(region: Region) -> bool:
    return not {"x", "points", "rle"}.isdisjoint(region["value"])


def _is_ignored(region: Region) -> bool:
    return any(line in IGNORED_NOTES for line in _note(region))


def _note(region: Region) -> list[str]:
    """The lines of the note somebody wrote on a region, in lower case."""
    meta = region.get("meta")
    texts = meta.get("text") if isinstance(meta, dict) else None
    texts = texts if isinstance(texts, list) else [texts]
    lines = (line.strip().casefold() for text in texts if isinstance(text, str) for line in text.splitlines())
    return [line for line in lines if line]


def _has_more(region: Region) -> bool:
    """Whether a region's note says anything else than that it is ignored."""
    meta = region.get("meta")
    if not isinstance(meta, dict) or not meta.keys() <= {"text"}:
        return bool(meta)
    known = isinstance(meta.get("text"), str | list)
    return bool(meta.get("text")) and not (known and set(_note(region)) <= set(IGNORED_NOTES))


def _key(region: Region) -> Any:
    """What the two copies of a region stored twice share: the id; where there are none, the geometry."""
    name = region.get("id")
    numbers = {k: v for k, v in region["value"].items() if k not in (*EVERYTHING, "id", "parentID")}
    return name if name is not None else orjson.dumps(numbers, option=orjson.OPT_SORT_KEYS)


def _read(
    reading: Reading, region: Region, width: int, height: int, provenance: Provenance, ignored: bool
) -> None:
    kind, value = region["type"], region["value"]
    if _has_more(region):
        reading.lose("note on a region")
    if kind in WHOLE_IMAGE:
        what, geometry = kind, {}
    else:
        read = SHAPES.get(kind) or shapes.guess(value)
        if read is None:
            reading.lose(f"{kind} region without a shape")
            return
        what, shape = read.__name__, read(value, width, height, reading.lose)
        if shape is None:
            return
        geometry = shape
    labels = _labels(reading, kind, value)
    if not labels:
        reading.lose(f"{what} without a label")
    name, parent = str(region.get("id") or ""), str(region.get("parentID") or "")
    # The editor keeps a model's score on a region a person has moved; it is no score of that person.
    score = _score(reading, region.get("score")) if provenance.kind == "model" else None
    if ignored and (not geometry or "keypoints" in geometry):
        reading.lose("note 'ignored' on what covers no part of the image")
        ignored = False
    for label in labels:
        annotation = Annotation(label, provenance, score=score, id=name, parent=parent, **geometry)
        reading.annotations.append(replace(annotation, ignored=ignored))


def _score(reading: Reading, score: Any) -> float | None:
    if score is None or (isinstance(score, int | float) and 0 <= score <= 1):
        return score
    reading.lose("score outside 0 to 1")
    return None


def _labels(reading: Reading, kind: str, value: Region) -> list[str]:
    values = value.get(kind)
    values = values if isinstance(values, list) else []
    if kind == "taxonomy":
        values = [path_to_label(map(str, path)) if isinstance(path, list) else path for path in values]
    labels = [label for label in values if isinstance(label, str) and label]
    if labels and len(labels) < len(values):
        reading.lose("label that is no text")
    return labels


def _join_parts(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Put the polygons or keypoints that `to_result` took apart together again."""
    joined: dict[Any, Annotation] = {}
    for number, a in enumerate(annotations):
        base = whole_id(a.id)
        whole = joined.get((base, a.label))
        if whole and whole.ignored != a.ignored:
            # A part that is ignored is so by itself.
            whole = None
        if whole and base != a.id and whole.parent == a.parent and whole.polygons and a.polygons:
            joined[base, a.label] = replace(whole, polygons=whole.polygons + a.polygons)
        elif whole and base != a.id and whole.parent == a.parent and whole.keypoints and a.keypoints:
            joined[base, a.label] = replace(whole, keypoints=whole.keypoints + a.keypoints)
        else:
            joined[(a.id, a.label) if a.id and (a.id, a.label) not in joined else number] = a
    return list(joined.values())

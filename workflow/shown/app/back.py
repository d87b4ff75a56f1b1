"""What people do in the App, on its way back: their tags, and the labels that they edit there.

When a dataset is made, a line an image says what the App was given of it: data/app/ID.jsonl, ID being the
database's own of the dataset. What differs from it later was done by people. Before a dataset is replaced, it
is read: tags go to data/tags.jsonl and are set again on the new one, and edited labels wait in
data/app/edited.jsonl, until somebody takes them (workflow app pull).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from workflow.errors import FormatError
from workflow.formats.fiftyone import IGNORED, PARENT, REGION, from_fiftyone
from workflow.labels.edits import Edit, given_name
from workflow.labels.tags import key
from workflow.metrics import Labels
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import (
    Row,
    append_rows,
    atomic,
    digest,
)
from workflow.records import SPLITS, Annotation, Provenance
from workflow.schema import Schema
from workflow.shown.app.kind import LISTS, Document
from workflow.shown.app.names import EVALUATED, TRUTH

# Who edits in the App: it has no accounts.
FIFTYONE = "fiftyone"
# Tags that are of the product, and nobody's word. The plugin sets the last.
OURS = {*SPLITS, EVALUATED, "excluded"}
# Coordinates come back as they went, but for rounding: no label was moved by so small a part of the image.
DIGITS = 7
# What the App edits on images -> what its label schemas call that.
EDITABLE = {
    "Detections": "detections",
    "Classification": "classification",
    "Classifications": "classifications",
}


@dataclass(frozen=True)
class Touched:
    """What was done to one image: its `tags` as data/tags.jsonl has them, and as they were; its `edit`.

    `seen` is the line by which all of that is known.
    """

    image: str
    tags: tuple[Row, ...]
    before: tuple[Row, ...]
    edit: Edit | None
    seen: Row

    @property
    def retagged(self) -> bool:
        return self.tags != tuple(sorted(self.before, key=key))


class Returns:
    """The files of one project that know what the App was given, and what people made of it."""

    def __init__(self, project: Project) -> None:
        self.folder = project.data / "app"
        self.edited = self.folder / "edited.jsonl"
        self.project = project
        self._tags: RowFile | None = None

    @property
    def tags(self) -> RowFile:
        if self._tags is None:
            self._tags = RowFile(self.project.tags)
        return self._tags

    # When a dataset is made

    def note(self, dataset: Any, samples: Iterable[Document], truth: Labels) -> Iterator[Document]:
        """The samples with the tags of before, each noted as it is given."""
        with atomic(self._path(dataset)) as file:
            for sample in samples:
                image = sample["image_id"]
                self._dress(sample, self.tags.rows(image))
                given = given_name(truth.get(image, ()))
                labels = [[str(d["_id"]), _content(d)] for d in _truth(sample)]
                append_rows(file, [_seen(sample) | {"given": given, "labels": labels}])
                yield sample

    def settle(self, dataset: Any) -> None:
        """Forget what was noted of datasets that are no more."""
        for path in self.folder.glob("[0-9a-f]*.jsonl"):
            if path != self._path(dataset) and path != self.edited:
                path.unlink()

    def keep(self, dataset: Any) -> None:
        """Write down what people did to a dataset that is about to be replaced."""
        edits = RowFile(self.edited)
        for touched in self.touched(dataset):
            if touched.retagged:
                self.tags.put(touched.image, *touched.tags)
            if touched.edit:
                edits.put(touched.image, touched.edit.to_row())
        if self.tags.changed():
            self.tags.write()
        if edits.changed():
            edits.write()

    def _dress(self, sample: Document, rows: Sequence[Row]) -> None:
        """Set tags that people set before: on the image, or on the label that is the same."""
        for row in rows:
            if "removed" in row or row.get("from") != FIFTYONE:
                continue
            if "field" not in row:
                sample["tags"] = [*sample["tags"], *({row["tag"]} - set(sample["tags"]))]
                continue
            for document in _labels(sample.get(row["field"])):
                if _name(document) == row["on"] and row["tag"] not in document["tags"]:
                    document["tags"] = [*document["tags"], row["tag"]]

    # When it is read

    def touched(self, dataset: Any) -> Iterator[Touched]:
        """What people did, image by image, since the dataset was made or last taken; nothing is changed.

        Of a dataset that an older workflow made, edits are not known, and tags are.
        """
        known = RowFile(self._path(dataset))
        # An image that nobody has touched since it was made says so, and is not read.
        changed = {"$expr": {"$gt": ["$last_modified_at", "$created_at"]}}
        for sample in dataset._sample_collection.find(changed):
            image = sample.get("image_id", "")
            if not image:
                continue
            base = known.row(image) or {"tags": [], "label_tags": {}}
            touched = self._touched(sample, base)
            if touched.retagged or touched.edit:
                yield touched

    def waiting(self) -> Iterator[Edit]:
        """Edits of datasets that were replaced before anybody took them."""
        rows = RowFile(self.edited)
        return (Edit.from_row(row) for image in rows for row in rows.rows(image))

    def take(
        self, dataset: Any, touched: Iterable[Touched], given: Mapping[str, str], left: Collection[str] = ()
    ) -> None:
        """Note that what was `touched` is taken, so that it is not found again.

        `given` names, where an edit was applied, the labels that came of it. The edits of images that are
        `left` are found again.
        """
        known = RowFile(self._path(dataset))
        for one in touched:
            seen = one.seen
            if one.image in given:
                seen = seen | {"given": given[one.image]}
            if one.image in left:
                before = known.row(one.image) or {}
                seen = seen | {key: before[key] for key in ("given", "labels") if key in before}
            known.put(one.image, seen)
        known.write()

    def forget_waiting(self, images: Iterable[str]) -> None:
        rows = RowFile(self.edited)
        for image in images:
            rows.drop(image)
        if rows.changed():
            rows.write()

    def _touched(self, sample: Document, base: Row) -> Touched:
        image, at = sample["image_id"], _utc(sample["last_modified_at"])
        before = tuple(self.tags.rows(image))
        rows = {key(row): row for row in before}
        added, removed = _difference(_tags_of(sample), base)
        for row in removed:
            old = rows.pop(key(row), None)
            # What was sent to people is remembered until they know that it is taken back.
            if old and "sent" in old:
                rows[key(row)] = old | {"removed": at}
        for row in added:
            if "removed" in rows.get(key(row), {"removed": at}):
                rows[key(row)] = {"image": image} | row | {"from": FIFTYONE, "at": at}
        given = base.get("given")
        edit = self._edit(sample, base, at) if given is not None else None
        there = {str(d["_id"]): _content(d) for d in _truth(sample)}
        # In the order of the line that an edit makes: what is new comes last, wherever the App has put it.
        order = [key for key, _ in base.get("labels", []) if key in there]
        labels = [[key, there[key]] for key in [*order, *(key for key in there if key not in order)]]
        seen = _seen(sample) | ({} if given is None else {"given": given, "labels": labels})
        return Touched(image, tuple(rows[key] for key in sorted(rows)), before, edit, seen)

    def _edit(self, sample: Document, base: Row, at: str) -> Edit | None:
        """What differs from the labels that were given; None where nothing does."""
        size = sample["metadata"]["width"], sample["metadata"]["height"]
        person = Provenance("person", FIFTYONE, at=at)
        there = {str(d["_id"]): d for d in _truth(sample)}
        given = {key: (n, content) for n, (key, content) in enumerate(base["labels"])}
        changed: dict[int, Annotation] = {}
        added: list[Annotation] = []
        refused: list[str] = []
        for key, document in there.items():
            n, content = given.get(key, (None, ""))
            if content == _content(document):
                continue
            try:
                annotation = _as_persons(document, *size, person)
            except FormatError as error:
                refused.append(error.problem)
                continue
            if n is None:
                added.append(replace(annotation, id=key))
            else:
                changed[n] = annotation
        deleted = tuple(n for key, (n, _) in given.items() if key not in there)
        if not (changed or added or deleted or refused):
            return None
        return Edit(
            sample["image_id"], at, base["given"], len(given), changed, deleted, tuple(added), tuple(refused)
        )

    def _path(self, dataset: Any) -> Path:
        return self.folder / f"{dataset._doc.id}.jsonl"


def let_edit(dataset: Any, schema: Schema) -> None:
    """Let people edit the true labels in the App's Annotate tab, of the project's classes and no others.

    The App edits boxes, masks and labels of images; of the rest it says so itself.
    """
    field = dataset.get_field(TRUTH)
    kind = EDITABLE.get(field.document_type.__name__) if field else None
    if kind:
        classes = {"component": "dropdown", "classes": list(schema.classes)}
        identity = {"name": "id", "type": "id", "component": "text", "read_only": True}
        dataset.update_label_schema(TRUTH, {"type": kind, "attributes": [identity], **classes})
        dataset.activate_label_schemas([TRUTH])


def _as_persons(document: Document, width: int, height: int, person: Provenance) -> Annotation:
    """A label as a person's, whoever made it first: FormatError where none can be made of it."""
    own = {key: value for key, value in document.items() if key not in ("made_by", "confidence")}
    return from_fiftyone([own], width, height, person)[0]


def _labels(value: Document | None) -> list[Document]:
    """The documents of a field of labels, be they a list or one."""
    if not value:
        return []
    inner = LISTS.get(value["_cls"])
    return value.get(inner) or [] if inner else [value]


def _truth(sample: Document) -> list[Document]:
    return _labels(sample.get(TRUTH))


def _fields(sample: Document) -> Iterator[tuple[str, list[Document]]]:
    for field, value in sample.items():
        if isinstance(value, dict) and "_cls" in value and (labels := _labels(value)):
            yield field, [d for d in labels if "_id" in d]


def _place(document: Document) -> list[Any]:
    """Where a label is, in fractions of the image that rounding leaves alone."""
    return _rounded([document.get("bounding_box"), document.get("points")])


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def _content(document: Document) -> str:
    """Names what a label says, and where; a mask that is packed anew may get another name."""
    mask = document.get("mask")
    packed = sha256(mask).hexdigest() if isinstance(mask, bytes) else ""
    said = [document.get("label"), bool(document.get(IGNORED)), document.get(PARENT) or ""]
    return digest([*said, packed, str(document.get("mask_path") or ""), _place(document)])


def _name(document: Document) -> str:
    """What a label is known by in another dataset: its region, else what it says and where."""
    return document.get(REGION) or digest([document.get("label"), _place(document)])


def _seen(sample: Document) -> Row:
    """The tags of an image and of its labels, as they are known again."""
    tagged = {
        field: {_name(d): sorted(d["tags"]) for d in documents if d.get("tags")}
        for field, documents in _fields(sample)
    }
    row: Row = {"image": sample["image_id"], "tags": sorted(sample.get("tags") or [])}
    return row | {"label_tags": {field: tags for field, tags in tagged.items() if tags}}


def _tags_of(sample: Document) -> list[Row]:
    """The tags of an image and of its labels, a row each."""
    rows: list[Row] = [{"tag": tag} for tag in sample.get("tags") or []]
    for field, labels in _fields(sample):
        for d in labels:
            about = {"field": field, "on": _name(d), "label": d.get("label") or ""}
            rows += [{"tag": tag} | about for tag in d.get("tags") or []]
    return rows


def _difference(now: Sequence[Row], base: Row) -> tuple[list[Row], list[Row]]:
    """Which tags people set, and which they took away; ours are ours."""
    was: list[Row] = [{"tag": tag} for tag in base["tags"]]
    for field, labels in base["label_tags"].items():
        was += [{"tag": tag, "field": field, "on": on} for on, tags in labels.items() for tag in tags]
    before, after = {key(row) for row in was}, {key(row) for row in now}
    added = [row for row in now if key(row) not in before and not _is_ours(row)]
    return added, [row for row in was if key(row) not in after and not _is_ours(row)]


def _is_ours(row: Row) -> bool:
    return "field" not in row and row["tag"] in OURS


def _utc(at: datetime) -> str:
    """A time of the database, which has them in UTC and says no zone."""
    return at.replace(tzinfo=UTC).isoformat(timespec="milliseconds")

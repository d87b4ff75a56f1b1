"""What the App shows of a dataset, and what each kind of label has to do for that."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from workflow.formats.fiftyone import ATTRIBUTES, IGNORED, PARENT, REGION
from workflow.metrics import Labels, Metrics, Sizes
from workflow.metrics.detection import DetectionEvaluation
from workflow.records import Annotation, ImageRecord
from workflow.schema import Schema
from workflow.shapes.matching import Errors
from workflow.shown.app.facts import Facts
from workflow.shown.app.names import PEOPLE, TRUTH

IOU = 0.5

# How many ids three bytes count.
COUNTED = 2**24

Document = dict[str, Any]
# A field of FiftyOne's schema: its class, and what makes it.
Field = tuple[Any, dict[str, Any]]
# FiftyOne's class of several labels -> the list in its document.
LISTS = {
    "Detections": "detections",
    "Polylines": "polylines",
    "Keypoints": "keypoints",
    "Classifications": "classifications",
}


@dataclass(frozen=True)
class Shown:
    """`fields` are truth and all that models said, `numbers` what each model is worth on the `sizes` images.

    `compared` are those of models that draw boxes, with their matches.
    `files` is a new folder of this dataset alone; what is painted needs one.
    """

    schema: Schema
    sizes: Sizes
    fields: Mapping[str, Labels]
    numbers: Mapping[str, Metrics]
    files: Path | None
    compared: Mapping[str, DetectionEvaluation] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    # (model, image) -> what is wrong there, so that it is counted once.
    counted: dict[tuple[str, str], Errors] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """The model that is asked about; the others are there to compare it with."""
        return next(reversed(list(self.numbers)), "")

    @property
    def rows(self) -> Iterator[ImageRecord]:
        """The images that count, as far as they are compared: by id and size."""
        return (ImageRecord(image, image, *size, "test") for image, size in self.sizes.items())

    @property
    def in_pixels(self) -> bool:
        return self.schema.task.kind == "pixels"

    def of(self, field: str, row: ImageRecord) -> Sequence[Annotation]:
        """All labels of one image."""
        return self.fields.get(field, {}).get(row.id, ())

    def seen(self, field: str, row: ImageRecord) -> Sequence[Annotation]:
        """The labels a model's user would see; of the truth, all."""
        labels = self.of(field, row)
        return self.numbers[field].shown(labels) if field in self.numbers else labels

    def errors(self, field: str, row: ImageRecord) -> Errors:
        """What is wrong with the labels of a model on an image that counts."""
        if field in self.compared:
            return self.compared[field].errors[row.id]
        if (field, row.id) not in self.counted:
            errors = self.numbers[field].errors(self.of(TRUTH, row), self.of(field, row))
            self.counted[field, row.id] = errors
        return self.counted[field, row.id]

    def weight(self, field: str, row: ImageRecord) -> float:
        """By which images are ranked: how many errors, or which share of the pixels is wrong."""
        errors = self.errors(field, row)
        return errors.weight if self.in_pixels else errors.total


class Kind(Protocol):
    """How labels of one kind are shown: `labels` makes the fields of each sample, in the order they come.

    `fields` are those of the schema, and `attributes` those of the labels in them, marks of runs included.
    `register` announces the runs before, `save` writes them after all samples are there. What was found on
    the way: `confusions` count (true class, class it was taken for) of each model, `sure` are the scores of
    what it has right. `precision` is the average precision of each image by itself, where that is of the
    task. `listed` says whether an image may have several labels of a model, `drawn` whether they
    are drawn on the image, with words beside them.
    """

    @property
    def listed(self) -> bool: ...
    @property
    def drawn(self) -> bool: ...
    @property
    def confusions(self) -> Mapping[str, Counter[tuple[str, str]]]: ...
    @property
    def sure(self) -> Mapping[str, list[float]]: ...
    @property
    def precision(self) -> Mapping[str, Mapping[str, float]]: ...

    def __init__(self, shown: Shown) -> None: ...
    def fields(self, fo: Any) -> dict[str, Field]: ...
    def attributes(self, fo: Any) -> dict[str, Field]: ...
    def register(self, view: Any) -> None: ...
    def labels(self, row: ImageRecord) -> Document: ...
    def save(self, view: Any) -> None: ...
    def colours(self, fo: Any, by_field: Mapping[str, str]) -> Any: ...
    def fields_of(self, models: Iterable[str]) -> list[str]:
        """The fields that hold labels of these models."""
        ...

    def confused(self, value: Any, view: Any, field: str, true: str, said: str) -> Any:
        """What a model took for another class, of a view; `value` is FiftyOne's ViewField."""
        ...


def declare(dataset: Any, fields: Mapping[str, Field]) -> None:
    """Add fields to the dataset's schema by their paths, whose parents it knows, all at once.

    `add_sample_field` writes and reads the whole schema for each: as long as for hundreds of samples.
    """
    from fiftyone.core.odm.utils import create_field

    made = {
        path: create_field(path.rpartition(".")[2], kind, **options)
        for path, (kind, options) in fields.items()
    }
    dataset._merge_sample_field_schema(made)


def label_field(fo: Any, cls: str) -> Field:
    """A field of labels of one of FiftyOne's classes."""
    return fo.EmbeddedDocumentField, {"embedded_doc_type": getattr(fo, cls)}


def list_attributes(fo: Any, field: str, cls: str) -> dict[str, Field]:
    """What ours have in a field of several labels besides."""
    texts = (REGION, PARENT, PEOPLE, *ATTRIBUTES.values())
    attributes: dict[str, Field] = {f"{field}.{LISTS[cls]}.{name}": (fo.StringField, {}) for name in texts}
    return attributes | {f"{field}.{LISTS[cls]}.{IGNORED}": (fo.BooleanField, {})}


class Ids:
    """New ids of documents, as the driver makes them: a time, five random bytes, a counter.

    The random bytes are our own, so none is one of the driver's, which takes five times as long for each.
    """

    def __init__(self) -> None:
        from bson import ObjectId

        self._make, self._count = ObjectId, COUNTED

    def new(self) -> Any:
        if self._count == COUNTED:
            self._count = 0
            self._prefix = int(time.time()).to_bytes(4, "big") + os.urandom(5)
        self._count += 1
        return self._make(self._prefix + (self._count - 1).to_bytes(3, "big"))

    def on(self, documents: Sequence[Document]) -> list[Document]:
        """Documents as the database holds them."""
        new = self.new
        return [{"_id": new(), "attributes": {}, "tags": [], **document} for document in documents]


def save_results(run: Any, dataset: Any, key: str, results: Any) -> None:
    """Write what a run found, as its `save_run_results` does, whose own way to JSON is a call a number."""
    document = run._get_run_doc(dataset, key)
    content = orjson.dumps(results.serialize(), option=orjson.OPT_SERIALIZE_NUMPY)
    document.results.put(content, content_type="application/json")
    document.results_meta = dict(results.get_meta() or {})
    document.save()


def listed(cls: str, documents: Sequence[Document]) -> Document:
    return {"_cls": cls, LISTS[cls]: list(documents)}


def extra_metrics(numbers: Metrics, known: Sequence[str], **more: tuple[str, float | None]) -> Document:
    """The headlines that FiftyOne does not know itself, as rows of its panel."""
    rows = {line.key: (line.name, line.value) for line in numbers.headlines if line.key not in known} | more
    return {
        f"@workflow/{key}": {"key": key, "value": value, "label": label, "lower_is_better": False}
        for key, (label, value) in rows.items()
        if value is not None
    }


def colours_by_field(fo: Any, by_field: Mapping[str, str]) -> Any:
    fields = [{"path": field, "fieldColor": colour} for field, colour in by_field.items()]
    return fo.ColorScheme(color_by="field", fields=fields)

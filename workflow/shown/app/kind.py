"""What the App shows of a dataset, and what each kind of label has to do for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from workflow.formats.fiftyone import ATTRIBUTES, IGNORED, PARENT, REGION
from workflow.metrics import Labels, Metrics, Sizes
from workflow.records import Annotation, ImageRecord
from workflow.schema import Schema

TRUTH = "ground_truth"
EVALUATED = "evaluated"
IOU = 0.5

Document = dict[str, Any]
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

    `files` is a new folder of this dataset alone; what is painted needs one.
    """

    schema: Schema
    sizes: Sizes
    fields: Mapping[str, Labels]
    numbers: Mapping[str, Metrics]
    files: Path | None

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


class Kind(Protocol):
    """How labels of one kind are shown: `labels` makes the fields of each sample, in the order they come.

    `register` announces the runs before, `save` writes them after all samples are there.
    """

    def __init__(self, shown: Shown) -> None: ...
    def declare(self, fo: Any, dataset: Any) -> None: ...
    def register(self, view: Any) -> None: ...
    def labels(self, row: ImageRecord) -> Document: ...
    def save(self, view: Any) -> None: ...
    def colours(self, fo: Any, by_field: Mapping[str, str]) -> Any: ...


def declare_list(fo: Any, dataset: Any, field: str, cls: str) -> None:
    """A field of several labels, with the attributes that ours have."""
    dataset.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=getattr(fo, cls))
    for attribute in (REGION, PARENT, *ATTRIBUTES.values()):
        dataset.add_sample_field(f"{field}.{LISTS[cls]}.{attribute}", fo.StringField)
    dataset.add_sample_field(f"{field}.{LISTS[cls]}.{IGNORED}", fo.BooleanField)


def with_ids(documents: Sequence[Document]) -> list[Document]:
    """Documents as the database holds them."""
    from bson import ObjectId

    return [{"_id": ObjectId(), "attributes": {}, "tags": [], **document} for document in documents]


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

"""Labels of the whole image as columns: `label` where an image has one, `labels` where it may have several.

Format: https://huggingface.co/docs/datasets/image_classification
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workflow.dataset.tally import Tally
from workflow.errors import FormatError
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema

Columns = dict[str, Any]


def features(schema: Schema, ignored: bool) -> Columns:
    """`person` names who gave the label, one beside each label where there may be several."""
    from datasets import ClassLabel, List, Value

    names, person = ClassLabel(names=list(schema.classes)), Value("string")
    if schema.task.exclusive:
        return {"label": names, "person": person}
    return {"labels": List(names), "person": List(person)}


def pack(
    record: ImageRecord,
    annotations: Sequence[Annotation],
    schema: Schema,
    tally: Tally,
    ignored: bool,
) -> Columns | None:
    """The columns; None where the one label is missing, or which of several is meant, is unsaid."""
    indices = [index(a.label, schema.classes) for a in annotations]
    persons = [a.provenance.name for a in annotations]
    if not schema.task.exclusive:
        tally.take(len(annotations))
        return {"labels": indices, "person": persons}
    if len(annotations) != 1:
        several = "images of several labels left out"
        tally.lost[several if annotations else "images without a label left out"] += 1
        return None
    tally.take(1)
    return {"label": indices[0], "person": persons[0]}


def unpack(row: Columns, schema: Schema) -> list[Annotation]:
    single = schema.task.exclusive
    labels, persons = ([row["label"]], [row["person"]]) if single else (row["labels"], row["person"])
    return [
        Annotation(schema.classes[label], Provenance("person", person))
        for label, person in zip(labels, persons, strict=True)
    ]


def index(label: str, names: Sequence[str], what: str = "class") -> int:
    """Which of `names` a label is. FormatError where it is none."""
    if label not in names:
        plural = "classes" if what == "class" else f"{what}s"
        raise FormatError(f"label {label!r} is no {what} of the project", f"add it to {plural}")
    return names.index(label)

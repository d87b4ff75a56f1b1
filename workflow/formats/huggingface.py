"""Rows of a Hugging Face detection dataset: the original image bytes, and COCO-style objects.

Format: https://huggingface.co/docs/datasets/object_detection, boxes as x, y, width, height in pixels of
the upright image (`datasets` applies EXIF when it decodes). Coordinates are 64-bit, so they come back
as they went in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workflow.errors import FormatError
from workflow.geometry import enclosing_box
from workflow.records import Annotation, ImageRecord, Provenance

if TYPE_CHECKING:
    import datasets

Row = dict[str, Any]


def features(classes: Sequence[str]) -> datasets.Features:
    """The schema of a reviewed split."""
    from datasets import ClassLabel, Features, Image, List, Value

    number = Value("float64")
    return Features(
        {
            "image_id": Value("string"),
            "image": Image(),
            "file": Value("string"),
            "width": Value("int32"),
            "height": Value("int32"),
            "objects": {
                "id": List(Value("string")),
                "bbox": List(List(number, length=4)),
                "category": List(ClassLabel(names=list(classes))),
                "area": List(number),
                "person": List(Value("string")),
            },
        }
    )


def unreviewed_features() -> datasets.Features:
    """The schema of the images that nobody has decided on: not seen, or seen and skipped."""
    from datasets import Features, Value

    return Features({name: Value("string") for name in ("image_id", "file", "split", "state")})


def to_row(
    record: ImageRecord, content: bytes, annotations: Sequence[Annotation], classes: Sequence[str]
) -> Row:
    """One reviewed image; without annotations it is a true negative.

    A rotated box goes in as the box that encloses it (count those first); FormatError for other
    geometry and for a label outside `classes`.
    """
    boxes = [_box(a) for a in annotations]
    return {
        "image_id": record.id,
        "image": {"bytes": content, "path": record.path},
        "file": record.path,
        "width": record.width,
        "height": record.height,
        "objects": {
            "id": [a.id for a in annotations],
            "bbox": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes],
            "category": [_index(a.label, classes) for a in annotations],
            "area": [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes],
            "person": [a.provenance.name for a in annotations],
        },
    }


def from_row(row: Row, classes: Sequence[str]) -> list[Annotation]:
    """The annotations of one row."""
    objects = row["objects"]
    columns = zip(objects["id"], objects["bbox"], objects["category"], objects["person"], strict=True)
    return [
        Annotation(classes[c], Provenance("person", person), box=(x, y, x + w, y + h), id=name)
        for name, (x, y, w, h), c, person in columns
    ]


def _index(label: str, classes: Sequence[str]) -> int:
    if label not in classes:
        raise FormatError(f"label {label!r} is no class of the project", "add it to classes")
    return classes.index(label)


def _box(annotation: Annotation) -> tuple[float, float, float, float]:
    if annotation.box is not None:
        return annotation.box
    if annotation.rotated_box is not None:
        return enclosing_box(annotation.rotated_box)
    raise FormatError(f"annotation {annotation.label!r} has no box: a detection dataset cannot hold it")

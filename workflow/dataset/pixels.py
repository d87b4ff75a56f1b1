"""Classes painted over the image as one picture: pixel value 0 is background, k is classes[k-1].

Format: https://huggingface.co/docs/datasets/semantic_segmentation, `label` a lossless 8-bit PNG of the
upright image's size. Where layers overlap, the later one counts, and the pixels are counted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from workflow.dataset.labels import index
from workflow.dataset.tally import Tally
from workflow.errors import FormatError
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.shapes import masks

Columns = dict[str, Any]
MOST_CLASSES = 255


def features(schema: Schema) -> Columns:
    from datasets import Image, Value

    if len(schema.classes) > MOST_CLASSES:
        raise FormatError(f"{len(schema.classes)} classes do not fit a picture of 8 bits", "255 are the most")
    return {"label": Image(), "person": Value("string")}


def pack(
    record: ImageRecord,
    annotations: Sequence[Annotation],
    schema: Schema,
    tally: Tally,
) -> Columns:
    """The columns; `person` names everyone who painted here."""
    from PIL import Image

    painted = np.zeros((record.height, record.width), dtype=np.uint8)
    for annotation in annotations:
        assert annotation.mask is not None
        pixels, value = masks.decode(annotation.mask), index(annotation.label, schema.classes) + 1
        if pixels.shape != painted.shape:
            what = f"mask {annotation.label!r} of {pixels.shape[1]}x{pixels.shape[0]}"
            raise FormatError(f"{what} is none of a {record.width}x{record.height} image")
        twice = pixels & (painted != 0) & (painted != value)
        tally.lost["pixels painted twice (the later layer counts)"] += int(twice.sum())
        tally.lost["masks without pixels"] += not pixels.any()
        painted[pixels] = value
    tally.take(np.count_nonzero(np.bincount(painted.ravel())[1:]))
    file = io.BytesIO()
    Image.fromarray(painted).save(file, "PNG")
    persons = dict.fromkeys(a.provenance.name for a in annotations)
    return {"label": {"bytes": file.getvalue(), "path": f"{record.id}.png"}, "person": ", ".join(persons)}


def unpack(row: Columns, schema: Schema) -> list[Annotation]:
    """One mask for each class that occurs, in the order of the classes."""
    from PIL import Image

    painted = np.asarray(Image.open(io.BytesIO(row["label"]["bytes"])))
    person = Provenance("person", row["person"])
    return [
        Annotation(schema.classes[value - 1], person, mask=masks.encode(painted == value))
        for value in np.unique(painted).tolist()
        if value
    ]

"""Classes painted over the image as one picture: pixel value 0 is background, k is classes[k-1], 255 is void.

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
from workflow.shapes.paint import annotations_of, layers, paint
from workflow.tasks import MOST_PAINTED

Columns = dict[str, Any]


def features(schema: Schema, ignored: bool) -> Columns:
    from datasets import Image, Value

    if len(schema.classes) > MOST_PAINTED:
        raise FormatError(
            f"{len(schema.classes)} classes do not fit a picture of 8 bits", f"{MOST_PAINTED} are the most"
        )
    return {"label": Image(), "person": Value("string")}


def pack(
    record: ImageRecord,
    annotations: Sequence[Annotation],
    schema: Schema,
    tally: Tally,
    ignored: bool,
) -> Columns:
    """The columns; `person` names everyone who painted here."""
    from PIL import Image

    for annotation in annotations:
        if not annotation.ignored:
            index(annotation.label, schema.classes)
    try:
        painting = paint(annotations, schema.classes, record.height, record.width)
    except ValueError as error:
        raise FormatError(str(error)) from None
    tally.lost["pixels painted twice (the later layer counts)"] += painting.twice
    tally.lost["masks without pixels"] += painting.empty
    tally.take(sum(1 for _ in layers(painting.pixels, schema.classes)), any(a.ignored for a in annotations))
    file = io.BytesIO()
    Image.fromarray(painting.pixels).save(file, "PNG")
    persons = dict.fromkeys(a.provenance.name for a in annotations)
    return {"label": {"bytes": file.getvalue(), "path": f"{record.id}.png"}, "person": ", ".join(persons)}


def unpack(row: Columns, schema: Schema) -> list[Annotation]:
    """One mask for each class that occurs, in their order, and an ignored one of what is void."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(row["label"]["bytes"])))
    return annotations_of(pixels, schema.classes, Provenance("person", row["person"]))

"""Boxes to and from FiftyOne's detection documents: plain dicts, no database, no import of fiftyone.

A document is what FiftyOne stores of one `Detection`: `_cls`, `label`, `bounding_box` and
`confidence`. `bounding_box` is x, y, width, height as fractions of the upright image. Where an
annotation has an id or provenance, these travel as attributes of the detection, so the App shows who
made a box. https://docs.voxel51.com/user_guide/using_datasets.html#object-detection
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workflow.errors import FormatError
from workflow.records import Annotation, Provenance

IMPORTED = Provenance("import", "fiftyone")
# FiftyOne's own `id` is its database key, so ours goes by another name.
ATTRIBUTES = {"kind": "made_by", "name": "maker", "revision": "maker_revision", "at": "made_at"}
REGION = "region"


def to_fiftyone(annotations: Iterable[Annotation], width: int, height: int) -> list[dict[str, Any]]:
    """Detection documents of boxes on an upright image of `width` x `height` pixels, in their order.

    A box may reach over the image's edge: its fractions then leave [0, 1]. Raises FormatError for a
    label of the whole image, a rotated box, a mask or keypoints, which a Detection cannot carry.
    """
    return [_document(a, width, height) for a in annotations]


def from_fiftyone(
    documents: Iterable[Mapping[str, Any]], width: int, height: int, provenance: Provenance = IMPORTED
) -> list[Annotation]:
    """The boxes of detection documents, in pixels of the upright image, within 1e-9 of a pixel.

    `provenance` is of those that name no maker of their own. Attributes that are not ours, such as
    the marks of an evaluation, are not labels and stay behind. Raises FormatError for what is not a
    Detection, for an instance mask, and for a box without label or area.
    """
    return [_annotation(d, width, height, provenance) for d in documents]


def _document(a: Annotation, width: int, height: int) -> dict[str, Any]:
    if a.box is None:
        shapes = ("rotated_box", "mask", "polygons", "keypoints")
        found = (s.replace("_", " ") for s in shapes if getattr(a, s) is not None)
        what = next(found, "label of the whole image")
        raise FormatError(f"fiftyone: the {what} {a.label!r} does not fit a Detection, which holds a box")
    x1, y1, x2, y2 = a.box
    made_by = {key: getattr(a.provenance, name) for name, key in ATTRIBUTES.items()}
    return {
        "_cls": "Detection",
        "label": a.label,
        "bounding_box": [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
        "confidence": a.score,
        **{key: value for key, value in {REGION: a.id, **made_by}.items() if value},
    }


def _annotation(d: Mapping[str, Any], width: int, height: int, provenance: Provenance) -> Annotation:
    if d.get("_cls") != "Detection":
        raise FormatError(f"fiftyone: a {d.get('_cls')} is not a Detection")
    if d.get("mask") is not None or d.get("mask_path") is not None:
        raise FormatError(f"fiftyone: the detection {d.get('label')!r} has an instance mask, not only a box")
    x, y, w, h = d["bounding_box"]
    x1, y1 = x * width, y * height
    if ATTRIBUTES["kind"] in d:
        provenance = Provenance(**{name: d.get(key, "") for name, key in ATTRIBUTES.items()})
    try:
        return Annotation(
            d.get("label") or "",
            provenance,
            box=(x1, y1, x1 + w * width, y1 + h * height),
            score=d.get("confidence"),
            id=d.get(REGION, ""),
        )
    except ValueError as error:
        raise FormatError(f"fiftyone: {error}") from error

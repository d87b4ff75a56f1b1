"""Annotations to and from FiftyOne's label documents: plain dicts, no database, no import of fiftyone.

A document is what FiftyOne stores of one label, and `_cls` says of which kind: a box or a mask is a
`Detection`, a rotated box or outlines a closed `Polyline`, points a `Keypoint`, a label of the whole image a
`Classification`. Coordinates are fractions of the upright image; a mask lies within its `bounding_box`, as
an array that numpy saved and zlib compressed. Where an annotation has an id, a parent or provenance, these
travel as attributes, so the App shows who made a label, and so does a rotated box, whose corners forget
which way is up. https://docs.voxel51.com/user_guide/using_datasets.html#labels
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from functools import lru_cache
from typing import Any

import numpy as np

from workflow.errors import FormatError
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks
from workflow.shapes.geometry import rotated_corners

IMPORTED = Provenance("import", "fiftyone")
# FiftyOne's own `id` is its database key, so ours goes by another name.
ATTRIBUTES = {"kind": "made_by", "name": "maker", "revision": "maker_revision", "at": "made_at"}
REGION, PARENT, ROTATED = "region", "belongs_to", "rotated_box"
# Its own evaluation and exporters know a crowd by this name.
IGNORED = "iscrowd"
# A rotated box whose corners lie further off was changed in FiftyOne, where it is but an outline.
SAME_PIXELS = 1e-6
# A header of numpy's takes no more, and a number of numpy's no more than two doubles.
HEADER, WIDEST = 2**16, 16
# Fractions leave the mask's first pixel off by rounding only.
WHOLE_PIXELS = 1e-3

Document = dict[str, Any]


def to_fiftyone(annotations: Iterable[Annotation], width: int, height: int) -> list[Document]:
    """Documents of annotations on an upright image of `width` x `height` pixels, in their order.

    A box may reach over the image's edge: its fractions then leave [0, 1]. Raises FormatError for a mask
    without pixels, which has no box to lie in, and one of another size than the image.
    """
    return [_document(a, width, height) for a in annotations]


def from_fiftyone(
    documents: Iterable[Mapping[str, Any]], width: int, height: int, provenance: Provenance = IMPORTED
) -> list[Annotation]:
    """The annotations of documents: masks exact, the rest within 1e-9 of a pixel of the upright image.

    `provenance` is of those that name no maker of their own. Attributes that are not ours, such as
    the marks of an evaluation, are not labels and stay behind. Raises FormatError for another kind of
    label, an open line, a mask on disk or of another size than its box, points of several scores, and
    what no annotation can be.
    """
    return [_annotation(d, width, height, provenance) for d in documents]


def _document(a: Annotation, width: int, height: int) -> Document:
    document = {"label": a.label, "confidence": a.score, **_WRITE[a.geometry](a, width, height)}
    if a.id:
        document[REGION] = a.id
    if a.parent:
        document[PARENT] = a.parent
    document |= _made_by(a.provenance)
    if a.ignored:
        document[IGNORED] = True
    return document


@lru_cache(maxsize=1024)
def _made_by(provenance: Provenance) -> Document:
    made_by = {key: getattr(provenance, name) for name, key in ATTRIBUTES.items()}
    return {key: value for key, value in made_by.items() if value}


def _write_label(a: Annotation, width: int, height: int) -> Document:
    return {"_cls": "Classification"}


def _write_box(a: Annotation, width: int, height: int) -> Document:
    x1, y1, x2, y2 = a.box or (0, 0, 0, 0)
    fractions = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    return {"_cls": "Detection", "bounding_box": fractions}


def _write_mask(a: Annotation, width: int, height: int) -> Document:
    assert a.mask is not None
    box = masks.box(a.mask)
    if box is None:
        raise FormatError(f"fiftyone: the mask {a.label!r} has no pixels, and so no box to lie in")
    if (a.mask.width, a.mask.height) != (width, height):
        size = f"{a.mask.width} x {a.mask.height}"
        raise FormatError(f"fiftyone: the mask {a.label!r} is of {size}, not {width} x {height} pixels")
    x1, y1, x2, y2 = map(int, box)
    fractions = [x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height]
    pixels = masks.decode(a.mask)[y1:y2, x1:x2]
    return {"_cls": "Detection", "bounding_box": fractions, "mask": pack_array(pixels)}


def _write_rotated(a: Annotation, width: int, height: int) -> Document:
    assert a.rotated_box is not None
    corners = rotated_corners(a.rotated_box) / (width, height)
    line = {"_cls": "Polyline", "points": [corners.tolist()], "closed": True, "filled": False}
    return line | {ROTATED: list(astuple(a.rotated_box))}


def _write_polygons(a: Annotation, width: int, height: int) -> Document:
    parts = [[[x / width, y / height] for x, y in part] for part in a.polygons or ()]
    return {"_cls": "Polyline", "points": parts, "closed": True, "filled": True}


def _write_points(a: Annotation, width: int, height: int) -> Document:
    points = [[x / width, y / height] for x, y in a.keypoints or ()]
    scores = None if a.score is None else [a.score] * len(points)
    return {"_cls": "Keypoint", "points": points, "confidence": scores}


_WRITE: dict[str, Callable[[Annotation, int, int], Document]] = {
    "": _write_label,
    "box": _write_box,
    "mask": _write_mask,
    "rotated_box": _write_rotated,
    "polygons": _write_polygons,
    "keypoints": _write_points,
}


def _annotation(d: Mapping[str, Any], width: int, height: int, provenance: Provenance) -> Annotation:
    read = _READ.get(d.get("_cls", ""))
    if read is None:
        raise FormatError(f"fiftyone: a {d.get('_cls')} is none of {', '.join(_READ)}")
    if ATTRIBUTES["kind"] in d:
        provenance = Provenance(**{name: d.get(key, "") for name, key in ATTRIBUTES.items()})
    known = {"score": d.get("confidence"), "id": d.get(REGION, ""), "parent": d.get(PARENT, "")}
    known["ignored"] = bool(d.get(IGNORED))
    try:
        return Annotation(d.get("label") or "", provenance, **known | read(d, width, height))
    except ValueError as error:
        raise FormatError(f"fiftyone: {error}") from error
    except (KeyError, TypeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"is malformed ({error})"
        raise FormatError(f"fiftyone: the {d['_cls']} {d.get('label')!r} {what}") from error


def _read_detection(d: Mapping[str, Any], width: int, height: int) -> Document:
    x, y, w, h = d["bounding_box"]
    x1, y1 = x * width, y * height
    x2, y2 = x1 + w * width, y1 + h * height
    if d.get("mask_path") is not None:
        raise FormatError(f"fiftyone: the mask of the detection {d.get('label')!r} is a file elsewhere")
    if d.get("mask") is None:
        return {"box": (x1, y1, x2, y2)}
    pixels = unpack_array(d["mask"], width * height)
    corners = np.array([x1, y1, x2, y2])
    left, top, right, bottom = np.rint(corners).astype(int).tolist()
    off = np.abs(corners - np.rint(corners)).max() > WHOLE_PIXELS
    outside = left < 0 or top < 0 or right > width or bottom > height
    if off or outside or pixels.shape != (bottom - top, right - left):
        what = f"the mask of the detection {d.get('label')!r}, {pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise FormatError(f"fiftyone: {what}, does not fit its box {(x1, y1, x2, y2)}")
    whole = np.zeros((height, width), dtype=bool)
    whole[top:bottom, left:right] = pixels
    return {"mask": masks.encode(whole)}


def _read_polyline(d: Mapping[str, Any], width: int, height: int) -> Document:
    if not d.get("closed"):
        raise FormatError(f"fiftyone: the line {d.get('label')!r} is not closed, and so no outline")
    parts = tuple(tuple((x * width, y * height) for x, y in part) for part in d["points"])
    if d.get(ROTATED) is not None:
        rotated = RotatedBox(*d[ROTATED])
        corners = rotated_corners(rotated)
        same = np.shape(parts) == (1, 4, 2) and np.allclose(parts[0], corners, rtol=0, atol=SAME_PIXELS)
        if same:
            return {"rotated_box": rotated}
    return {"polygons": parts}


def _read_points(d: Mapping[str, Any], width: int, height: int) -> Document:
    scores = set(d.get("confidence") or [None])
    if len(scores) > 1:
        raise FormatError(f"fiftyone: the keypoints {d.get('label')!r} have several scores, not one")
    return {"keypoints": tuple((x * width, y * height) for x, y in d["points"]), "score": scores.pop()}


_READ: dict[str, Callable[[Mapping[str, Any], int, int], Document]] = {
    "Detection": _read_detection,
    "Polyline": _read_polyline,
    "Keypoint": _read_points,
    "Classification": lambda d, width, height: {},
}


def pack_array(values: np.ndarray) -> bytes:
    """An array as FiftyOne's database holds it: numpy's own file, compressed."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return zlib.compress(file.getvalue())


def unpack_array(packed: bytes, most: int) -> np.ndarray:
    """The array of `pack_array`, of up to `most` values. ValueError for anything else.

    What a few bytes say of a size is not believed: no more is unpacked than such an array takes, and its
    header is compared with what came out before any array is made.
    """
    bound = HEADER + most * WIDEST
    unpacker = zlib.decompressobj()
    try:
        file = io.BytesIO(unpacker.decompress(packed, bound))
        if unpacker.unconsumed_tail:
            raise ValueError(f"a mask is larger than its image: more than {bound} bytes")
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        # Numbers of Python's own size, since a shape may be made to overflow.
        if math.prod(shape) * dtype.itemsize != len(file.getbuffer()) - file.tell():
            raise ValueError(f"a mask says it is of shape {shape}, and holds something else")
        file.seek(0)
        return np.load(file, allow_pickle=False)
    except (zlib.error, OSError, EOFError) as error:
        raise ValueError(f"a mask is no compressed array ({error})") from error

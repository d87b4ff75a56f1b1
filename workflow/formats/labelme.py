"""LabelMe: a JSON file an image, beside it.

Format: https://github.com/wkentaro/labelme/blob/main/labelme/_label_file.py. `group_id` ties the parts of an
object together, and an object's points to its rectangle. The image's `flags` are labels of the whole image.
A mask is a PNG of the pixels within its two corners, both of them included.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from workflow.formats.files import beside, images_folder, parse_json
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images, put
from workflow.records import Annotation
from workflow.shapes import masks

Json = dict[str, Any]
VERSION = "5.5.0"


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each JSON file below the folder `source` that has `shapes`."""
    for path in sorted(source.rglob("*.json")):
        content = parse_json(path, reading)
        if not isinstance(content, dict) or "shapes" not in content:
            if content is not None:
                reading.problems.append(f"{path}: has no shapes, so it is no LabelMe file")
            continue
        try:
            page = reading.page(
                *_names(path, source, content), size=(content["imageWidth"], content["imageHeight"])
            )
            if page is not None:
                _read(page, content)
                yield page
        except (KeyError, TypeError, ValueError, OSError) as error:
            reading.problems.append(f"{path}: malformed ({error!r})")


def _names(path: Path, source: Path, content: Json) -> list[str]:
    """Where the image is: the file says it relative to itself."""
    below = path.parent.relative_to(source)
    return [beside(folder, str(content["imagePath"])) for folder in (below, images_folder(below))]


def _read(page: Page, content: Json) -> None:
    for label, is_set in (content.get("flags") or {}).items():
        if is_set:
            page.label(label)
    parts: dict[tuple[str, Any], list[Any]] = {}
    for number, shape in enumerate(content["shapes"]):
        label, group, points = shape["label"], shape.get("group_id"), shape["points"]
        kind = shape.get("shape_type") or "polygon"
        page.lose("flags of shapes", sum(map(bool, (shape.get("flags") or {}).values())))
        if (
            kind == "polygon"
            and group is not None
            and page.reading.schema.task.name == "instance-segmentation"
        ):
            parts.setdefault((label, group), []).append(_pairs(points))
        elif kind == "polygon":
            page.polygons(label, [_pairs(points)])
        elif kind == "rectangle":
            (x1, y1), (x2, y2) = np.sort(np.array(points, dtype=float).reshape(2, 2), axis=0).tolist()
            page.box(label, x1, y1, x2, y2, id=f"shape{number}" if group is None else f"group{group}")
        elif kind == "point":
            x, y = points[0]
            page.point(label, x, y, "" if group is None else f"group{group}")
        elif kind == "mask":
            page.mask(label, _pixels(page, shape))
        else:
            page.lose(f"shapes of the type {kind}")
    for (label, _), whole in parts.items():
        page.polygons(label, whole)


def _pairs(points: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _pixels(page: Page, shape: Json) -> Any:
    from PIL import Image

    (x1, y1), _ = ((round(x), round(y)) for x, y in shape["points"])
    part = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=["PNG"])) != 0
    pixels = np.zeros((page.height, page.width), dtype=bool)
    height, width = part.shape
    if x1 < 0 or y1 < 0 or x1 + width > page.width or y1 + height > page.height:
        raise ValueError(f"mask {shape['label']!r} leaves its image")
    pixels[y1 : y1 + height, x1 : x1 + width] = part
    return pixels


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """The images, each with its JSON file."""
    names = copy_images(pictures, target, lambda picture: "")
    for picture, name in zip(pictures, names, strict=True):
        flags = {}
        if writing.schema.task.kind == "labels":
            given = {a.label for a in picture.annotations}
            flags = {label: label in given for label in writing.schema.classes}
        content = {
            "version": VERSION,
            "flags": flags,
            "shapes": list(_shapes(picture, writing)),
            "imagePath": name,
            "imageData": None,
            "imageHeight": picture.size[1],
            "imageWidth": picture.size[0],
        }
        put((target / name).with_suffix(".json"), orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _shapes(picture: Picture, writing: Writing) -> Iterator[Json]:
    groups = {a.parent: number for number, a in enumerate(picture.annotations, 1) if a.parent}
    for number, a in enumerate(picture.annotations, len(picture.annotations) + 1):
        group = groups.get(a.parent if a.keypoints else a.id)
        if a.box is not None:
            yield _shape(a, "rectangle", [a.box[:2], a.box[2:]], group)
        for part in a.polygons or ():
            yield _shape(a, "polygon", part, number if len(a.polygons or ()) > 1 else None)
        for point in a.keypoints or ():
            yield _shape(a, "point", [point], group)
        if a.mask is not None:
            box = masks.box(a.mask)
            if box is None:
                writing.losses.add("masks without pixels", picture.record.path)
                continue
            x1, y1, x2, y2 = map(int, box)
            shape = _shape(a, "mask", [(x1, y1), (x2 - 1, y2 - 1)], None)
            yield shape | {"mask": _png(masks.decode(a.mask)[y1:y2, x1:x2])}


def _shape(annotation: Annotation, kind: str, points: Sequence[Any], group: int | None) -> Json:
    head = {"label": annotation.label, "points": [list(point) for point in points], "group_id": group}
    return head | {"description": "", "shape_type": kind, "flags": {}, "mask": None}


def _png(pixels: masks.Bits) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.view(np.uint8) * np.uint8(255)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()

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
from PIL.Image import DecompressionBombError

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.files import beside, images_folder
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images, put
from workflow.records import Annotation, Point
from workflow.shapes import masks

Json = dict[str, Any]
VERSION = "5.5.0"


class _Shape(doors.Record):
    label: doors.Name
    points: tuple[tuple[doors.Number, doors.Number], ...]
    shape_type: str | None = None
    group_id: doors.Id | None = None
    flags: dict[str, doors.Flag] | None = None
    mask: str | None = None


class _File(doors.Record):
    imagePath: doors.Text
    imageWidth: doors.Pixels | None = None
    imageHeight: doors.Pixels | None = None
    shapes: tuple[Any, ...]
    flags: dict[str, doors.Flag] | None = None


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each JSON file below the folder `source` that has `shapes`."""
    for path in doors.files_below(source, ".json"):
        try:
            content = doors.load_json(path)
            if not isinstance(content, dict) or "shapes" not in content:
                reading.problems.append(f"{path}: has no shapes, so it is no LabelMe file{_whose(content)}")
                continue
            stated = doors.take(_File, content, str(path))
            page = reading.page(
                *_names(path, source, stated.imagePath), size=(stated.imageWidth, stated.imageHeight)
            )
            if page is not None:
                _read(page, stated, str(path))
                yield page
        except FormatError as error:
            reading.problems.append(error.problem)
        except (ValueError, OSError, SyntaxError, DecompressionBombError) as error:
            reading.problems.append(f"{path}: malformed ({error})")


def _whose(content: Any) -> str:
    """What to do with the JSON of another tool."""
    rows = [content, *content.values()] if isinstance(content, dict) else []
    via = any(isinstance(row, dict) and {"regions", "_via_img_metadata"} & row.keys() for row in rows)
    return ": it is VIA's; export its annotations as COCO, by VIA's own menu" if via else ""


def _names(path: Path, source: Path, name: str) -> list[str]:
    """Where the image is: the file says it relative to itself."""
    below = path.parent.relative_to(source)
    return [beside(folder, name) for folder in (below, images_folder(below))]


def _read(page: Page, stated: _File, where: str) -> None:
    for label, is_set in (stated.flags or {}).items():
        if is_set:
            page.label(label)
    parts: dict[tuple[str, Any], list[Any]] = {}
    for number, value in enumerate(stated.shapes):
        shape = doors.take(_Shape, value, f"{where}: shapes[{number}]")
        label, group, points = shape.label, shape.group_id, shape.points
        kind = shape.shape_type or "polygon"
        page.lose("flags of shapes", sum(map(bool, (shape.flags or {}).values())))
        if (
            kind == "polygon"
            and group is not None
            and page.reading.schema.task.name == "instance-segmentation"
        ):
            parts.setdefault((label, group), []).append(points)
        elif kind == "polygon":
            page.polygons(label, [points])
        elif kind == "rectangle":
            name = f"shape{number}" if group is None else f"group{group}"
            _rectangle(page, label, points, name, f"{where}: shapes[{number}]")
        elif kind == "point":
            if len(points) != 1:
                raise FormatError(f"{where}: shapes[{number}]: a point has {len(points)} points")
            x, y = points[0]
            page.point(label, x, y, "" if group is None else f"group{group}")
        elif kind == "mask":
            if not page.lose_misfit():
                page.mask(label, _pixels(page, shape))
        else:
            page.drop(f"shapes of the type {kind}")
    for (label, _), whole in parts.items():
        page.polygons(label, whole)


def _rectangle(page: Page, label: str, points: Sequence[Point], name: str, where: str) -> None:
    """A rectangle by two opposite corners or, as later tools write it, all four; turned, it is an outline."""
    if len(points) not in (2, 4):
        raise FormatError(f"{where}: {len(points)} points are not the corners of a rectangle")
    corners = np.array(points, dtype=float)
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    if len(points) == 4 and {*points} != {(x, y) for x in (x1, x2) for y in (y1, y2)}:
        page.polygons(label, [points])
    else:
        page.box(label, x1, y1, x2, y2, id=name)


def _pixels(page: Page, shape: _Shape) -> Any:
    from PIL import Image

    if not shape.points or shape.mask is None:
        raise ValueError(f"mask {shape.label!r} has no points, or no picture")
    x1, y1 = (round(number) for number in shape.points[0])
    with Image.open(io.BytesIO(base64.b64decode(shape.mask)), formats=["PNG"]) as picture:
        width, height = picture.size
        if x1 < 0 or y1 < 0 or x1 + width > page.width or y1 + height > page.height:
            raise ValueError(f"mask {shape.label!r} leaves its image")
        part = np.asarray(picture.convert("L")) != 0
    pixels = np.zeros((page.height, page.width), dtype=bool)
    pixels[y1 : y1 + height, x1 : x1 + width] = part
    return pixels


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """The images, each with its JSON file."""
    names = copy_images(pictures, target, writing, lambda picture: "")
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

"""CVAT's "images 1.1": one XML file. Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/

Boxes turn clockwise about their centre, in degrees. A mask is the lengths of runs along the rows of the
rectangle at `left`, `top`, the first run being outside. `group_id` ties the parts of an object together, and
an object's points to its box. Tags are labels of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.files import exact, write_xml
from workflow.formats.page import SPLITS, Page, Picture, Reading, Writing
from workflow.records import Annotation, Point, RotatedBox
from workflow.shapes import masks

# What people call the attribute of an object that is neither to be learned nor counted.
IGNORED = ("ignore", "ignored", "difficult", "iscrowd", "crowd")
# CVAT's word for no group.
NO_GROUP = (None, "", "0")


class _Image(doors.Record):
    name: doors.Text
    width: doors.Pixels = 0
    height: doors.Pixels = 0


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each <image>, also where it has no shapes: CVAT does not say which nobody has seen."""
    root = doors.load_xml(source)
    if root.tag != "annotations" or root.find("track") is not None:
        reading.problems.append(f"{source}: no `CVAT for images 1.1` file: export the task as that")
        return
    for number, image in enumerate(root.findall("image")):
        where = f"{source}: image {image.get('name') or number}"
        try:
            stated = doors.take(_Image, dict(image.attrib), where)
            page = reading.page(stated.name, size=(stated.width, stated.height))
            if page is not None:
                page.split = SPLITS.get((image.get("subset") or "").lower())
                _read(page, image)
                yield page
        except FormatError as error:
            reading.problems.append(error.problem)
        except ValueError as error:
            reading.problems.append(f"{where}: {error}")


def _said(element: Any, key: str) -> str:
    """An attribute that must be there."""
    if not element.get(key):
        raise ValueError(f"<{element.tag}> has no {key}")
    return element.get(key)


def _numbers(shape: Any, *keys: str) -> list[float]:
    return [doors.number(_said(shape, key), f"{key} of <{shape.tag}>") for key in keys]


def _order(shape: Any) -> int:
    return doors.whole(shape.get("z_order") or "0", f"z_order of <{shape.tag}>")


def _read(page: Page, image: Any) -> None:
    parts: dict[tuple[str, str], list[Any]] = {}
    for number, shape in enumerate(sorted(image, key=_order)):
        label, group = _said(shape, "label"), shape.get("group_id")
        grouped = group not in NO_GROUP
        ignored = _is_ignored(shape)
        page.lose("attributes", len(shape.findall("attribute")) - ignored)
        page.lose("marks that an object is occluded", shape.get("occluded") == "1")
        if shape.tag == "tag":
            page.label(label)
        elif shape.tag == "box":
            _box(page, shape, f"group{group}" if grouped else f"shape{number}", ignored)
        elif shape.tag == "polygon" and grouped and "polygons" in page.reading.schema.task.geometry:
            parts.setdefault((label, group), []).append(_points(shape))
        elif shape.tag == "polygon":
            page.polygons(label, [_points(shape)], ignored=ignored)
        elif shape.tag == "points":
            for x, y in _points(shape):
                page.point(label, x, y, f"group{group}" if grouped else "")
        elif shape.tag == "mask":
            if not page.lose_misfit():
                page.mask(label, _pixels(page, shape), ignored=ignored)
        else:
            page.drop(f"shapes of the type {shape.tag}")
    for (label, _), whole in parts.items():
        page.polygons(label, whole)


def _is_ignored(shape: Any) -> bool:
    """Whether an attribute of the shape says so: CVAT has no mark of its own."""
    return any(
        (one.get("name") or "").lower() in IGNORED
        and (one.text or "").strip().lower() in ("true", "1", "yes")
        for one in shape.findall("attribute")
    )


def _box(page: Page, shape: Any, name: str, ignored: bool) -> None:
    label = _said(shape, "label")
    x1, y1, x2, y2 = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
    angle = doors.number(shape.get("rotation") or "0", "rotation of <box>")
    if angle == 0:
        page.box(label, x1, y1, x2, y2, id=name, ignored=ignored)
    elif x2 <= x1 or y2 <= y1:
        page.drop("boxes without an area")
    else:
        turned = RotatedBox((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, angle)
        provenance = page.reading.provenance
        page.add(Annotation(label, provenance, rotated_box=turned, id=name, ignored=ignored))


def _points(shape: Any) -> list[Point]:
    what = f"points of <{shape.tag}>"
    pairs = [pair.split(",") for pair in _said(shape, "points").split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{what} are no pairs `x,y;x,y`")
    return [(doors.number(x, what), doors.number(y, what)) for x, y in pairs]


def _pixels(page: Page, shape: Any) -> Any:
    left, top, width, height = map(int, _numbers(shape, "left", "top", "width", "height"))
    if min(left, top, width, height) < 0 or left + width > page.width or top + height > page.height:
        raise ValueError("a mask leaves its image")
    runs = [doors.whole(run, "rle of <mask>") for run in _said(shape, "rle").split(",")]
    if sum(runs) != width * height:
        raise ValueError(f"the runs of a mask do not add up to {width}x{height}")
    pixels = np.zeros((page.height, page.width), dtype=bool)
    # CVAT's runs go along the rows: those of the turned mask go down its columns.
    pixels[top : top + height, left : left + width] = masks.from_runs(runs, width, height).T
    return pixels


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """One file, as CVAT's "Upload annotations" takes it for a task that has the same images."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    ElementTree.SubElement(task, "name").text = writing.name
    labels = ElementTree.SubElement(task, "labels")
    for name in (*writing.schema.classes, *writing.schema.keypoints):
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for number, picture in enumerate(pictures):
        width, height = map(str, picture.size)
        # Without `subset`, which FiftyOne takes for a folder of the image: a split here is none of its path.
        head = {"id": str(number), "name": picture.record.path}
        image = ElementTree.SubElement(root, "image", head | {"width": width, "height": height})
        groups = {a.parent: str(n) for n, a in enumerate(picture.annotations, 1) if a.parent}
        for n, annotation in enumerate(picture.annotations, len(picture.annotations) + 1):
            group = groups.get(annotation.parent if annotation.keypoints else annotation.id)
            if annotation.polygons and len(annotation.polygons) > 1:
                group = str(n)
            for tag, attributes in _shapes(annotation):
                more = {"group_id": group} if group else {}
                ElementTree.SubElement(image, tag, {"label": annotation.label} | attributes | more)
            if annotation.mask is not None and masks.box(annotation.mask) is None:
                writing.losses.add("masks without pixels", picture.record.path)
    write_xml(target, root)


def _shapes(annotation: Annotation) -> Iterator[tuple[str, dict[str, str]]]:
    common = {"source": "manual", "occluded": "0", "z_order": "0"}
    if annotation.geometry == "":
        yield "tag", {"source": "manual"}
    if annotation.box is not None:
        yield "box", common | dict(zip(("xtl", "ytl", "xbr", "ybr"), map(exact, annotation.box), strict=True))
    if (turned := annotation.rotated_box) is not None:
        x, y = turned.width / 2, turned.height / 2
        corners = (turned.cx - x, turned.cy - y, turned.cx + x, turned.cy + y)
        yield (
            "box",
            common
            | dict(zip(("xtl", "ytl", "xbr", "ybr"), map(exact, corners), strict=True))
            | {"rotation": exact(turned.angle % 360)},
        )
    for part in annotation.polygons or ():
        yield "polygon", common | {"points": ";".join(f"{exact(x)},{exact(y)}" for x, y in part)}
    if annotation.keypoints is not None:
        yield (
            "points",
            common | {"points": ";".join(f"{exact(x)},{exact(y)}" for x, y in annotation.keypoints)},
        )
    if annotation.mask is not None and (box := masks.box(annotation.mask)) is not None:
        x1, y1, x2, y2 = map(int, box)
        flat = masks.decode(annotation.mask)[y1:y2, x1:x2].reshape(-1)
        ends = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
        runs = np.diff(ends, prepend=0)
        where = {"left": x1, "top": y1, "width": x2 - x1, "height": y2 - y1}
        yield "mask", common | {"rle": ", ".join(map(str, runs))} | {k: str(v) for k, v in where.items()}

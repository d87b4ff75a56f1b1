"""Annotations as Label Studio's regions.

Regions are in percent of the UPRIGHT image (the editor works in displayed space); a rotated rectangle
turns clockwise about its top left corner. What is ignored has a note that says so, in the region's
own field `meta.text`. What the format cannot hold exactly is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workflow.errors import FormatError
from workflow.labelstudio.regions.brush import mask_to_rle
from workflow.project.rows import relation_to_row
from workflow.records import Annotation, Point, Relation, RotatedBox
from workflow.shapes import masks

Region = dict[str, Any]
CONTROL = "label"
OBJECT = "image"
# The type of a region -> the name of the control in the label config that takes it.
CONTROLS: Mapping[str, str] = {"rectanglelabels": CONTROL}
PART = "-part"
# How large the editor draws a keypoint, in percent of the image's width.
DOT = 0.5
# The note on a region by which people say, and see, that it is ignored.
IGNORED = "ignored"
# An outline that people can drag as it is; one of more is made simpler where that is allowed.
FEW_CORNERS = 24


def to_result(
    annotations: Iterable[Annotation],
    width: int,
    height: int,
    *,
    controls: Mapping[str, str] = CONTROLS,
    to_name: str = OBJECT,
    relations: Iterable[Relation] = (),
) -> list[Region]:
    """Annotations of an upright `width` x `height` image as regions, each for the control of its type.

    An object of several polygons or keypoints becomes a region each, with the ids r, r-part2, r-part3,
    by which `from_result` joins them again. Labels of the whole image become one region of `choices`, or
    of `taxonomy` where only that has a control; it has room for one score, the lowest. `relations` between
    annotations follow. FormatError for geometry that has no control, or leaves the image.
    """
    regions: list[Region] = []
    whole: list[Annotation] = []
    for number, annotation in enumerate(annotations):
        name = annotation.id or f"r{number}"
        head = {"to_name": to_name, "original_width": width, "original_height": height, "image_rotation": 0}
        values = list(_values(annotation, width, height))
        if not values:
            whole.append(annotation)
        for part, (kind, value) in enumerate(values, 1):
            own = {"id": name if part == 1 else f"{name}{PART}{part}", "type": kind}
            own["from_name"] = _control(annotation, kind, controls)
            value = value | {kind: [annotation.label]}
            regions.append(own | head | {"value": value} | _extras(annotation))
    if whole:
        regions.append(_whole_image(whole, controls, to_name, f"r{len(regions)}"))
    return [*regions, *map(relation_to_row, relations)]


def fit(
    annotations: Iterable[Annotation],
    controls: Mapping[str, str],
    width: int,
    height: int,
    lose: Callable[[str], None],
    tolerance: float = 0.0,
) -> list[Annotation]:
    """Annotations as the label config can show them: outlines painted, or masks outlined, where it must.

    An outline follows the edges of the mask's pixels, and may cut corners by up to `tolerance` pixels.
    Every hole it fills, and every mask without pixels, is told to `lose`.
    """
    fitted = []
    for annotation in annotations:
        if annotation.polygons is not None and "polygonlabels" not in controls:
            mask = masks.from_polygons(annotation.polygons, height, width)
            annotation = replace(annotation, polygons=None, mask=mask)
        if annotation.mask is not None and "brushlabels" not in controls and "polygonlabels" in controls:
            parts, holes = masks.outlines(annotation.mask)
            for _ in range(holes):
                lose("holes of masks filled")
            outlines = tuple(_simpler(part, tolerance) for part in parts) or None
            annotation = replace(annotation, mask=None, polygons=outlines)
            if outlines is None:
                lose("masks without pixels")
                continue
        fitted.append(annotation)
    return fitted


def acceptable(
    annotations: Iterable[Annotation], width: int, height: int, lose: Callable[[str], None]
) -> list[Annotation]:
    """Guesses as the server takes them: it refuses a prediction whose rectangle begins outside the image.

    A turned box begins at its own top left corner, so it is told from whichever of its corners lies inside.
    Where none does, or a side is longer than the image's, it is left out and told to `lose`.
    """
    taken = []
    for annotation in annotations:
        box = annotation.rotated_box
        if box is not None:
            turned = next((b for b in _from_each_corner(box) if _in_bounds(b, width, height)), None)
            if turned is None:
                lose("turned boxes that begin outside their image")
                continue
            annotation = replace(annotation, rotated_box=turned)
        taken.append(annotation)
    return taken


def _from_each_corner(box: RotatedBox) -> Iterator[RotatedBox]:
    """The same rectangle, told from each of its corners: as it is first."""
    yield box
    for quarter in (1, 2, 3):
        sides = (box.width, box.height) if quarter == 2 else (box.height, box.width)
        yield RotatedBox(box.cx, box.cy, *sides, (box.angle + 90 * quarter) % 360)


def _in_bounds(box: RotatedBox, width: int, height: int) -> bool:
    value = _rotated(box, width, height)
    return all(0 <= value[key] <= 100 for key in ("x", "y", "width", "height"))


def _simpler(outline: Sequence[Point], tolerance: float) -> tuple[Point, ...]:
    if len(outline) <= FEW_CORNERS or not tolerance:
        return tuple(outline)
    import shapely

    corners = shapely.simplify(shapely.Polygon(outline), tolerance).exterior.coords[:-1]
    return tuple((float(x), float(y)) for x, y in corners)


def _values(annotation: Annotation, width: int, height: int) -> Iterator[tuple[str, Region]]:
    """The type and value of each region an annotation takes; none for a label of the whole image."""
    if not annotation.within(width, height):
        shape = "box" if annotation.box else "polygon" if annotation.polygons else "keypoint"
        where = annotation.box or annotation.polygons or annotation.keypoints
        raise FormatError(f"{shape} {where} leaves its {width}x{height} image", "clip it first")
    if annotation.box is not None:
        x1, y1, x2, y2 = annotation.box
        yield "rectanglelabels", _rectangle(x1, y1, x2 - x1, y2 - y1, 0, width, height)
    if annotation.rotated_box is not None:
        yield "rectanglelabels", _rotated(annotation.rotated_box, width, height)
    if (mask := annotation.mask) is not None:
        if (mask.width, mask.height) != (width, height):
            size = f"{mask.width}x{mask.height}"
            raise FormatError(f"mask {annotation.label!r} of {size} is none of a {width}x{height} image")
        yield "brushlabels", {"format": "rle", "rle": mask_to_rle(_decode(annotation))}
    for part in annotation.polygons or ():
        yield "polygonlabels", {"points": [_percent(p, width, height) for p in part], "closed": True}
    for point in annotation.keypoints or ():
        x, y = _percent(point, width, height)
        yield "keypointlabels", {"x": x, "y": y, "width": DOT}


def _percent(point: Point, width: int, height: int) -> list[float]:
    return [point[0] / width * 100, point[1] / height * 100]


def _rectangle(x: float, y: float, w: float, h: float, turn: float, width: int, height: int) -> Region:
    (x, y), (w, h) = _percent((x, y), width, height), _percent((w, h), width, height)
    return {"x": x, "y": y, "width": w, "height": h, "rotation": turn}


def _rotated(box: RotatedBox, width: int, height: int) -> Region:
    turn = math.radians(box.angle)
    x = box.cx - math.cos(turn) * box.width / 2 + math.sin(turn) * box.height / 2
    y = box.cy - math.sin(turn) * box.width / 2 - math.cos(turn) * box.height / 2
    return _rectangle(x, y, box.width, box.height, box.angle, width, height)


def _decode(annotation: Annotation) -> masks.Bits:
    assert annotation.mask is not None
    try:
        return masks.decode(annotation.mask)
    except ValueError as error:
        raise FormatError(f"mask {annotation.label!r}: {error}") from None


def _control(annotation: Annotation, kind: str, controls: Mapping[str, str]) -> str:
    if kind not in controls:
        raise FormatError(f"annotation {annotation.label!r}: the label config has no control for {kind}")
    return controls[kind]


def _extras(annotation: Annotation) -> Region:
    score = {} if annotation.score is None else {"score": annotation.score}
    note = {"meta": {"text": [IGNORED]}} if annotation.ignored else {}
    return score | note | ({"parentID": annotation.parent} if annotation.parent else {})


def _whole_image(
    annotations: list[Annotation], controls: Mapping[str, str], to_name: str, name: str
) -> Region:
    kind = "taxonomy" if "taxonomy" in controls and "choices" not in controls else "choices"
    labels = [a.label for a in annotations]
    scores = [a.score for a in annotations if a.score is not None]
    region: Region = {
        "id": next((a.id for a in annotations if a.id), name),
        "type": kind,
        "from_name": _control(annotations[0], kind, controls),
        "to_name": to_name,
        "value": {kind: labels if kind == "choices" else [label_to_path(label) for label in labels]},
    }
    return region | ({"score": min(scores)} if scores else {})


def path_to_label(path: Iterable[str]) -> str:
    """A taxonomy's path as one label: animal/mammal; a slash within a name is written \\/."""
    return "/".join(re.sub(r"([\\/])", r"\\\1", name) for name in path)


def label_to_path(label: str) -> list[str]:
    """The path a label of `path_to_label` stands for."""
    names = re.findall(r"(?:[^\\/]|\\.)+", label, re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL) for name in names]

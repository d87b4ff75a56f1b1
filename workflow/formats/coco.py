"""COCO's instances and keypoints in one JSON file. Format: https://cocodataset.org/#format-data

Boxes are x, y, width, height; outlines are flat lists, one a part; masks are RLE, compressed or not. A
crowd region (`iscrowd`, or `ignore`) is ignored where objects are labeled, and painted where classes are. A
keypoint's visibility is not kept: 1 (hidden) and 2 (seen) are both a point, 0 is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.files import beside, images_folder
from workflow.formats.page import Page, Picture, Reading, Writing, poses, split_of
from workflow.project.rows import write_bytes
from workflow.records import Annotation, Mask
from workflow.schema import Schema
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import polygon_area, xyxy_to_xywh

Json = dict[str, Any]
# How many broken rows are told.
MOST = 20
ROBOFLOW = "_annotations.coco.json"


class _Category(doors.Record):
    id: doors.Id
    name: doors.Name
    keypoints: tuple[doors.Name, ...] | None = None
    supercategory: Any = None


class _Image(doors.Record):
    id: doors.Id
    file_name: doors.Text
    width: doors.Pixels | None = None
    height: doors.Pixels | None = None


class _Runs(doors.Record):
    """RLE, compressed to a string or not."""

    size: tuple[doors.Pixels, doors.Pixels]
    counts: Any


class _Lengths(doors.Record):
    counts: tuple[doors.Count, ...]


class _Outlines(doors.Record):
    segmentation: tuple[tuple[doors.Number, ...], ...]


class _Object(doors.Record):
    image_id: doors.Id
    category_id: doors.Id
    bbox: tuple[doors.Number, ...] | None = None
    segmentation: Any = None
    keypoints: tuple[doors.Number, ...] | None = None
    iscrowd: doors.Flag = False
    ignore: doors.Flag = False
    score: doors.Score | None = None


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each entry of `images`, also where it has no annotations: COCO's files say all there is.

    Of a folder, all its files of instances (or keypoints), and Roboflow's, which lie with a split's images.
    A list of results takes its images and categories from the file `options.gt`.
    """
    for path in files(source, reading.schema):
        yield from _read_file(path, source if source.is_dir() else source.parent, reading)


def files(source: Path, schema: Schema) -> list[Path]:
    """The file itself, or those of a folder by their names; none where it holds none."""
    if not source.is_dir():
        return [source]
    usual = "person_keypoints_*.json" if schema.task.points else "instances_*.json"
    return sorted({*source.rglob(ROBOFLOW), *source.rglob(usual)})


def _read_file(source: Path, top: Path, reading: Reading) -> Iterator[Page]:
    categories, images, objects = _load(source, reading)
    own: dict[doors.Id, list[tuple[str, _Object]]] = {key: [] for key in images}
    homeless = 0
    for where, one in objects:
        if one.image_id not in images:
            reading.losses.add("annotations of images that are not listed", f"image_id {one.image_id}")
            homeless += 1
        elif one.category_id not in categories:
            reading.problems.append(f"{where}: no category has the id {one.category_id!r}")
        else:
            own[one.image_id].append((where, one))
    reading.dropped += homeless
    below = source.parent.relative_to(top)
    split = split_of([*below.parts, *re.split(r"[_.]", source.name)])
    for key, image in images.items():
        names = [beside(folder, image.file_name) for folder in (below, images_folder(below))]
        page = reading.page(*names, size=(image.width, image.height))
        if page is None:
            continue
        page.split = split
        # An annotation that names no image may be of any: who has none may have lost it.
        page.lost |= bool(homeless)
        for where, one in own[key]:
            try:
                _read(page, one, categories[one.category_id])
            except FormatError as error:
                reading.problems.append(f"{where}: {error.problem}")
            except (ValueError, IndexError) as error:
                reading.problems.append(f"{where}: malformed ({error})")
        yield page


def _load(
    source: Path, reading: Reading
) -> tuple[dict[doors.Id, _Category], dict[doors.Id, _Image], list[tuple[str, _Object]]]:
    """Categories and images by their ids, and annotations with their places.

    FormatError where there are none, or two of one id; a broken annotation is a problem of `reading`.
    """
    content, annotations, place = _content(source, reading.options.gt)
    heads = str(source if place == "annotations" else reading.options.gt)
    for key in ("images", "categories"):
        if not isinstance(content.get(key), list):
            raise FormatError(f"{heads}: has no {key}")
    categories = _rows(_Category, content["categories"], f"{heads}: categories")
    images = _rows(_Image, content["images"], f"{heads}: images")
    doors.refuse_twice([one.id for one in categories], "categories", heads)
    doors.refuse_twice([one.id for one in images], "images", heads)
    doors.refuse_twice([one.file_name for one in images], "images", heads, "the file name")
    objects = []
    for number, row in enumerate(annotations):
        where = f"{source}: {place}[{number}]"
        try:
            objects.append((where, doors.take(_Object, row, where)))
        except FormatError as error:
            reading.problems.append(error.problem)
    used = {one.category_id for _, one in objects}
    doors.refuse_twice(_class_names(categories, used), "categories", heads, "the name")
    return {one.id: one for one in categories}, {one.id: one for one in images}, objects


def _content(source: Path, gt: Path | None) -> tuple[Json, list[Any], str]:
    """What has the images and categories; the annotations, or a file's results; what these are called."""
    content = doors.load_json(source)
    results = isinstance(content, list)
    if results and gt is None:
        what = f"{source}: COCO results name neither images nor classes"
        raise FormatError(what, "--gt FILE, the one that has the images and categories")
    if gt is not None and not results:
        raise FormatError(f"{source}: is no list of results, and has images of its own", "leave --gt out")
    heads = content if gt is None else doors.load_json(gt.expanduser())
    if not isinstance(heads, dict):
        what = f"{gt or source}: is {doors.shown(heads)}, not an object with images and categories"
        raise FormatError(what)
    if "_via_img_metadata" in heads:
        raise FormatError(
            f"{source}: is a project of VIA", "export its annotations as COCO, by VIA's own menu"
        )
    if results:
        return heads, content, ""
    return heads, doors.objects(heads.get("annotations") or [], f"{source}: annotations"), "annotations"


def _class_names(categories: Sequence[_Category], used: Collection[doors.Id]) -> list[str]:
    """The names of categories; that which Roboflow puts above others, and may call like one, is no class."""
    above = {one.supercategory for one in categories if isinstance(one.supercategory, str)}
    return [
        one.name if one.id in used or one.name not in above else f"{one.name} (above others)"
        for one in categories
    ]


def _rows(model: type[Any], rows: list[Any], where: str) -> list[Any]:
    """All rows of a list. FormatError with every one that is broken, a line each."""
    problems: list[str] = []
    taken = []
    for number, row in enumerate(rows):
        try:
            taken.append(doors.take(model, row, f"{where}[{number}]"))
        except FormatError as error:
            problems.append(error.problem)
    if problems:
        raise FormatError("\n".join(problems[:MOST]), "mend the source")
    return taken


def _read(page: Page, one: _Object, category: _Category) -> None:
    label, task = category.name, page.reading.schema.task
    # The pixels of a crowd are of its class all the same.
    ignored = (one.iscrowd or one.ignore) and task.kind == "objects"
    if "mask" in task.geometry:
        _segment(page, label, one.segmentation, one.score, ignored)
    elif not one.bbox:
        page.drop("objects without a bbox")
    else:
        if len(one.bbox) != 4:
            raise ValueError(f"bbox has {len(one.bbox)} numbers, not x, y, width, height")
        x, y, w, h = one.bbox
        name = str(len(page.annotations)) if task.points else ""
        boxed = page.box(label, x, y, x + w, y + h, score=one.score, id=name, ignored=ignored)
        if boxed and task.points and not ignored:
            _points(page, one.keypoints or (), category.keypoints or (), name)


def _segment(page: Page, label: str, segmentation: Any, score: float | None, ignored: bool) -> None:
    if not segmentation:
        page.drop("objects without a segmentation")
    elif isinstance(segmentation, dict):
        runs = doors.take(_Runs, segmentation, "segmentation")
        if runs.size != (page.height, page.width):
            page.drop("masks of another size than their image")
        elif not page.lose_misfit():
            page.mask(label, _pixels(runs), score=score, ignored=ignored)
    else:
        flats = doors.take(_Outlines, {"segmentation": segmentation}, "outlines").segmentation
        if any(len(flat) % 2 for flat in flats):
            raise ValueError("an outline has an odd number of coordinates")
        parts = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in flats]
        page.polygons(label, parts, score=score, ignored=ignored)


def _pixels(runs: _Runs) -> masks.Bits:
    height, width = runs.size
    if isinstance(runs.counts, str):
        return masks.decode(Mask(height, width, runs.counts))
    return masks.from_runs(
        doors.take(_Lengths, {"counts": runs.counts}, "segmentation").counts, height, width
    )


def _points(page: Page, flat: Sequence[float], names: Sequence[str], parent: str) -> None:
    if len(flat) != 3 * len(names):
        raise ValueError(f"{len(flat)} numbers are not x, y, v of each of {len(names)} keypoints")
    for name, x, y, seen in zip(names, flat[::3], flat[1::3], flat[2::3], strict=True):
        if seen:
            page.point(name, x, y, parent)
            page.lose("points that are hidden, now as if seen", seen == 1)


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """One file; sizes and coordinates are those of the upright images."""
    points = {"keypoints": list(writing.schema.keypoints), "skeleton": []} if writing.schema.keypoints else {}
    ids = _category_ids(writing)
    categories = [{"id": number, "name": name} | points for name, number in ids.items()]
    images: list[Json] = []
    annotations: list[Json] = []
    for number, picture in enumerate(pictures, 1):
        width, height = picture.size
        images.append({"id": number, "file_name": picture.record.path, "width": width, "height": height})
        for body in _bodies(picture, writing, ids):
            annotations.append({"id": len(annotations) + 1, "image_id": number} | body)
    content = {"info": {"description": writing.name}, "licenses": [], "images": images}
    content |= {"annotations": annotations, "categories": categories}
    write_bytes(target, orjson.dumps(content))


def _category_ids(writing: Writing) -> dict[str, int]:
    """The numbers that classes were given, and for the others, in their order, those that are left."""
    given = {name: writing.categories[name] for name in writing.schema.classes if name in writing.categories}
    left = (number for number in count(1) if number not in given.values())
    return {name: given[name] if name in given else next(left) for name in writing.schema.classes}


def _bodies(picture: Picture, writing: Writing, ids: dict[str, int]) -> Iterator[Json]:
    if writing.schema.task.points:
        for one, points in poses(picture, writing):
            pairs = [points[name].keypoints if name in points else None for name in writing.schema.keypoints]
            flat = [n for pair in pairs for n in ((*pair[0], 2) if pair else (0, 0, 0))]
            yield _body(one, ids, one.box) | {"keypoints": flat, "num_keypoints": len(points)}
        return
    for annotation in picture.annotations:
        box = overlap.as_box(annotation)
        if box is None:
            writing.losses.add("masks without pixels", picture.record.path)
        else:
            yield _body(annotation, ids, box)


def _body(annotation: Annotation, ids: dict[str, int], box: Any) -> Json:
    body: Json = {
        "category_id": ids[annotation.label],
        "iscrowd": int(annotation.ignored),
        "bbox": xyxy_to_xywh(box)[0].tolist(),
    }
    if annotation.mask is not None:
        mask = annotation.mask
        body["area"] = masks.area(mask)
        body["segmentation"] = {"size": [mask.height, mask.width], "counts": mask.counts}
    elif annotation.polygons is not None:
        body["area"] = sum(map(polygon_area, annotation.polygons))
        body["segmentation"] = [[n for point in part for n in point] for part in annotation.polygons]
    else:
        body |= {"area": body["bbox"][2] * body["bbox"][3], "segmentation": []}
    return body | ({} if annotation.score is None else {"score": annotation.score})

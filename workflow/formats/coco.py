"""COCO's instances and keypoints in one JSON file. Format: https://cocodataset.org/#format-data

Boxes are x, y, width, height; outlines are flat lists, one a part; masks are RLE, compressed or not. A
crowd region is no one object, so it is carried only where classes are painted. A keypoint's visibility is
not kept: 1 (hidden) and 2 (seen) are both a point, 0 is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from workflow.errors import FormatError
from workflow.formats.page import Page, Picture, Reading, Writing, poses
from workflow.project.rows import write_bytes
from workflow.records import Annotation, Mask
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import polygon_area, xyxy_to_xywh

Json = dict[str, Any]


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each entry of `images`, also where it has no annotations: COCO's files say all there is."""
    content = _load(source)
    categories = {c["id"]: c for c in content["categories"]}
    images = {image["id"]: image for image in content["images"]}
    own: dict[Any, list[Json]] = {key: [] for key in images}
    for number, one in enumerate(content["annotations"]):
        where = f"{source}: annotations[{number}]"
        if one.get("image_id") not in images:
            reading.losses.add("annotations of images that are not listed", f"image_id {one.get('image_id')}")
        elif one.get("category_id") not in categories:
            reading.problems.append(f"{where}: no category has the id {one.get('category_id')!r}")
        else:
            own[one["image_id"]].append(one | {"where": where})
    for key, image in images.items():
        page = reading.page(image["file_name"], size=(image["width"], image["height"]))
        if page is None:
            continue
        for one in own[key]:
            try:
                _read(page, one, categories[one["category_id"]])
            except (ValueError, TypeError, KeyError, IndexError) as error:
                reading.problems.append(f"{one['where']}: malformed ({error!r})")
        yield page


def _load(source: Path) -> Json:
    try:
        content = orjson.loads(source.read_bytes())
    except orjson.JSONDecodeError as error:
        raise FormatError(f"{source}: not JSON ({error})") from None
    if isinstance(content, list):
        raise FormatError(
            f"{source}: COCO results name neither images nor classes",
            "put them as annotations into the file of their images and categories",
        )
    needed = {"images": ("id", "file_name", "width", "height"), "categories": ("id", "name")}
    content.setdefault("annotations", [])
    for key, fields in needed.items():
        rows = content.get(key)
        if not isinstance(rows, list):
            raise FormatError(f"{source}: has no {key}")
        for number, row in enumerate(rows):
            if missing := [name for name in fields if name not in row]:
                raise FormatError(f"{source}: {key}[{number}] has no {missing[0]}")
    return content


def _read(page: Page, one: Json, category: Json) -> None:
    label, task = category["name"], page.reading.schema.task.name
    score = one.get("score")
    if one.get("iscrowd") and task != "semantic-segmentation":
        page.lose("crowd regions, which are no one object")
    elif task in ("instance-segmentation", "semantic-segmentation"):
        _segment(page, label, one.get("segmentation"), score)
    elif not one.get("bbox"):
        page.lose("objects without a bbox")
    else:
        x, y, w, h = one["bbox"]
        name = str(len(page.annotations)) if task == "keypoints" else ""
        if page.box(label, x, y, x + w, y + h, score=score, id=name) and task == "keypoints":
            _points(page, one.get("keypoints") or [], category.get("keypoints") or [], name)


def _segment(page: Page, label: str, segmentation: Any, score: float | None) -> None:
    if not segmentation:
        page.lose("objects without a segmentation")
    elif isinstance(segmentation, list):
        parts = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in segmentation]
        page.polygons(label, parts, score=score)
    elif tuple(segmentation["size"]) != (page.height, page.width):
        page.lose("masks of another size than their image")
    else:
        page.mask(label, masks.decode(_mask(segmentation)), score=score)


def _mask(segmentation: Json) -> Mask:
    from faster_coco_eval.core import mask as library

    height, width = segmentation["size"]
    counts = segmentation["counts"]
    if isinstance(counts, list):
        counts = library.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return Mask(height, width, counts.decode() if isinstance(counts, bytes) else counts)


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
            annotations.append({"id": len(annotations) + 1, "image_id": number, "iscrowd": 0} | body)
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
    body: Json = {"category_id": ids[annotation.label], "bbox": xyxy_to_xywh(box)[0].tolist()}
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

"""Objects as COCO-style columns: boxes that may turn, boxes with keypoints, and masks.

Format: https://huggingface.co/docs/datasets/object_detection, `bbox` as x, y, width, height; beside it
`rotated_box` as centre x and y, width, height and degrees clockwise; `keypoints` as COCO's x, y, v, in
the order of the project's names, v = 0 for what is not labeled and 2 for what is; `mask` as COCO's
compressed RLE, and `polygons` as COCO's flat lists, empty where the mask was not drawn as outlines.
`iscrowd`, 1 for what is ignored, is a column only of datasets that have such an object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from workflow.dataset.labels import index
from workflow.dataset.tally import Tally
from workflow.errors import FormatError
from workflow.records import Annotation, ImageRecord, Mask, Provenance, RotatedBox
from workflow.schema import Schema
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import enclosing_box
from workflow.tasks import Task

Columns = dict[str, Any]
Object = dict[str, Any]
# What an object of the task has besides.
EXTRAS = {
    "detection": (),
    "oriented-detection": ("rotated_box",),
    "keypoints": ("keypoints",),
    "instance-segmentation": ("mask", "polygons"),
}


def features(schema: Schema, ignored: bool) -> Columns:
    from datasets import ClassLabel, List, Value

    number = Value("float64")
    extras = {
        "rotated_box": List(List(number, length=5)),
        "keypoints": List(List(List(number, length=3))),
        "mask": List({"size": List(Value("int32"), length=2), "counts": Value("string")}),
        "polygons": List(List(List(number))),
    }
    objects = {
        "id": List(Value("string")),
        "bbox": List(List(number, length=4)),
        "category": List(ClassLabel(names=list(schema.classes))),
        "area": List(number),
        "person": List(Value("string")),
    } | ({"iscrowd": List(Value("int8"))} if ignored else {})
    return {"objects": objects | {name: extras[name] for name in EXTRAS[schema.task.name]}}


def pack(
    record: ImageRecord,
    annotations: Sequence[Annotation],
    schema: Schema,
    tally: Tally,
    ignored: bool,
) -> Columns:
    """The columns. Counted are: rotated boxes where none can turn, keypoints of no box, empty masks."""
    objects: list[Object] = []
    owners: list[Annotation] = []
    points: list[Annotation] = []
    for annotation in annotations:
        if annotation.keypoints is not None:
            points.append(annotation)
            continue
        if annotation.mask is not None and not masks.area(annotation.mask):
            tally.lost["masks without pixels"] += 1
            continue
        if annotation.rotated_box is not None and "rotated_box" not in schema.task.geometry:
            tally.lost["rotated boxes as the boxes round them"] += 1
        named = {"id": annotation.id, "category": index(annotation.label, schema.classes)}
        named |= {"person": annotation.provenance.name, "iscrowd": int(annotation.ignored)}
        objects.append(named | _shape(annotation, schema.task, record))
        owners.append(annotation)
    placed = 0
    if schema.task.points:
        placed = _put_points(points, owners, objects, schema.keypoints, tally.lost)
    crowds = sum(owner.ignored for owner in owners)
    tally.take(len(objects) + placed - crowds, crowds)
    names = ["id", "bbox", "category", "area", "person", *EXTRAS[schema.task.name]]
    names += ["iscrowd"] if ignored or crowds else []
    return {"objects": {name: [one[name] for one in objects] for name in names}}


def _shape(annotation: Annotation, task: Task, record: ImageRecord) -> Object:
    if "mask" in task.geometry:
        return _mask(annotation, record)
    turned = annotation.rotated_box
    x1, y1, x2, y2 = enclosing_box(turned) if turned else _box(annotation)
    width, height = x2 - x1, y2 - y1
    shape: Object = {"bbox": [x1, y1, width, height], "area": width * height}
    if "rotated_box" in task.geometry:
        shape["rotated_box"] = [x1 + width / 2, y1 + height / 2, width, height, 0.0]
        if turned:
            shape["rotated_box"] = [turned.cx, turned.cy, turned.width, turned.height, turned.angle]
            shape["area"] = turned.width * turned.height
    return shape


def _mask(annotation: Annotation, record: ImageRecord) -> Object:
    mask = overlap.as_mask(annotation, record.height, record.width)
    if (mask.width, mask.height) != (record.width, record.height):
        size = f"{mask.width}x{mask.height}"
        raise FormatError(
            f"mask {annotation.label!r} of {size} is none of a {record.width}x{record.height} image"
        )
    x1, y1, x2, y2 = overlap.as_box(annotation) or (0.0, 0.0, 0.0, 0.0)
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": float(masks.area(mask)),
        "mask": {"size": [mask.height, mask.width], "counts": mask.counts},
        "polygons": [[v for point in part for v in point] for part in annotation.polygons or ()],
    }


def _put_points(
    points: list[Annotation],
    owners: list[Annotation],
    objects: list[Object],
    keypoints: Sequence[str],
    lost: Counter[str],
) -> int:
    """Give each object its points: those that name it, and those that lie in it and in no other; how many."""
    placed = 0
    for number, one in enumerate(objects):
        # A point finds its box again by the box's name.
        one["id"] = one["id"] or f"r{number}"
        one["keypoints"] = [[0.0, 0.0, 0] for _ in keypoints]
    by_name = {owner.id: number for number, owner in enumerate(owners) if owner.id}
    boxes = np.array([_box(owner) for owner in owners]).reshape(-1, 4)
    for point in points:
        slot = index(point.label, keypoints, "keypoint")
        (x, y), *more = point.keypoints or ()
        lost["keypoints named twice in one box"] += len(more)
        around = np.flatnonzero(((x, y) >= boxes[:, :2]).all(1) & ((x, y) <= boxes[:, 2:]).all(1))
        alone = int(around[0]) if len(around) == 1 else None
        owner = by_name.get(point.parent, alone)
        if owner is None:
            lost["keypoints of no box"] += 1
        elif objects[owner]["keypoints"][slot][2]:
            lost["keypoints named twice in one box"] += 1
        else:
            objects[owner]["keypoints"][slot] = [x, y, 2]
            placed += 1
    return placed


def unpack(row: Columns, schema: Schema) -> list[Annotation]:
    annotations = []
    columns = row["objects"]
    for values in zip(*columns.values(), strict=True):
        one = dict(zip(columns, values, strict=True))
        person = Provenance("person", one["person"])
        label = schema.classes[one["category"]]
        ignored = bool(one.get("iscrowd"))
        geometry = _geometry(one, schema.task)
        annotations.append(Annotation(label, person, id=one["id"], ignored=ignored, **geometry))
        if schema.task.points:
            annotations += [
                Annotation(name, person, keypoints=((x, y),), parent=one["id"])
                for name, (x, y, visible) in zip(schema.keypoints, one["keypoints"], strict=True)
                if visible
            ]
    return annotations


def _geometry(one: Object, task: Task) -> dict[str, Any]:
    x, y, width, height = one["bbox"]
    if "rotated_box" in task.geometry and one["rotated_box"][4] % 360:
        return {"rotated_box": RotatedBox(*one["rotated_box"])}
    if "mask" not in task.geometry:
        return {"box": (x, y, x + width, y + height)}
    if one["polygons"]:
        parts = (zip(flat[::2], flat[1::2], strict=True) for flat in one["polygons"])
        return {"polygons": tuple(map(tuple, parts))}
    height, width = one["mask"]["size"]
    return {"mask": Mask(height, width, one["mask"]["counts"])}


def _box(annotation: Annotation) -> tuple[float, float, float, float]:
    box = overlap.as_box(annotation)
    assert box is not None
    return box

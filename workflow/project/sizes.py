"""Whether what a line says of an image fits the image's size in the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workflow.records import ImageRecord, Json

# Pixels by which a shape may leave its image: what is less was rounded.
ROUNDED = 0.05
Sizes = Mapping[str, tuple[int, int]]


def sizes_of(records: Iterable[ImageRecord]) -> Sizes:
    """Width and height of the images, by their ids."""
    return {record.id: (record.width, record.height) for record in records}


def misfit(row: Json, sizes: Sizes) -> str:
    """The first field of a line of labels or predictions that does not fit its image; empty where all do.

    A rotated box may reach over the edge. Of an image that is not in the catalog nothing is known.
    """
    size = sizes.get(row["image"])
    if size is None:
        return ""
    image = f"its image, which is {size[0]} x {size[1]} in catalog.jsonl"
    for number, annotation in enumerate(row["annotations"]):
        mask = annotation.get("mask")
        if mask is not None and (mask["width"], mask["height"]) != size:
            return f"annotations.{number}.mask is {mask['width']} x {mask['height']}, not as {image}"
        for field, points in _points(annotation).items():
            if not all(_within(x, y, *size) for x, y in points):
                return f"annotations.{number}.{field} leaves {image}"
    return ""


def _points(annotation: Json) -> dict[str, list[Any]]:
    """The points of a shape that must lie within its image, by the field they stand in."""
    box, polygons = annotation.get("box"), annotation.get("polygons")
    points = {"box": [box[:2], box[2:]]} if box is not None else {}
    points |= {f"polygons.{n}": part for n, part in enumerate(polygons or ())}
    return points | ({"keypoints": annotation["keypoints"]} if annotation.get("keypoints") else {})


def _within(x: float, y: float, width: int, height: int) -> bool:
    return -ROUNDED <= x <= width + ROUNDED and -ROUNDED <= y <= height + ROUNDED

"""Small drawn projects, one a task, whose truth is known to the pixel.

Each image holds a disk with a hole, a bar in two parts and a turned tile that touches an edge, in some
mix; one is stored on its side (EXIF 6), one is empty, and one nobody could read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from workflow.project.paths import Project, load_project
from workflow.project.rows import annotation_to_row, read_rows, write_rows
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import rotated_corners
from workflow.tasks import TaskName

WIDTH, HEIGHT = 96, 72
CLASSES = ("disk", "bar", "tile")
KEYPOINTS = ("left", "right")
COLOURS = {"disk": (222, 60, 60), "bar": (60, 170, 70), "tile": (60, 90, 220)}
TURNED, EMPTY, UNREADABLE = 1, 2, 3
ME = Provenance("person", "truth")


def draw_project(root: Path, task: TaskName, count: int = 10, more: str = "") -> Project:
    """projects/NAME with `count` images, the truth file and project.toml, which ends with `more`."""
    folder = root / "projects" / task
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    lines = []
    for number in range(count):
        # JPEG would smear the exact edges.
        name = f"shapes-{number:02d}.png"
        objects = [] if number in (EMPTY, UNREADABLE) else draw_objects(number)
        save(paint(objects, dark=number == UNREADABLE), images / name, turned=number == TURNED)
        annotations = [annotation_to_row(a) for a in truth_of(task, objects)]
        for row in annotations:
            del row["provenance"]
        lines.append({"file": name, "annotations": annotations})
        if number == UNREADABLE:
            lines[-1] |= {"annotations": [], "unreadable": True}
    write_rows(folder / "data" / "truth.jsonl", lines)
    # With so few images, which of them a control share takes would decide what a test can count.
    push = "[push]\ncontrol = 0\n"
    more = more.replace("[push]\n", push) if "[push]" in more else more + push
    points = f"keypoints = {list(KEYPOINTS)}\n" if task == "keypoints" else ""
    (folder / "project.toml").write_text(
        f'name = "{task}"\ntitle = "Shapes: {task}"\ntask = "{task}"\nclasses = {list(CLASSES)}\n{points}'
        f'[review]\ntruth = "data/truth.jsonl"\n{more}'
    )
    return load_project(folder)


def draw_objects(number: int) -> list[Annotation]:
    """The masks of one image's objects, each named and none over another; the tile's box as `rotated_box`."""
    rng = np.random.default_rng(number)
    kinds = [CLASSES[number % 3]] if number % 4 == 0 else [CLASSES[k] for k in rng.permutation(3)[:2]]
    return [_object(kind, slot, rng) for slot, kind in enumerate(kinds)]


def _object(kind: str, slot: int, rng: np.random.Generator) -> Annotation:
    """A disk, bar or tile in the left or the right half: a mask, or for a tile a rotated box."""
    cx, cy = 24 + 48 * slot + int(rng.integers(-3, 4)), 36 + int(rng.integers(-8, 9))
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    if kind == "disk":
        far = np.hypot(xx - cx, yy - cy)
        return Annotation(kind, ME, mask=masks.encode((far < 16) & (far >= 5)), id=f"{kind}{slot}")
    if kind == "bar":
        cx = cx if slot else 16  # touches the left edge
        there = (abs(xx - cx) < 17) & (abs(yy - cy) < 7) & (abs(xx - cx) >= 3)
        return Annotation(kind, ME, mask=masks.encode(there), id=f"{kind}{slot}")
    # Its lowest corner is just above the lower edge.
    tile = RotatedBox(cx, HEIGHT - 19, 28, 18, float(rng.integers(20, 40)))
    return Annotation(kind, ME, rotated_box=tile, id=f"{kind}{slot}")


def truth_of(task: TaskName, objects: Sequence[Annotation]) -> list[Annotation]:
    """What the task labels of those objects."""
    if task == "classification":
        return [Annotation(objects[0].label, ME)] if objects else []
    if task == "multilabel-classification":
        return [Annotation(a.label, ME) for a in objects]
    if task == "instance-segmentation":
        return [mask_of(a) for a in objects]
    if task == "semantic-segmentation":
        return [
            replace(mask_of(a), id=a.label) for a in sorted(objects, key=lambda a: CLASSES.index(a.label))
        ]
    if task == "oriented-detection":
        return [a if a.rotated_box else box_of(a) for a in objects]
    boxes = [box_of(a) for a in objects]
    return boxes if task == "detection" else [one for box in boxes for one in (box, *points_of(box))]


def mask_of(annotation: Annotation) -> Annotation:
    return replace(annotation, rotated_box=None, mask=overlap.as_mask(annotation, HEIGHT, WIDTH))


def box_of(annotation: Annotation) -> Annotation:
    return replace(annotation, mask=None, rotated_box=None, box=overlap.as_box(annotation))


def points_of(box: Annotation) -> list[Annotation]:
    """The middles of its left and right sides; a bar shows only the left one."""
    assert box.box is not None
    x1, y1, x2, y2 = box.box
    shown = [("left", x1), ("right", x2)][: 1 if box.label == "bar" else 2]
    return [
        Annotation(name, ME, keypoints=((x, (y1 + y2) / 2),), id=f"{box.id}-{name}", parent=box.id)
        for name, x in shown
    ]


def paint(objects: Sequence[Annotation], dark: bool) -> Image.Image:
    """The upright image: coloured objects on light gray, or hardly anything to see."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (8, 8, 8) if dark else (228, 226, 220))
    for annotation in objects:
        if annotation.rotated_box:
            corners = rotated_corners(annotation.rotated_box)
            ImageDraw.Draw(image).polygon([tuple(p) for p in corners], fill=COLOURS[annotation.label])
        elif annotation.mask:
            there = Image.fromarray(masks.decode(annotation.mask))
            image.paste(COLOURS[annotation.label], mask=there)
    return image


def save(image: Image.Image, path: Path, turned: bool) -> None:
    exif = Image.Exif()
    if turned:
        # Orientation 6 means: turn by a quarter clockwise to see it upright.
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
    image.save(path, exif=exif)


def shifted(annotation: Annotation, by: float) -> Annotation:
    """The same a few pixels to the right, cut off at the edge: how a model errs."""
    if annotation.mask is not None:
        pixels = np.roll(masks.decode(annotation.mask), int(by), axis=1)
        pixels[:, : int(by)] = False
        return replace(annotation, mask=masks.encode(pixels))
    if annotation.box is not None:
        x1, y1, x2, y2 = annotation.box
        return replace(annotation, box=(x1 + by, y1, min(x2 + by, WIDTH), y2))
    if annotation.rotated_box is not None:
        turned = annotation.rotated_box
        return replace(annotation, rotated_box=replace(turned, cx=turned.cx + by))
    if annotation.keypoints is not None:
        return replace(annotation, keypoints=tuple((min(x + by, WIDTH), y) for x, y in annotation.keypoints))
    return annotation


def pushed_tasks(project: Project) -> dict[str, int]:
    """Image id -> task number, as the last push wrote it down."""
    return {row["image"]: row["task"] for row in read_rows(project.pushed)}

"""Drawn images of every task with an exact truth, a model that is often wrong, and one that seldom is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks
from workflow.shapes.geometry import rotated_corners

ANN, MODEL = Provenance("person", "ann"), Provenance("model", "m", "r1")
SIZE = (320, 240)
CLASSES = ("disc", "square", "star")
POINTS = ("left", "right")
GROUND, INKS = (236, 232, 224), ((196, 78, 62), (70, 96, 140), (210, 170, 60))
Labels = dict[str, list[Annotation]]


@dataclass(frozen=True)
class Scene:
    task: str
    images: dict[str, Image.Image]
    truth: Labels
    base: Labels
    tuned: Labels
    classes: tuple[str, ...] = CLASSES
    keypoints: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        return {name: picture.size for name, picture in self.images.items()}


def scene(task: str, count: int = 8) -> Scene:
    """The last image shows nothing, and has no label where the task allows it."""
    drawn = {f"image-{n:02}": _draw(task, n, n == count - 1) for n in range(count)}
    images = {name: picture for name, (picture, _) in drawn.items()}
    truth = {name: labels for name, (_, labels) in drawn.items()}
    base = {name: _guess(task, labels, n, 2) for n, (name, labels) in enumerate(truth.items())}
    tuned = {name: _guess(task, labels, n, 5) for n, (name, labels) in enumerate(truth.items())}
    points = POINTS if task == "keypoints" else ()
    return Scene(task, images, truth, base, tuned, keypoints=points)


def _draw(task: str, n: int, empty: bool) -> tuple[Image.Image, list[Annotation]]:
    picture = Image.new("RGB", SIZE, GROUND)
    places = [] if empty else [(90 + 6 * n, 80, 25.0 * n), (230, 150 - 5 * n, -12.0 * n)]
    labels: list[Annotation] = []
    for number, (x, y, angle) in enumerate(places):
        label = CLASSES[(n + number) % 3]
        corners = rotated_corners(RotatedBox(x, y, 84, 52, angle))
        shape = Image.new("L", SIZE, 0)
        ImageDraw.Draw(shape).polygon([tuple(c) for c in corners], fill=255)
        if number == 0:
            ImageDraw.Draw(shape).ellipse((x - 9, y - 9, x + 9, y + 9), fill=0)
        picture.paste(INKS[CLASSES.index(label)], (0, 0), shape)
        labels += _LABEL[task](label, np.asarray(shape) > 0, RotatedBox(x, y, 84, 52, angle), f"o{number}")
    if task == "classification":
        labels = labels[:1] or [Annotation("star", ANN)]
    if task == "multilabel-classification":
        labels = list({a.label: a for a in labels}.values())
    return picture, labels


def _boxed(label: str, bits: np.ndarray, turned: RotatedBox, name: str) -> list[Annotation]:
    return [Annotation(label, ANN, box=masks.box(masks.encode(bits)), id=name)]


def _with_points(label: str, bits: np.ndarray, turned: RotatedBox, name: str) -> list[Annotation]:
    corners = rotated_corners(turned)
    ends = ((corners[0] + corners[3]) / 2, (corners[1] + corners[2]) / 2)
    points = [
        Annotation(point, ANN, keypoints=(tuple(end.tolist()),), id=f"{name}-{point}", parent=name)
        for point, end in zip(POINTS, ends, strict=True)
    ]
    return _boxed(label, bits, turned, name) + points


def _masked(label: str, bits: np.ndarray, turned: RotatedBox, name: str) -> list[Annotation]:
    return [Annotation(label, ANN, mask=masks.encode(bits), id=name)]


def _whole(label: str, bits: np.ndarray, turned: RotatedBox, name: str) -> list[Annotation]:
    return [Annotation(label, ANN)]


_LABEL: dict[str, Callable[..., list[Annotation]]] = {
    "classification": _whole,
    "multilabel-classification": _whole,
    "detection": _boxed,
    "oriented-detection": lambda label, bits, turned, name: [
        Annotation(label, ANN, rotated_box=turned, id=name)
    ],
    "keypoints": _with_points,
    "instance-segmentation": _masked,
    "semantic-segmentation": _masked,
}


def _guess(task: str, truth: list[Annotation], n: int, sure: int) -> list[Annotation]:
    """The truth as a model might say it: each `sure`-th image is wrong, and everything is off by a little."""
    if task.endswith("classification"):
        true = [a.label for a in truth]
        names = true + [c for c in CLASSES if c not in true]
        if n % sure == sure - 1:
            names = names[::-1]
        scores = (0.8, 0.15, 0.05) if task == "classification" else (0.9, 0.6, 0.1)
        return [Annotation(c, MODEL, score=s) for c, s in zip(names, scores, strict=True)]
    found = [_moved(a, 8 / sure, 0.95 - n / 50) for a in truth]
    if n % sure == sure - 1 and found:
        wrong = CLASSES[(CLASSES.index(found[0].label) + 1) % 3]
        found[0] = replace(found[0], label=wrong)
        gone = found[-1].parent or found[-1].id
        if n % 2:
            found = [a for a in found if gone not in (a.id, a.parent)]
    return found


def _moved(a: Annotation, by: float, score: float) -> Annotation:
    a = replace(a, provenance=MODEL, score=score)
    if a.box is not None:
        x1, y1, x2, y2 = a.box
        return replace(a, box=(x1 + by, y1 + by, x2 + by, y2 + by))
    if a.rotated_box is not None:
        return replace(a, rotated_box=replace(a.rotated_box, angle=a.rotated_box.angle + 2 * by))
    if a.mask is not None:
        return replace(a, mask=masks.encode(np.roll(masks.decode(a.mask), round(by), (0, 1))))
    return replace(a, keypoints=tuple((x + by, y - by) for x, y in a.keypoints or ()))

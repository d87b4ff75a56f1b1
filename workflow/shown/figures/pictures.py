"""One image as people labelled it, or as a model sees it beside that, with marks at what is wrong.

Truth is dashed and green; a model's guesses have its own colour. What is right is a thin line, what is
missed, false or mislabelled a thick one; the words for it stand beside the picture, by the mark's letter.
Masks are translucent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workflow.metrics.keypoints import points_of
from workflow.records import Annotation
from workflow.shapes import masks
from workflow.shapes.matching import objects
from workflow.shapes.overlap import as_box, outlines
from workflow.shapes.paint import VOID, paint
from workflow.shown.figures.canvas import Canvas, Window
from workflow.shown.figures.colours import TRUTH, WRONG
from workflow.shown.figures.differences import Box, is_right, pairs
from workflow.shown.figures.marks import Mark, place
from workflow.tasks import Task

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Picture:
    """A data URL of a JPEG of `size` (width, height), and the marks that belong on it, in its pixels."""

    url: str
    size: tuple[int, int]
    marks: list[Mark]


def true_picture(
    task: Task,
    classes: Sequence[str],
    image: Image,
    truth: Sequence[Annotation],
    window: Window,
    wanted: Sequence[tuple[str, Box, str]] = (),
) -> Picture:
    """The `window` of an upright `image` as people labelled it."""
    canvas = Canvas(image, window)
    if task.kind == "objects":
        for a in objects(truth):
            _draw_shape(canvas, a, TRUTH, 3, dashed=True)
        for point in (p for points in points_of(truth).values() for p in points.values()):
            canvas.dot(point, TRUTH, hollow=True)
    elif task.kind == "pixels":
        _draw_truth(canvas, classes, truth, (image.height, image.width))
    return _finished(canvas, wanted)


def picture(
    task: Task,
    classes: Sequence[str],
    image: Image,
    truth: Sequence[Annotation],
    shown: Sequence[Annotation],
    colour: str,
    window: Window,
    wanted: Sequence[tuple[str, Box, str]] = (),
) -> Picture:
    """The `window` of an upright `image` with the predictions `shown`, and its truth.

    `wanted` are letters to mark, their boxes in the image, and whose they are.
    """
    canvas = Canvas(image, window)
    if task.kind == "pixels":
        _draw_classes(canvas, classes, truth, shown, colour, (image.height, image.width))
    elif task.kind == "objects":
        _draw_objects(canvas, truth, shown, colour)
        _draw_points(canvas, truth, shown, colour)
    return _finished(canvas, wanted)


def error_window(
    size: tuple[int, int], truth: Sequence[Annotation], *predictions: Sequence[Annotation]
) -> Window:
    """The part of an upright image of `size` (width, height) worth showing: round its errors, else all."""
    wrong = []
    for shown in predictions:
        for true, guess in pairs(truth, shown):
            if true is None or guess is None or true.label != guess.label:
                wrong += [box for a in (true, guess) if a is not None and (box := as_box(a))]
    if not wrong:
        return (0.0, 0.0, float(size[0]), float(size[1]))
    boxes = np.array(wrong, dtype=float)
    low, high = np.clip(boxes[:, :2].min(0), 0, size), np.clip(boxes[:, 2:].max(0), 0, size)
    # Room for the eye: twice the errors' extent, and never less than 40 % of the picture.
    side = np.minimum(np.maximum((high - low) * 2, 0.4 * np.array(size)), size)
    side = np.minimum(np.maximum(side, side[::-1] * 0.6), size)
    start = np.clip((low + high - side) / 2, 0, np.array(size) - side)
    return (float(start[0]), float(start[1]), float(start[0] + side[0]), float(start[1] + side[1]))


def _finished(canvas: Canvas, wanted: Sequence[tuple[str, Box, str]]) -> Picture:
    boxes = [(letter, canvas.placed(box), of) for letter, box, of in wanted]
    return Picture(canvas.jpeg_url(), canvas.size, place(boxes, canvas.size))


def _draw_objects(
    canvas: Canvas, truth: Sequence[Annotation], shown: Sequence[Annotation], colour: str
) -> None:
    for true, guess in pairs(truth, shown):
        right = is_right(true, guess)
        if guess is not None:
            _draw_shape(canvas, guess, colour, 2 if right else 4)
        if true is not None:
            _draw_shape(canvas, true, TRUTH, 2 if right else 3, dashed=True)


def _draw_shape(canvas: Canvas, a: Annotation, colour: str, width: int, dashed: bool = False) -> None:
    if a.mask is not None:
        bits = masks.decode(a.mask)
        if not dashed:
            canvas.fill(bits, colour, 0.3)
        canvas.edge(bits, colour, width, dashed)
    else:
        for part in outlines(a):
            canvas.outline(part, colour, width, dashed)


def _draw_points(
    canvas: Canvas, truth: Sequence[Annotation], shown: Sequence[Annotation], colour: str
) -> None:
    """True points as rings, guessed ones as discs, and a line between the two of one object."""
    true, guesses = points_of(truth), points_of(shown)
    for t, p in pairs(truth, shown):
        true_points, guessed_points = (
            points.get(a.id, {}) if a else {} for points, a in ((true, t), (guesses, p))
        )
        for name in true_points.keys() & guessed_points.keys():
            canvas.line(true_points[name], guessed_points[name], colour)
        for point in true_points.values():
            canvas.dot(point, TRUTH, hollow=True)
        for point in guessed_points.values():
            canvas.dot(point, colour)


def _draw_classes(
    canvas: Canvas,
    classes: Sequence[str],
    truth: Sequence[Annotation],
    shown: Sequence[Annotation],
    colour: str,
    size: tuple[int, int],
) -> None:
    """What the model painted, what of all is wrong, and the edges people painted."""
    true, guessed = (paint(side, classes, *size).pixels for side in (truth, shown))
    # What is void is neither right nor wrong.
    guessed = np.where(true == VOID, VOID, guessed)
    canvas.fill((guessed > 0) & (guessed < VOID) & (guessed == true), colour, 0.35)
    canvas.fill(guessed != true, WRONG, 0.6)
    _draw_edges(canvas, classes, truth, true)


def _draw_truth(
    canvas: Canvas, classes: Sequence[str], truth: Sequence[Annotation], size: tuple[int, int]
) -> None:
    pixels = paint(truth, classes, *size).pixels
    canvas.fill((pixels > 0) & (pixels < VOID), TRUTH, 0.35)
    _draw_edges(canvas, classes, truth, pixels)


def _draw_edges(
    canvas: Canvas, classes: Sequence[str], truth: Sequence[Annotation], pixels: np.ndarray
) -> None:
    for a in truth:
        number = VOID if a.ignored else classes.index(a.label) + 1
        canvas.edge(pixels == number, TRUTH, 2, dashed=True)

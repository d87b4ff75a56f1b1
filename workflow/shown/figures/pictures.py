"""One image as people labelled it and as a model sees it, with what is wrong in words.

Truth is dashed and green; a model's guesses have its own colour. What is right is a thin line; what is
missed, false or mislabelled is a thick one and says so. Masks are translucent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workflow.metrics import Metrics
from workflow.metrics.keypoints import points_of
from workflow.records import Annotation
from workflow.shapes import masks
from workflow.shapes.matching import match, objects
from workflow.shapes.overlap import as_box, outlines
from workflow.shapes.paint import VOID, paint
from workflow.shown.figures.canvas import Canvas, Window
from workflow.shown.figures.colours import TRUTH, WRONG
from workflow.tasks import TASKS

if TYPE_CHECKING:
    from PIL.Image import Image

# A wrong area under this share of the image is drawn, but not put in words.
WORTH_WORDS = 0.01
WORDS_AT_MOST = 4


def picture(
    metrics: Metrics,
    image: Image,
    truth: Sequence[Annotation],
    shown: Sequence[Annotation],
    colour: str,
    window: Window,
) -> str:
    """A data URL of the `window` of an upright `image` with its truth and the predictions `shown`."""
    canvas = Canvas(image, window)
    kind = TASKS[metrics.task].kind
    if kind == "pixels":
        _draw_classes(canvas, metrics.classes, truth, shown, colour, (image.height, image.width))
    elif kind == "objects":
        _draw_objects(canvas, truth, shown, colour)
        _draw_points(canvas, truth, shown, colour)
    else:
        _list_labels(canvas, truth, shown, colour)
    return canvas.jpeg_url()


def error_window(
    size: tuple[int, int], truth: Sequence[Annotation], *predictions: Sequence[Annotation]
) -> Window:
    """The part of an upright image of `size` (width, height) worth showing: round its errors, else all."""
    wrong = []
    for shown in predictions:
        for true, guess in _pairs(truth, shown):
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


def _pairs(
    truth: Sequence[Annotation], shown: Sequence[Annotation]
) -> list[tuple[Annotation | None, Annotation | None]]:
    true, guesses = objects(truth), objects(shown)
    matches = match(true, guesses, class_agnostic=True)
    return [(None if t is None else true[t], None if p is None else guesses[p]) for t, p, _ in matches]


def _draw_objects(
    canvas: Canvas, truth: Sequence[Annotation], shown: Sequence[Annotation], colour: str
) -> None:
    notes = []
    for true, guess in _pairs(truth, shown):
        right = true is not None and guess is not None and true.label == guess.label
        if guess is not None:
            _draw_shape(canvas, guess, colour, 2 if right else 4)
        if true is not None:
            _draw_shape(canvas, true, TRUTH, 2 if right else 3, dashed=True)
        if not right:
            notes.append(_note(true, guess, colour))
    for a, words, ground in notes:
        x1, y1, _, y2 = as_box(a) or (0, 0, 0, 0)
        canvas.words((x1, y2 if ground == TRUTH else y1), words, ground, lift=ground != TRUTH)


def _draw_shape(canvas: Canvas, a: Annotation, colour: str, width: int, dashed: bool = False) -> None:
    if a.mask is not None:
        bits = masks.decode(a.mask)
        if not dashed:
            canvas.fill(bits, colour, 0.3)
        canvas.edge(bits, colour, width, dashed)
    else:
        for part in outlines(a):
            canvas.outline(part, colour, width, dashed)


def _note(true: Annotation | None, guess: Annotation | None, colour: str) -> tuple[Annotation, str, str]:
    """What is wrong with a pair, and where and on which ground to say so."""
    if guess is None:
        assert true is not None
        return true, f"missed {true.label}", TRUTH
    return guess, _scored(guess) + (f", is {true.label}" if true else ", false"), colour


def _scored(guess: Annotation) -> str:
    return guess.label if guess.score is None else f"{guess.label} {guess.score:.2f}"


def _draw_points(
    canvas: Canvas, truth: Sequence[Annotation], shown: Sequence[Annotation], colour: str
) -> None:
    """True points as rings, guessed ones as discs, and a line between the two of one object."""
    true, guesses = points_of(truth), points_of(shown)
    for t, p in _pairs(truth, shown):
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
    for a in truth:
        number = VOID if a.ignored else classes.index(a.label) + 1
        canvas.edge(true == number, TRUTH, 2, dashed=True)
    names = ("", *classes)
    wrong, counts = np.unique(np.stack([true, guessed])[:, true != guessed], axis=1, return_counts=True)
    for n in np.argsort(-counts, kind="stable")[:WORDS_AT_MOST]:
        if counts[n] >= WORTH_WORDS * true.size:
            was, guess = names[wrong[0, n]], names[wrong[1, n]]
            words = f"missed {was}" if not guess else f"{guess}, is {was}" if was else f"{guess}, false"
            down, along = np.nonzero((true == wrong[0, n]) & (guessed == wrong[1, n]))
            middle = len(down) // 2
            canvas.words((float(along[middle]), float(down[middle])), words, WRONG)


def _list_labels(
    canvas: Canvas, truth: Sequence[Annotation], shown: Sequence[Annotation], colour: str
) -> None:
    true = {a.label for a in truth}
    lines = [(a.label, TRUTH) for a in truth] or [("no label", TRUTH)]
    lines += [(_scored(a) + (", wrong" if a.label not in true else ""), colour) for a in shown]
    canvas.list_words(lines)

"""What is wrong on one image, side by side: the truth, and what each model makes of it.

Objects are matched as everywhere, across classes; a false guess that two models share is one row. Painted
classes have a row for each pair of classes that are taken for one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow.records import Annotation
from workflow.shapes.matching import match, objects
from workflow.shapes.overlap import as_box
from workflow.shapes.paint import VOID, paint
from workflow.tasks import Task

# What is wrong beyond these is drawn, but has no letter.
LETTERS = "abcdefghijkl"
# A wrong area under this share of the image is drawn, but not put in words.
WORTH_WORDS = 0.01
AREAS = 4
NOTHING = "–"
# xyxy, in pixels of the upright image.
Box = tuple[float, float, float, float]

Pairs = list[tuple[Annotation | None, Annotation | None]]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one side says in `words`; `place` is where its mark belongs, None where nothing is wrong."""

    words: str
    place: Box | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a model has wrong: the truth, then each model. Labels of whole images have no letter."""

    letter: str
    cells: tuple[Cell, ...]


def differences(
    task: Task,
    classes: Sequence[str],
    size: tuple[int, int],
    truth: Sequence[Annotation],
    sides: Sequence[Sequence[Annotation]],
) -> list[Difference]:
    """All that is wrong on an upright image of `size` (width, height), by any of the `sides`.

    `sides` are the guesses that a user of each model sees.
    """
    if task.kind == "labels":
        return _labels(task.exclusive, truth, sides)
    if task.kind == "pixels":
        found = _areas(classes, size, truth, sides)
    else:
        found = _objects([pairs(truth, shown) for shown in sides])
    letters = LETTERS.ljust(len(found))
    return [replace(row, letter=letter.strip()) for row, letter in zip(found, letters, strict=False)]


def pairs(truth: Sequence[Annotation], shown: Sequence[Annotation]) -> Pairs:
    """Each true object with its guess; None where one has no partner."""
    true, guesses = objects(truth), objects(shown)
    matches = match(true, guesses, class_agnostic=True)
    return [(None if t is None else true[t], None if p is None else guesses[p]) for t, p, _ in matches]


def is_right(true: Annotation | None, guess: Annotation | None) -> bool:
    return true is not None and guess is not None and true.label == guess.label


def scored(guess: Annotation) -> str:
    return guess.label if guess.score is None else f"{guess.label} {guess.score:.2f}"


def _objects(sides: Sequence[Pairs]) -> list[Difference]:
    found = []
    by_truth = [{id(t): g for t, g in side if t is not None} for side in sides]
    seen = {id(t): t for side in sides for t, _ in side if t is not None}
    for name, true in seen.items():
        guesses = [side.get(name) for side in by_truth]
        if not all(is_right(true, guess) for guess in guesses):
            cells = [_cell(true, guess) for guess in guesses]
            found.append(Difference("", (Cell(true.label, as_box(true)), *cells)))
    return found + _false([[g for t, g in side if t is None and g is not None] for side in sides])


def _false(sides: Sequence[Sequence[Annotation]]) -> list[Difference]:
    """False guesses, those of two models in one place as one."""
    if len(sides) == 1:
        return [Difference("", (Cell(NOTHING), _cell(None, guess))) for guess in sides[0]]
    before, after = sides
    matches = match(before, after, class_agnostic=True)
    both = [(None if b is None else before[b], None if a is None else after[a]) for b, a, _ in matches]
    return [Difference("", (Cell(NOTHING), *(_cell(None, guess) for guess in row))) for row in both]


def _cell(true: Annotation | None, guess: Annotation | None) -> Cell:
    if guess is None:
        return Cell(NOTHING) if true is None else Cell("missed", as_box(true))
    if true is None:
        return Cell(f"{scored(guess)}, false", as_box(guess))
    right = true.label == guess.label
    return Cell(f"{scored(guess)}, {'right' if right else 'wrong'}", None if right else as_box(guess))


def _labels(
    exclusive: bool, truth: Sequence[Annotation], sides: Sequence[Sequence[Annotation]]
) -> list[Difference]:
    """Labels of a whole image: the one beside the others, or, of several, those of one name."""
    if exclusive:
        rows = [[next(iter(some), None) for some in (truth, *sides)]]
    else:
        said = [{a.label: a for a in some} for some in (truth, *sides)]
        rows = [[some.get(name) for some in said] for name in dict.fromkeys(n for s in said for n in s)]
    return [
        Difference("", (Cell(true.label if true else NOTHING), *(_cell(true, guess) for guess in guesses)))
        for true, *guesses in rows
        if not all(is_right(true, guess) for guess in guesses)
    ]


def _areas(
    classes: Sequence[str],
    size: tuple[int, int],
    truth: Sequence[Annotation],
    sides: Sequence[Sequence[Annotation]],
) -> list[Difference]:
    width, height = size
    true, *guessed = (paint(side, classes, height, width).pixels for side in (truth, *sides))
    names = (NOTHING, *classes)
    shares: dict[tuple[int, int], list[int]] = {}
    for number, pixels in enumerate(guessed):
        wrong = (true != VOID) & (true != pixels)
        kinds, counts = np.unique(np.stack([true, pixels])[:, wrong], axis=1, return_counts=True)
        for (was, guess), count in zip(kinds.T.tolist(), counts.tolist(), strict=True):
            shares.setdefault((was, guess), [0] * len(sides))[number] = count
    largest = sorted(shares, key=lambda pair: (-max(shares[pair]), pair))[:AREAS]
    found = []
    for was, guess in largest:
        counts_of = shares[was, guess]
        if max(counts_of) < WORTH_WORDS * true.size:
            break
        places = [_middle((true == was) & (pixels == guess)) for pixels in guessed]
        cells = [
            Cell(f"{names[guess]}: {100 * n / true.size:.1f} %", place) if n else Cell(NOTHING)
            for n, place in zip(counts_of, places, strict=True)
        ]
        found.append(Difference("", (Cell(names[was], next(p for p in places if p)), *cells)))
    return found


def _middle(bits: np.ndarray) -> Box | None:
    """A pixel of the area, about in its middle."""
    down, along = np.nonzero(bits)
    if not len(down):
        return None
    x, y = float(along[len(along) // 2]), float(down[len(down) // 2])
    return (x, y, x + 1, y + 1)

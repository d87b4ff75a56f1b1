"""Probes: a few planted wrong guesses, to measure whether people look or only press Submit.

A probe is a copy of one of the image's guesses, moved to where it overlaps no guess, and of another class
where there is one. Where no place is free, none is planted. A whole-image label or a painted class has no
free place: a planted one might be right, or take a person's strokes, and the true label would be lost. So
only tasks that draw objects have probes.

What a person leaves untouched of a probe is taken out of their labels and counted as not caught. What
they moved, reshaped, renamed, or hung something under is theirs, and stays. Label Studio keeps what was
submitted, so nothing is deleted that cannot be looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from workflow.errors import FormatError
from workflow.project.rows import Row, digest
from workflow.records import Annotation, ImageRecord
from workflow.schema import Schema
from workflow.shapes import overlap
from workflow.shapes.move import moved

PREFIX = "probe-"
# A probe that shares more than this with a guess might be taken for a poor one of the same object.
APART = 0.05
# Places tried a guess before the next guess is.
TRIES = 32


def is_probe(annotation: Annotation) -> bool:
    return annotation.id.startswith(PREFIX)


def without(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """The model's own guesses: a probe is none of them, and counts in no figure of the model."""
    return tuple(a for a in annotations if not is_probe(a))


def plant(
    annotations: Sequence[Annotation], record: ImageRecord, schema: Schema, share: float
) -> tuple[Annotation, ...]:
    """The guesses of one image, and in a `share` of the images one probe more.

    Which images, which guess is copied, where to and as what all follow from the image's id, so that
    planting again gives the same. With keypoints, the object's points are copied with it. FormatError
    where a guess has an id that is kept for probes, whatever the share: pull would take it for one.
    """
    taken = next((a.id for a in annotations if is_probe(a)), None)
    if taken is not None:
        raise FormatError(
            f"{record.path}: a guess has the id {taken!r}, and {PREFIX}... is kept for probes", "rename it"
        )
    guesses = tuple(annotations)
    number = int(digest(["probe", record.id]), 16)
    if not schema.task.of_objects or number / 16**16 >= share:
        return guesses
    rng = np.random.default_rng(number)
    shapes = [a for a in guesses if overlap.as_box(a)]
    for chosen in rng.permutation(len(shapes)):
        source = shapes[chosen]
        if source.ignored:
            continue
        whole = [source] + [a for a in guesses if source.id and a.parent == source.id and a.keypoints]
        for dx, dy in _steps(whole, record, rng):
            shape, *points = (moved(a, dx, dy) for a in whole)
            free = overlap.iou([shape], shapes).max() < APART
            if free and all(a.within(record.width, record.height) for a in (shape, *points)):
                scores = [a.score for a in shapes]
                return guesses + _named(shape, points, schema.classes, scores[rng.integers(len(scores))], rng)
    return guesses


def judge(
    guesses: Sequence[Annotation], corrected: Sequence[Annotation]
) -> tuple[tuple[Annotation, ...], list[Row]]:
    """A person's labels without the probe they left as it was, and for the probe {id, caught}.

    `guesses` are those the person saw, the probe among them; no row where there was none. A shape with its
    points is one probe: caught where anything of it was changed, renamed or deleted.
    """
    planted = [g for g in guesses if is_probe(g)]
    if not planted:
        return tuple(corrected), []
    names = {g.id for g in planted}
    left = [c for c in corrected if any(_is_untouched(c, g) for g in planted)]
    worked_on = any(c not in left and not names.isdisjoint((c.id, c.parent)) for c in corrected)
    caught = worked_on or len(left) < len(planted)
    kept = tuple(corrected) if worked_on else tuple(c for c in corrected if c not in left)
    return kept, [{"id": planted[0].id, "caught": caught}]


def _is_untouched(now: Annotation, probe: Annotation) -> bool:
    # Copied in the editor, a region gets an id of its own; nobody draws the same to a thousandth of a pixel.
    same = (now.label, now.ignored) == (probe.label, probe.ignored)
    return same and bool(now.geometry) and overlap.same_place(now, probe)


def _steps(
    whole: Sequence[Annotation], record: ImageRecord, rng: np.random.Generator
) -> Iterator[tuple[int, int]]:
    """Whole-pixel moves, at random, that keep a shape and its points within the image."""
    boxes = np.array([box for a in whole if (box := _extent(a))])
    low = -np.floor(boxes[:, :2].min(axis=0)).astype(int)
    high = np.array([record.width, record.height]) - np.ceil(boxes[:, 2:].max(axis=0)).astype(int)
    if (low > high).any():
        return
    for dx, dy in rng.integers(low, high, (TRIES, 2), endpoint=True):
        yield int(dx), int(dy)


def _extent(a: Annotation) -> tuple[float, ...] | None:
    points = np.asarray(a.keypoints) if a.keypoints else None
    return overlap.as_box(a) if points is None else (*points.min(axis=0), *points.max(axis=0))


def _named(
    shape: Annotation,
    points: Sequence[Annotation],
    classes: Sequence[str],
    score: float | None,
    rng: np.random.Generator,
) -> tuple[Annotation, ...]:
    """A probe's regions under ids of their own, the shape as another class, so that it is wrong twice."""
    others = [name for name in classes if name != shape.label] or [shape.label]
    label = others[rng.integers(len(others))]
    first = replace(shape, label=label, id=f"{PREFIX}0", parent="", score=score)
    return first, *(replace(a, id=f"{PREFIX}{n}", parent=first.id) for n, a in enumerate(points, 1))

"""In which way a wrong prediction is wrong: the kinds of TIDE, of objects that were matched across classes.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020: an overlap of
half or more is the place, one of a tenth or more is near it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from workflow.records import Annotation
from workflow.shapes.matching import TOUCHING, Match
from workflow.shapes.overlap import iou

DUPLICATE, WRONG_CLASS, BADLY_PLACED = "duplicate", "wrong class", "badly placed"
BOTH, BACKGROUND, MISSED = "wrong class, badly placed", "background", "missed"
KINDS = (DUPLICATE, WRONG_CLASS, BADLY_PLACED, BOTH, BACKGROUND, MISSED)
# What may as well be the truth's own error, where the prediction is very sure.
AGAINST_TRUTH = (WRONG_CLASS, BACKGROUND)
PLACE, NEAR = 0.5, TOUCHING

# (prediction, truth, IoU)
Touch = tuple[int, int, float]


def mistakes(
    matches: Iterable[Match],
    truth: Sequence[Annotation],
    predicted: Sequence[Annotation],
    touching: Iterable[Touch] | None = None,
) -> tuple[dict[int, str], dict[int, str]]:
    """The kinds of one image's wrong predictions, and of the truths that were not found, by their numbers.

    `matches` are those of `match` with `class_agnostic`. A truth that a prediction of another class or place
    is near to has that one's kind, else it is missed. `touching` are all pairs that overlap by `NEAR` or
    more, where they are known.
    """
    guesses: dict[int, str] = {}
    truths: dict[int, str] = {}
    alone: list[int] = []
    for t, p, _ in matches:
        if p is None and t is not None:
            truths[t] = MISSED
        elif t is None and p is not None:
            alone.append(p)
        elif t is not None and p is not None and truth[t].label != predicted[p].label:
            guesses[p] = truths[t] = WRONG_CLASS
    if alone:
        near = _near(alone, truth, predicted) if touching is None else _of(alone, touching)
        for p in alone:
            guesses[p], t = _kind(predicted[p].label, near.get(p, ()), truth)
            if truths.get(t) == MISSED:
                truths[t] = guesses[p]
    return guesses, truths


def _kind(label: str, near: Sequence[tuple[int, float]], truth: Sequence[Annotation]) -> tuple[str, int]:
    """The kind of a prediction that was matched with nothing, and which truth it is near to; -1 for none."""
    same, other = (
        max(
            ((share, t) for t, share in near if (truth[t].label == label) is alike and not truth[t].ignored),
            default=(0.0, -1),
        )
        for alike in (True, False)
    )
    for (share, t), least, kind in (
        (same, PLACE, DUPLICATE),
        (other, PLACE, WRONG_CLASS),
        (same, NEAR, BADLY_PLACED),
        (other, NEAR, BOTH),
    ):
        if share >= least:
            return kind, t
    return BACKGROUND, -1


def _near(
    alone: Sequence[int], truth: Sequence[Annotation], predicted: Sequence[Annotation]
) -> Mapping[int, Sequence[tuple[int, float]]]:
    shares = iou([predicted[p] for p in alone], truth)
    return {
        p: [(int(t), float(row[t])) for t in np.flatnonzero(row >= NEAR)]
        for p, row in zip(alone, shares, strict=True)
    }


def _of(alone: Sequence[int], touching: Iterable[Touch]) -> Mapping[int, Sequence[tuple[int, float]]]:
    near: dict[int, list[tuple[int, float]]] = {p: [] for p in alone}
    for p, t, share in touching:
        if p in near:
            near[p].append((t, share))
    return near

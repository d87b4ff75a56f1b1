"""Which guesses overlap which truths, over all images at once, whatever their shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.common import Labels
from workflow.shapes.matching import Pairs, near_pairs
from workflow.shapes.overlap import iou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def overlapping(order: Sequence[str], truth: Labels, predicted: Labels, least: float) -> Pairs:
    """All pairs of one image whose IoU is `least` or more, of any class, ignored or not.

    They are numbered through the images in their order, one side by itself.
    """
    sides = (a for labels in (truth, predicted) for some in labels.values() for a in some)
    if all(a.box is not None for a in sides):
        return near_pairs(order, truth, predicted, least)
    none = np.zeros(0, dtype=np.int64)
    parts: list[tuple[Ints, Ints, Floats]] = [(none, none, np.zeros(0))]
    first_guess = first_truth = 0
    for image in order:
        theirs, ours = predicted.get(image, ()), truth.get(image, ())
        if theirs and ours:
            shares = iou(theirs, ours)
            p, t = np.nonzero(shares >= least)
            parts.append((p + first_guess, t + first_truth, shares[p, t]))
        first_guess, first_truth = first_guess + len(theirs), first_truth + len(ours)
    return Pairs(*(np.concatenate(some) for some in zip(*parts, strict=True)))


def best_pairs(p: Ints, t: Ints, share: Floats, guesses: int) -> tuple[Floats, Ints]:
    """Of each guess its largest overlap and with which truth, of equals the first; 0 and -1 for none."""
    most, which = np.zeros(guesses), np.full(guesses, -1)
    order = np.lexsort((t, -share, p))
    _, firsts = np.unique(p[order], return_index=True)
    chosen = order[firsts]
    most[p[chosen]], which[p[chosen]] = share[chosen], t[chosen]
    return most, which


def by_score(scores: Floats) -> Ints:
    """The order of falling scores; equal ones keep theirs."""
    return np.argsort(-scores, kind="stable")

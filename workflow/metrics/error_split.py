"""What kind of error costs how much average precision: TIDE, of objects.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020 (arXiv 2008.08115),
equal to the authors' `tidecv` 1.0.1, with which tests compare. At IoU .5 each wrong guess is of one kind:

- place: of the right class, its best overlap with a truth of that class between .1 and .5;
- class: it overlaps a truth of another class by .5 or more;
- duplicate: it overlaps a truth that a better guess took;
- background: it overlaps nothing by more than .1;
- both: what is left, of the wrong class and badly placed.

A truth that no guess found, nor would find if its class or place were right, is missed. What a kind costs
is by how much AP at IoU .5 rises if just these errors were mended: of the guesses of a wrong class or place
the best of each truth becomes right and the rest vanish, other wrong guesses vanish, missed truths are not
asked for. Of an image the best 100 guesses count, or as many as are asked for. As there, a class of guesses
without a truth has an AP of 0, and what an ignored truth hides costs nothing, but may be mended; here it is
not counted. Of equal scores the earlier counts first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.common import Labels
from workflow.metrics.pairing import best_pairs, by_score, overlapping
from workflow.metrics.rules import MAX_GUESSES
from workflow.shapes.matching import Pairs, score_of
from workflow.shapes.overlap import coverage

RIGHT_FROM, BACKGROUND_TO = 0.5, 0.1
# How a guess is wrong, by number, where it is not right.
KINDS = ("class", "place", "both", "duplicate", "background")
RIGHT = -1
_CLASS, _PLACE, _BOTH, _DUPLICATE, _BACKGROUND = range(len(KINDS))
# TIDE's own points of recall: not COCO's linspace, whose last digits are others.
_RECALLS = np.array([n / 100 for n in range(101)])

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorSplit:
    """`ap` at IoU .5, and of each kind how many errors and what they cost, from 0 to 1.

    `costs` holds KINDS, "missed", and what all wrong guesses ("false") and all truths not found ("not found")
    cost. `kinds` is a word a guess of each image, in the order given: one of KINDS, "right", or "" of those
    that are ignored or beyond the best 100.
    """

    ap: float | None
    counts: Mapping[str, int]
    costs: Mapping[str, float]
    kinds: Mapping[str, Sequence[str]]

    def to_json(self) -> dict[str, dict[str, float]]:
        """{kind: {"count": errors, "cost": AP}}; empty where there is neither truth nor guess."""
        if self.ap is None:
            return {}
        return {kind: {"count": self.counts[kind], "cost": cost} for kind, cost in self.costs.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Guesses:
    """Those that count, best first within each image: which they are, their classes and scores."""

    number: Ints
    classes: Ints
    scores: Floats


def split_errors(
    images: Sequence[str],
    truth: Labels,
    predicted: Labels,
    classes: Sequence[str],
    most: int = MAX_GUESSES,
) -> ErrorSplit:
    """The split of objects of one geometry each; of an image the `most` best guesses count."""
    order = sorted(images)
    true = {i: [a for a in truth.get(i, ()) if not a.ignored] for i in order}
    index = {label: n for n, label in enumerate(classes)}
    of_truth = np.array([index[a.label] for i in order for a in true[i]], dtype=np.int64)
    flat = [a for i in order for a in predicted.get(i, ())]
    of_guess = np.array([index[a.label] for a in flat], dtype=np.int64)
    scores = np.array([score_of(a) for a in flat], dtype=float)
    where = np.repeat(np.arange(len(order)), [len(predicted.get(i, ())) for i in order])
    ranked = np.lexsort((-scores, where))
    first = np.searchsorted(where[ranked], where[ranked])
    ranked = ranked[np.arange(len(ranked)) - first < most]
    guesses = _Guesses(ranked, of_guess[ranked], scores[ranked])
    place = np.full(len(flat), -1)
    place[ranked] = np.arange(len(ranked))
    pairs = _pairs(order, true, predicted, place)
    hidden = _hidden(order, truth, predicted)[ranked]
    bare = np.array([not true[i] for i in order], dtype=bool)[where[ranked]]
    kinds, mends, missed, found = _sorted_out(guesses, of_truth, pairs, bare, hidden)
    hidden &= kinds != RIGHT
    count = {kind: int(((kinds == n) & ~hidden).sum()) for n, kind in enumerate(KINDS)}
    count |= {"missed": int(missed.sum()), "false": sum(count.values()), "not found": int((~found).sum())}
    ap, costs = _costs(guesses, of_truth, (kinds, mends, missed, found, hidden), len(classes))
    words = np.full(len(flat), "", dtype=object)
    words[ranked] = np.array([*KINDS, "right"], dtype=object)[kinds]
    words[ranked[hidden]] = ""
    ends = np.cumsum([len(predicted.get(i, ())) for i in order], dtype=np.int64)[:-1]
    parts = zip(order, np.split(words, ends), strict=True) if order else ()
    return ErrorSplit(ap, count, costs, {image: some.tolist() for image, some in parts})


def _pairs(order: Sequence[str], true: Labels, predicted: Labels, place: Ints) -> Pairs:
    """All that overlap by as much as matters; guesses by their `place`, those without one left out."""
    pairs = overlapping(order, true, predicted, BACKGROUND_TO)
    p = place[pairs.predicted]
    return Pairs(p[p >= 0], pairs.truth[p >= 0], pairs.share[p >= 0])


def _hidden(order: Sequence[str], truth: Labels, predicted: Labels) -> Bools:
    """Which guesses lie within an ignored truth of their class by more than half."""
    parts = [np.zeros(0, dtype=bool)]
    for image in order:
        theirs = predicted.get(image, ())
        crowds = [a for a in truth.get(image, ()) if a.ignored]
        hidden = np.zeros(len(theirs), dtype=bool)
        if crowds and theirs:
            same = np.array([[g.label == c.label for c in crowds] for g in theirs])
            hidden = ((coverage(theirs, crowds) > RIGHT_FROM) & same).any(axis=1)
        parts.append(hidden)
    return np.concatenate(parts)


def _sorted_out(
    guesses: _Guesses, of_truth: Ints, pairs: Pairs, bare: Bools, hidden: Bools
) -> tuple[Ints, Ints, Bools, Bools]:
    """The kind of each guess, RIGHT where it is none; the truth that mending it would give it, -1 for none;
    which truths are missed, and which were found. `bare` guesses are on images without a truth.
    """
    p, t, share = pairs.predicted, pairs.truth, pairs.share
    same = guesses.classes[p] == of_truth[t]
    count = len(guesses.scores)
    near = same & (share >= RIGHT_FROM)
    taken = _matched(p[near], t[near], share[near], count)
    found = np.zeros(len(of_truth), dtype=bool)
    found[taken[taken >= 0]] = True
    in_class, class_truth = best_pairs(p[same], t[same], share[same], count)
    beside, other_truth = best_pairs(p[~same], t[~same], share[~same], count)
    again = same & found[t]
    twice, _ = best_pairs(p[again], t[again], share[again], count)
    kinds = np.full(count, _BOTH)
    kinds[np.maximum(in_class, beside) <= BACKGROUND_TO] = _BACKGROUND
    kinds[twice >= RIGHT_FROM] = _DUPLICATE
    kinds[beside >= RIGHT_FROM] = _CLASS
    kinds[(in_class >= BACKGROUND_TO) & (in_class <= RIGHT_FROM)] = _PLACE
    kinds[bare] = _BACKGROUND
    kinds[taken >= 0] = RIGHT
    wants = np.where(kinds == _PLACE, class_truth, np.where(kinds == _CLASS, other_truth, -1))
    could = np.flatnonzero(wants >= 0)
    could = could[~found[wants[could]]]
    # The best scored guess of each truth is mended; others that want it vanish.
    _, firsts = np.unique(wants[could[by_score(guesses.scores[could])]], return_index=True)
    mended = could[by_score(guesses.scores[could])][firsts]
    mends = np.full(count, -1)
    mends[mended] = wants[mended]
    missed = ~found
    missed[wants[could]] = False
    return kinds, mends, missed, found


def _matched(p: Ints, t: Ints, share: Floats, count: int) -> Ints:
    """The truth each guess takes, -1 for none: in their order, each the free one it overlaps most."""
    taken = np.full(count, -1)
    alone = (np.bincount(p, minlength=1)[p] == 1) & (np.bincount(t, minlength=1)[t] == 1)
    taken[p[alone]] = t[alone]
    gone: set[int] = set()
    rest = np.flatnonzero(~alone)
    rest = rest[np.lexsort((t[rest], -share[rest], p[rest]))]
    for guess, truth in zip(p[rest].tolist(), t[rest].tolist(), strict=True):
        if taken[guess] < 0 and truth not in gone:
            taken[guess] = truth
            gone.add(truth)
    return taken


def _costs(
    guesses: _Guesses,
    of_truth: Ints,
    judged: tuple[Ints, Ints, Bools, Bools, Bools],
    classes: int,
) -> tuple[float | None, dict[str, float]]:
    kinds, mends, missed, found, hidden = judged
    truths = np.bincount(of_truth, minlength=classes)
    right = kinds == RIGHT

    def ap(classes_of: Ints, scores: Floats, hits: Bools, kept: Bools, asked: Ints) -> float | None:
        return _mean_precision(classes_of[kept], scores[kept], hits[kept], asked)

    plain = (guesses.classes, guesses.scores, right)
    before = ap(*plain, ~hidden, truths)
    if before is None:
        return None, {}
    costs = {}
    for n, kind in enumerate(KINDS):
        mine = kinds == n
        mended = mine & (mends >= 0)
        now = guesses.classes.copy()
        now[mended] = of_truth[mends[mended]]
        after = ap(now, guesses.scores, right | mended, mended | (~mine & ~hidden), truths)
        costs[kind] = max((after or 0.0) - before, 0.0)
    left = truths - np.bincount(of_truth[missed], minlength=classes)
    costs["missed"] = max((ap(*plain, ~hidden, left) or 0.0) - before, 0.0)
    sure = ap(guesses.classes, right.astype(float), right, ~hidden, truths)
    costs["false"] = (sure or 0.0) - before
    asked = truths - np.bincount(of_truth[~found], minlength=classes)
    costs["not found"] = (ap(*plain, ~hidden, asked) or 0.0) - before
    return before, costs


def _mean_precision(classes: Ints, scores: Floats, hits: Bools, truths: Ints) -> float | None:
    """AP by 101 points, mean over the classes with a guess or a truth; None where there is none."""
    order = by_score(scores)
    order = order[np.argsort(classes[order], kind="stable")]
    ends = np.searchsorted(classes[order], np.arange(len(truths) + 1))
    values = []
    for n, count in enumerate(truths.tolist()):
        hit = hits[order[ends[n] : ends[n + 1]]]
        if not count:
            values += [0.0] if len(hit) else []
            continue
        right = np.cumsum(hit)
        precision = np.maximum.accumulate((right / np.arange(1, len(hit) + 1))[::-1])[::-1]
        where = np.searchsorted(right / count, _RECALLS)
        values.append(float(np.append(precision, 0.0)[where].sum()) / len(_RECALLS))
    return sum(values) / len(values) if values else None

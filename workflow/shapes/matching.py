"""Which predicted object is which true one.

Greedy matching as COCO has it (cocodataset/cocoapi, cocoeval.py), which metrics, reports and the App share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workflow.records import Annotation
from workflow.shapes.geometry import box_area
from workflow.shapes.overlap import coverage
from workflow.shapes.overlap import iou as overlap_of

Match = tuple[int | None, int | None, float | None]
Labels = Mapping[str, Sequence[Annotation]]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
# From here on, one object is near another.
TOUCHING = 0.1
# Pairs of boxes whose overlap is computed at once: some 200 MB.
PAIRS = 1_000_000


@dataclass(frozen=True, slots=True)
class Errors:
    """What is wrong on one image: truths missed, predictions that mean nothing, and those of a wrong class.

    They count objects, labels, or pixels, then of the image's `pixels`.
    """

    missed: int
    false: int
    mislabelled: int
    pixels: int = 0

    @property
    def total(self) -> int:
        return self.missed + self.false + self.mislabelled

    @property
    def weight(self) -> float:
        """By which images are ranked: a number of errors, or the share of pixels that are wrong."""
        return self.total / self.pixels if self.pixels else float(self.total)


def match(
    truth: Sequence[Annotation],
    predicted: Sequence[Annotation],
    iou: float = 0.5,
    class_agnostic: bool = False,
) -> list[Match]:
    """COCO's greedy matching of one image's objects: (truth index, prediction index, IoU) triples.

    The best scored prediction chooses first, and takes the free truth it overlaps most, if by `iou`
    or more; of equals the later, as cocoeval.py does. Every object occurs once; what found no partner
    has None for it and for the IoU. Predictions come by falling score, then the missed truths.

    A truth that is ignored is in no triple, and neither is a prediction that finds no other, is of its class
    and lies within it by `iou` of the prediction's own area.
    """
    overlap = overlap_of(predicted, truth)
    ignored = np.array([t.ignored for t in truth], dtype=bool)
    if ignored.any():
        overlap[:, ignored] = coverage(predicted, [t for t in truth if t.ignored])
    names = np.array([t.label for t in truth], dtype=object)
    other = np.array([p.label for p in predicted], dtype=object)[:, None] != names[None, :]
    overlap[other & ignored[None, :] if class_agnostic else other] = -1
    least = _least(iou)
    matches: list[Match] = []
    free = ~ignored
    for p in np.argsort([-score_of(a) for a in predicted], kind="stable").tolist():
        row = np.where(free, overlap[p], -1)
        t = len(row) - 1 - int(row[::-1].argmax()) if len(row) else -1
        if t >= 0 and row[t] >= least:
            free[t] = False
            matches.append((t, p, float(row[t])))
        elif not (overlap[p, ignored] >= least).any():
            matches.append((None, p, None))
    return matches + [(t, None, None) for t in np.flatnonzero(free).tolist()]


def _least(iou: float) -> float:
    # As cocoeval.py has it.
    return min(iou, 1 - 1e-10)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of boxes of one image each: numbers among all `predicted` and all `truth`, and their `share`.

    They are sorted by prediction, then by truth.
    """

    predicted: Numbers
    truth: Numbers
    share: Floats


def near_pairs(images: Sequence[str], truth: Labels, predicted: Labels, least: float) -> Pairs:
    """All pairs of boxes whose IoU, to the last digit that of `box_iou`, is `least` or more.

    They are numbered through all `images`, one after the other. An image absent from a side has none there.
    """
    parts: list[Pairs] = []
    first_guess = first_truth = begin = count = 0
    for end, image in enumerate(images, 1):
        count += len(truth.get(image, ())) * len(predicted.get(image, ()))
        if count <= PAIRS and end < len(images):
            continue
        sides = [[labels.get(i, ()) for i in images[begin:end]] for labels in (predicted, truth)]
        near = _near(sides[0], sides[1], least)
        parts.append(Pairs(near.predicted + first_guess, near.truth + first_truth, near.share))
        first_guess, first_truth = (
            first + sum(map(len, side)) for first, side in zip((first_guess, first_truth), sides, strict=True)
        )
        begin, count = end, 0
    if not parts:
        return Pairs(np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0))
    together = (np.concatenate([getattr(p, name) for p in parts]) for name in ("predicted", "truth", "share"))
    return Pairs(*together)


def _near(
    predicted: Sequence[Sequence[Annotation]], truth: Sequence[Sequence[Annotation]], least: float
) -> Pairs:
    guesses, true = _boxes(predicted), _boxes(truth)
    of_image, on_image = (np.array([len(some) for some in side], dtype=int) for side in (predicted, truth))
    # Every prediction, as often as its image has truths, and these one after the other.
    image_of = np.repeat(np.arange(len(predicted)), of_image)
    times = on_image[image_of]
    p = np.repeat(np.arange(len(guesses)), times)
    first = np.cumsum(on_image) - on_image
    t = np.arange(len(p)) - np.repeat(np.cumsum(times) - times, times) + first[image_of[p]]
    one, other = guesses[p], true[t]
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared = np.clip(sides, 0, None).prod(axis=1)
    union = box_area(guesses)[p] + box_area(true)[t] - shared
    share = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    enough = np.flatnonzero(share >= least)
    return Pairs(p[enough], t[enough], share[enough])


def _boxes(side: Sequence[Sequence[Annotation]]) -> Floats:
    return np.array([a.box for some in side for a in some], dtype=float).reshape(-1, 4)


class Matching:
    """`match` of many images, asked for one by one: the overlaps of boxes are computed at once.

    Images that hold anything else, or what is ignored, go through `match` themselves.
    """

    def __init__(self, images: Iterable[str], truth: Labels, predicted: Labels, iou: float = 0.5) -> None:
        self._truth, self._predicted, self._iou = truth, predicted, iou
        self._scores: dict[str, list[float]] = {}
        plain = [i for i in images if _are_plain(truth.get(i, ())) and _are_plain(predicted.get(i, ()))]
        # Image -> (prediction, truth, IoU) of all that overlap enough, sorted; and of those that do a little.
        self._near: dict[str, list[tuple[int, int, float]]] = {image: [] for image in plain}
        self._touching: dict[str, list[tuple[int, int, float]]] = {image: [] for image in plain}
        pairs = near_pairs(plain, truth, predicted, min(TOUCHING, _least(iou)))
        guesses, true = (
            np.cumsum([0, *(len(some.get(i, ())) for i in plain)]) for some in (predicted, truth)
        )
        where = np.searchsorted(guesses, pairs.predicted, side="right") - 1
        p, t = pairs.predicted - guesses[where], pairs.truth - true[where]
        triples = zip(p.tolist(), t.tolist(), pairs.share.tolist(), strict=True)
        least = _least(iou)
        for number, triple in zip(where.tolist(), triples, strict=True):
            (self._near if triple[2] >= least else self._touching)[plain[number]].append(triple)

    def touching(self, image: str) -> list[tuple[int, int, float]] | None:
        """(prediction, truth, IoU) of all pairs that overlap by `TOUCHING`; None where that is not known."""
        return self._near[image] + self._touching[image] if image in self._near else None

    def match(self, image: str, threshold: float = 0.0, class_agnostic: bool = False) -> list[Match]:
        """The triples of one image, of the predictions that reach `threshold`; numbers are those of all."""
        truth, predicted = self._truth.get(image, ()), self._predicted.get(image, ())
        if (scores := self._scores.get(image)) is None:
            scores = self._scores[image] = [score_of(a) for a in predicted]
        if image not in self._near:
            kept = [p for p, score in enumerate(scores) if score >= threshold]
            matches = match(truth, [predicted[p] for p in kept], self._iou, class_agnostic)
            return [(t, None if p is None else kept[p], share) for t, p, share in matches]
        near: dict[int, list[tuple[int, float]]] = {}
        for p, t, share in self._near[image]:
            if class_agnostic or predicted[p].label == truth[t].label:
                near.setdefault(p, []).append((t, share))
        return _greedy(scores, near, len(truth), threshold)


def _greedy(
    scores: Sequence[float], near: Mapping[int, Sequence[tuple[int, float]]], truths: int, threshold: float
) -> list[Match]:
    """The triples of one image of which all (truth, IoU) `near` each prediction are known, by truth."""
    free = [True] * truths
    triples: list[Match] = []
    for p in sorted(range(len(scores)), key=lambda p: -scores[p]):
        if scores[p] < threshold:
            break
        best, most = -1, 0.0
        for t, share in near.get(p, ()):
            if free[t] and share >= most:
                best, most = t, share
        if best < 0:
            triples.append((None, p, None))
        else:
            free[best] = False
            triples.append((best, p, most))
    return triples + [(t, None, None) for t, is_free in enumerate(free) if is_free]


def _are_plain(annotations: Sequence[Annotation]) -> bool:
    return all(a.box is not None and not a.ignored for a in annotations)


def count_errors(truth: Sequence[Annotation], predicted: Sequence[Annotation], iou: float = 0.5) -> Errors:
    """The errors on one image, objects matched across classes. Give predictions at their threshold."""
    return errors_of(match(truth, predicted, iou, class_agnostic=True), truth, predicted)


def errors_of(
    matches: Sequence[Match], truth: Sequence[Annotation], predicted: Sequence[Annotation]
) -> Errors:
    """The errors in the triples of one image, matched across classes."""
    pairs = [(t, p) for t, p, _ in matches if t is not None and p is not None]
    return Errors(
        missed=sum(p is None for _, p, _ in matches),
        false=sum(t is None for t, _, _ in matches),
        mislabelled=sum(truth[t].label != predicted[p].label for t, p in pairs),
    )


def above(predicted: Sequence[Annotation], threshold: float) -> list[Annotation]:
    """The predictions whose score is `threshold` or more; without a score means certain."""
    return [a for a in predicted if score_of(a) >= threshold]


def objects(annotations: Sequence[Annotation]) -> list[Annotation]:
    """All but the keypoints, which are parts of their objects and not matched by themselves."""
    return [a for a in annotations if a.keypoints is None]


def score_of(annotation: Annotation) -> float:
    """A model's score; an annotation without one counts as certain, 1.0."""
    return 1.0 if annotation.score is None else annotation.score

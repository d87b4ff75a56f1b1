"""COCO's average precision of plain boxes, all images at once: the arrays of `coco_sweep`, bit for bit.

The library compares each image and class by itself, which takes longer than all the rest of an evaluation.
Here the overlaps of all boxes are computed together, and only boxes with several candidates are matched one
by one. The steps and their order are those of cocodataset/cocoapi, cocoeval.py, so that not even the last
digit differs; tests compare with the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.common import Labels, Sizes
from workflow.shapes.matching import Pairs, near_pairs, score_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Of the predictions of one class: images, scores, hits, and the images' truths.
Found = tuple[Ints, Floats, NDArray[np.bool_], Ints]
# COCO computes the IoU from x, y, width, height: another last digit than from corners.
MARGIN = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """All boxes of one side, image after image: class number (n,), xyxy (n, 4), score (n,), image (n,)."""

    classes: Ints
    boxes: Floats
    scores: Floats
    images: Ints


def are_plain(truth: Labels, predicted: Labels) -> bool:
    """Whether all are boxes, and nothing is ignored."""
    sides = (a for labels in (truth, predicted) for some in labels.values() for a in some)
    return all(a.box is not None and not a.ignored for a in sides)


def box_sweep(
    images: Sizes,
    truth: Labels,
    predicted: Labels,
    classes: Sequence[str],
    ious: Sequence[float],
    recalls: Sequence[float],
    most: int,
) -> tuple[Floats, Floats, Floats, list[Found]]:
    """Precision and scores (IoUs, classes, recalls) and recall (IoUs, classes); -1 of a class without truths.

    Of an image and class the `most` best predictions count, of equals the earlier. Of each class, also what
    was found: of its predictions by falling score the number of the image, the score, and the hits
    (IoUs, predictions); and how many truths each image has. Images are numbered in the order of their ids.
    """
    order = sorted(images)
    guesses, true = (_side(labels, order, classes) for labels in (predicted, truth))
    pairs = _coco_pairs(near_pairs(order, truth, predicted, ious[0] - MARGIN), guesses, true)
    ranked = np.lexsort((-guesses.scores, guesses.classes, guesses.images))
    kept = _best(guesses, ranked, most)
    hits = _hits(pairs, guesses, ranked, kept, ious)
    precision = -np.ones((len(ious), len(classes), len(recalls)))
    scores, recall = precision.copy(), -np.ones((len(ious), len(classes)))
    found: list[Found] = []
    for number in range(len(classes)):
        truths = np.bincount(true.images[true.classes == number], minlength=len(order))
        count = int(truths.sum())
        ours = ranked[kept[ranked] & (guesses.classes[ranked] == number)]
        ours = ours[np.argsort(-guesses.scores[ours], kind="stable")]
        found.append((guesses.images[ours], guesses.scores[ours], hits[:, ours], truths))
        if not count:
            continue
        for k in range(len(ious)):
            row = _curve(hits[k, ours], guesses.scores[ours], count, recalls)
            precision[k, number], scores[k, number], recall[k, number] = row
    return precision, scores, recall, found


def _side(labels: Labels, order: Sequence[str], classes: Sequence[str]) -> _Side:
    index = {label: n for n, label in enumerate(classes)}
    flat = [a for image in order for a in labels.get(image, ())]
    counts = [len(labels.get(image, ())) for image in order]
    return _Side(
        np.array([index[a.label] for a in flat], dtype=np.int64),
        np.array([a.box for a in flat], dtype=float).reshape(-1, 4),
        np.array([score_of(a) for a in flat], dtype=float),
        np.repeat(np.arange(len(order)), np.array(counts, dtype=np.int64)),
    )


def _coco_pairs(pairs: Pairs, guesses: _Side, true: _Side) -> Pairs:
    """Those of one class, with the IoU as COCO's own code has it."""
    same = guesses.classes[pairs.predicted] == true.classes[pairs.truth]
    p, t = pairs.predicted[same], pairs.truth[same]
    (d, g), wh = (guesses.boxes[p], true.boxes[t]), slice(2, 4)
    d, g = (np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]) for b in (d, g))
    sides = np.minimum(d[:, wh] + d[:, :2], g[:, wh] + g[:, :2]) - np.maximum(d[:, :2], g[:, :2])
    shared = sides[:, 0] * sides[:, 1]
    union = d[:, 2] * d[:, 3] + g[:, 2] * g[:, 3] - shared
    return Pairs(p, t, shared / union)


def _best(guesses: _Side, ranked: Ints, most: int) -> NDArray[np.bool_]:
    """Which predictions are among the `most` best of their image and class."""
    places = np.arange(len(ranked))
    image, name = guesses.images[ranked], guesses.classes[ranked]
    new = np.ones(len(ranked), dtype=bool)
    new[1:] = (image[1:] != image[:-1]) | (name[1:] != name[:-1])
    kept = np.zeros(len(ranked), dtype=bool)
    kept[ranked] = places - np.maximum.accumulate(np.where(new, places, 0)) < most
    return kept


def _hits(
    pairs: Pairs, guesses: _Side, ranked: Ints, kept: NDArray[np.bool_], ious: Sequence[float]
) -> NDArray[np.bool_]:
    """Which predictions find a truth at each IoU: (IoUs, predictions)."""
    least = np.minimum(np.array(ious), 1 - 1e-10)[:, None]
    use = kept[pairs.predicted]
    p, t, share = pairs.predicted[use], pairs.truth[use], pairs.share[use]
    of_guess, of_truth = np.bincount(p, minlength=1), np.bincount(t, minlength=1)
    # Who has but one candidate, that nobody else wants, gets it where it overlaps enough.
    alone = (of_guess[p] == 1) & (of_truth[t] == 1)
    hits = np.zeros((len(ious), len(guesses.scores)), dtype=bool)
    hits[:, p[alone]] = share[alone] >= least
    candidates: dict[int, list[tuple[int, float]]] = {}
    for guess, truth, overlap in zip(
        p[~alone].tolist(), t[~alone].tolist(), share[~alone].tolist(), strict=True
    ):
        candidates.setdefault(guess, []).append((truth, overlap))
    rank = np.empty(len(ranked), dtype=np.int64)
    rank[ranked] = np.arange(len(ranked))
    for k, minimum in enumerate(least[:, 0].tolist()):
        taken: set[int] = set()
        for guess in sorted(candidates, key=rank.__getitem__):
            best, most = -1, minimum
            for truth, overlap in candidates[guess]:
                if overlap >= most and truth not in taken:
                    best, most = truth, overlap
            if best >= 0:
                taken.add(best)
                hits[k, guess] = True
    return hits


def _curve(
    hits: NDArray[np.bool_], scores: Floats, truths: int, recalls: Sequence[float]
) -> tuple[Floats, Floats, float]:
    """Precision and score at each recall, and the recall reached, of predictions by falling score."""
    right = np.cumsum(hits, dtype=float)
    recall = right / truths
    precision = right / np.arange(1, len(hits) + 1)
    # The best precision from here on.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, recalls, side="left")
    reached = places < len(hits)
    at, score = np.zeros(len(recalls)), np.zeros(len(recalls))
    at[reached], score[reached] = precision[places[reached]], scores[places[reached]]
    return at, score, float(recall[-1]) if len(hits) else 0.0

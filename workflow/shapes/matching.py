"""Which predicted object is which true one.

Greedy matching as COCO has it (cocodataset/cocoapi, cocoeval.py), which metrics, reports and the App share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflow.records import Annotation
from workflow.shapes.overlap import coverage
from workflow.shapes.overlap import iou as overlap_of

Match = tuple[int | None, int | None, float | None]


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
    least = min(iou, 1 - 1e-10)
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


def count_errors(truth: Sequence[Annotation], predicted: Sequence[Annotation], iou: float = 0.5) -> Errors:
    """The errors on one image, objects matched across classes. Give predictions at their threshold."""
    matches = match(truth, predicted, iou, class_agnostic=True)
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
    return [a for a in annotations if a.geometry != "keypoints"]


def score_of(annotation: Annotation) -> float:
    """A model's score; an annotation without one counts as certain, 1.0."""
    return 1.0 if annotation.score is None else annotation.score

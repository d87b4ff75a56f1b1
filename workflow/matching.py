"""Which predicted box is which true one, and what is wrong on one image.

Greedy matching as COCO has it (cocodataset/cocoapi, cocoeval.py), which metrics, reports and the App share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workflow.geometry import box_iou
from workflow.records import Annotation

Match = tuple[int | None, int | None, float | None]


@dataclass(frozen=True, slots=True)
class Errors:
    """What is wrong on one image: truths missed, boxes that mean nothing, boxes of a wrong class."""

    missed: int
    false: int
    mislabelled: int

    @property
    def total(self) -> int:
        return self.missed + self.false + self.mislabelled


def match_boxes(
    truth: Sequence[Annotation],
    predicted: Sequence[Annotation],
    iou: float = 0.5,
    class_agnostic: bool = False,
) -> list[Match]:
    """COCO's greedy matching of one image's boxes: (truth index, prediction index, IoU) triples.

    The best scored prediction chooses first, and takes the free truth it overlaps most, if by `iou`
    or more; of equals the later, as cocoeval.py does. Every box occurs once; what found no partner
    has None for it and for the IoU. Predictions come by falling score, then the missed truths.
    """
    overlap = box_iou(_corners(predicted), _corners(truth))
    if not class_agnostic:
        names = np.array([t.label for t in truth], dtype=object)
        overlap[np.array([p.label for p in predicted], dtype=object)[:, None] != names[None, :]] = -1
    least = min(iou, 1 - 1e-10)
    matches: list[Match] = []
    free = np.ones(len(truth), dtype=bool)
    for p in np.argsort([-score_of(a) for a in predicted], kind="stable").tolist():
        row = np.where(free, overlap[p], -1)
        t = len(row) - 1 - int(row[::-1].argmax()) if len(row) else -1
        if t >= 0 and row[t] >= least:
            free[t] = False
            matches.append((t, p, float(row[t])))
        else:
            matches.append((None, p, None))
    return matches + [(t, None, None) for t in np.flatnonzero(free).tolist()]


def count_errors(truth: Sequence[Annotation], predicted: Sequence[Annotation], iou: float = 0.5) -> Errors:
    """The errors on one image, boxes matched across classes. Give predictions at their threshold."""
    matches = match_boxes(truth, predicted, iou, class_agnostic=True)
    pairs = [(t, p) for t, p, _ in matches if t is not None and p is not None]
    return Errors(
        missed=len(truth) - len(pairs),
        false=len(predicted) - len(pairs),
        mislabelled=sum(truth[t].label != predicted[p].label for t, p in pairs),
    )


def above(predicted: Sequence[Annotation], threshold: float) -> list[Annotation]:
    """The predictions whose score is `threshold` or more; without a score means certain."""
    return [a for a in predicted if score_of(a) >= threshold]


def score_of(annotation: Annotation) -> float:
    """A model's score; a box without one counts as certain, 1.0."""
    return 1.0 if annotation.score is None else annotation.score


def _corners(annotations: Sequence[Annotation]) -> NDArray[np.float64]:
    return np.array([a.box for a in annotations], dtype=float).reshape(-1, 4)

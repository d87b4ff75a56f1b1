"""How well scores of one class rank images: average precision, AUROC, precision by recall, and the best cut.

An image without a score for the class ranks below all that have one. Average precision and AUROC (the chance
that an image of the class has a higher score than one that is not, half of it where they tie) are those of
scikit-learn, `average_precision_score` and `roc_auc_score`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.calibration import f1_curve
from workflow.metrics.coco import RECALLS
from workflow.metrics.common import best_cut, share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def ranking(scores: Floats, hits: Bools, truths: int, images: int) -> dict[str, Any]:
    """`ap`, `auroc`, `best_threshold` and `best_f1` of one class; None for what does not exist.

    `scores` and `hits` are those of the images that have one, `truths` of all `images` are of the class.
    """
    threshold, f1 = best_cut(scores, hits, truths)
    return {
        "ap": average_precision(scores, hits, truths),
        "auroc": _auroc(scores, hits, truths, images),
        "best_threshold": threshold,
        "best_f1": f1,
    }


def average_precision(scores: Floats, hits: Bools, truths: int) -> float | None:
    """The sum of precision times gain of recall, over the distinct scores from the highest down.

    Images without a score for the class add nothing.
    """
    if not truths:
        return None
    precision, recall = _by_cut(scores, hits, truths)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def curves(
    scores: Floats, hits: Bools, truths: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Precision at RECALLS, the best of this recall or more, and F1 at CUTS; None without truths."""
    if not truths:
        return None, None
    precision, recall = _by_cut(scores, hits, truths)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    at = best[np.searchsorted(recall, RECALLS, side="left")]
    return tuple(at.tolist()), f1_curve(scores, hits, truths)


def _by_cut(scores: Floats, hits: Bools, truths: int) -> tuple[Floats, Floats]:
    """Precision and recall after each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.zeros(0, int)
    return right[ends] / (ends + 1), right[ends] / truths


def _auroc(scores: Floats, hits: Bools, truths: int, images: int) -> float | None:
    """The rank sum of Mann and Whitney; None where all images are of the class, or none."""
    others = np.sort(scores[~hits])
    silent_truths = truths - int(hits.sum())
    silent_others = images - truths - len(others)
    above = np.searchsorted(others, scores[hits], side="left")
    tied = np.searchsorted(others, scores[hits], side="right") - above
    pairs = float((above + tied / 2 + silent_others).sum()) + silent_truths * silent_others / 2
    return share(pairs, truths * (images - truths))

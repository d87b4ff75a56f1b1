"""Pascal VOC's average precision: the area under the curve of all points, at one IoU.

Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010, and the devkit of 2010 to 2012,
whose area replaced the eleven points of 2007. A guess speaks for the truth of its class that it overlaps
most, and is wrong where a better scored one spoke for that already: COCO would give it the next best. A truth
that is ignored (VOC's "difficult") is no miss, and what overlaps it most no error. All guesses count.
Boxes are continuous here: the devkit adds a pixel to each side. Of equal scores the earlier counts first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.common import Labels, mean_of
from workflow.metrics.pairing import best_pairs, by_score, overlapping
from workflow.shapes.matching import score_of


def voc_precision(
    images: Sequence[str], truth: Labels, predicted: Labels, classes: Sequence[str], ious: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """{IoU: {"map": mean over the classes with a truth, "per_class": {label: AP or None}}}."""
    if not ious:
        return {}
    order = sorted(images)
    index = {label: n for n, label in enumerate(classes)}
    guesses, true = ([a for i in order for a in side.get(i, ())] for side in (predicted, truth))
    of_guess, of_truth = (
        np.array([index[a.label] for a in side], dtype=np.int64) for side in (guesses, true)
    )
    scores = np.array([score_of(a) for a in guesses], dtype=float)
    ignored = np.array([a.ignored for a in true], dtype=bool)
    counts = np.bincount(of_truth[~ignored], minlength=len(classes))
    pairs = overlapping(order, truth, predicted, min(ious))
    same = of_guess[pairs.predicted] == of_truth[pairs.truth]
    share, which = best_pairs(pairs.predicted[same], pairs.truth[same], pairs.share[same], len(guesses))
    ranked = by_score(scores)
    told = {}
    for iou in ious:
        found = (share >= iou) & (which >= 0)
        counted = ~(found & ignored[which]) if len(true) else np.ones(len(guesses), dtype=bool)
        hits = np.zeros(len(guesses), dtype=bool)
        claims = ranked[found[ranked] & counted[ranked]]
        hits[claims[np.unique(which[claims], return_index=True)[1]]] = True
        kept = ranked[counted[ranked]]
        per_class = {
            label: _area(hits[kept[of_guess[kept] == n]], int(counts[n])) for n, label in enumerate(classes)
        }
        told[f"{iou:g}"] = {"map": mean_of(list(per_class.values())), "per_class": per_class}
    return told


def _area(hits: NDArray[np.bool_], truths: int) -> float | None:
    """The area under the best precision of each recall or more; None without truths."""
    if not truths:
        return None
    right = np.cumsum(hits)
    precision = np.maximum.accumulate((right / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float((precision * hits).sum() / truths)

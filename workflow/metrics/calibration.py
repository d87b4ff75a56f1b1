"""Whether scores mean what they say: of guesses with a score of .8, are 80 in 100 right?

The reliability curve and the expected calibration error (ECE; Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017) over 15 bins of equal width, each without its lower end; of objects, a guess is right
where it finds a truth of its class at IoU .5 (Küppers et al., "Multivariate Confidence Calibration for Object
Detection", CVPR Workshops 2020, by the score alone).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

BINS = 15
# The scores at which F1 is told.
CUTS = tuple(n / 100 for n in range(101))


def calibration(scores: ArrayLike, hits: ArrayLike) -> dict[str, Any]:
    """{"bins": 15, "ece": from 0 to 1, "curve": [[mean score, share that is right, guesses], ...]}.

    The curve has a row a bin that holds any, lowest scores first. Empty where there are no guesses.
    """
    sure, right = np.asarray(scores, dtype=float), np.asarray(hits, dtype=float)
    if not len(sure):
        return {}
    place = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    counts, said, were = (np.bincount(place, values, BINS) for values in (None, sure, right))
    used = np.flatnonzero(counts)
    rows = zip(said[used] / counts[used], were[used] / counts[used], counts[used], strict=True)
    curve = [[float(score), float(share), int(count)] for score, share, count in rows]
    return {"bins": BINS, "ece": float(np.abs(were - said).sum() / len(sure)), "curve": curve}


def f1_curve(scores: ArrayLike, hits: ArrayLike, truths: int) -> tuple[float, ...] | None:
    """F1 of the guesses from each of CUTS on; None without truths."""
    if not truths:
        return None
    order = np.argsort(np.asarray(scores, dtype=float), kind="stable")
    ranked, right = np.asarray(scores, dtype=float)[order], np.asarray(hits, dtype=float)[order]
    first = np.searchsorted(ranked, CUTS, side="left")
    found = np.append(np.cumsum(right[::-1])[::-1], 0.0)[first]
    return tuple((2 * found / (len(ranked) - first + truths)).tolist())

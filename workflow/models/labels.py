"""From a classifier's scores to guesses of the whole image, in the project's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.models import Guesses
from workflow.records import Annotation, Provenance


def probabilities(logits: Any, exclusive: bool) -> NDArray[np.float64]:
    """Logits (image, class), a tensor, as scores in [0, 1]: softmax where classes exclude each other."""
    logits = logits.float()
    scores = logits.softmax(dim=-1) if exclusive else logits.sigmoid()
    return scores.double().cpu().numpy()


def to_labels(
    scores: NDArray, labels: Mapping[int, str], exclusive: bool, threshold: float, provenance: Provenance
) -> Guesses:
    """Labels of one image from its scores (class,), best first: those that reach the threshold.

    `labels` are the scores' positions that mean something, as `boxes.known_labels` gives them. Where
    several mean one label, scores of classes that exclude each other add up; of others the best counts.
    """
    best: dict[str, float] = {}
    for index, label in labels.items():
        score, before = float(scores[index]), best.get(label, 0.0)
        # A sum of shares may pass 1 by a rounding error.
        best[label] = min(before + score, 1.0) if exclusive else max(before, score)
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Annotation(label, provenance, score=score) for label, score in ranked if score >= threshold)

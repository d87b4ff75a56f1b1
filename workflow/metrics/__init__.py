"""Quality in numbers, without an App: what a model is worth on images whose truth is known.

`measure` has the numbers of any task: average precision for what has a place (detection.py), accuracy or
average precision for labels of whole images (classification.py), IoU of classes by pixels (semantic.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow.metrics.classification import ClassificationMetrics, classification_metrics
from workflow.metrics.common import NONE, Column, Headline, Labels, Metrics, Sizes
from workflow.metrics.detection import DetectionMetrics, detection_metrics
from workflow.metrics.semantic import SemanticMetrics, semantic_metrics

__all__ = ["NONE", "Column", "Headline", "Labels", "Metrics", "Sizes", "from_json", "measure"]


def measure(
    task: str,
    images: Sizes,
    truth: Labels,
    predicted: Labels,
    classes: Sequence[str],
    keypoints: Sequence[str] = (),
) -> Metrics:
    """All numbers of one set of `images`, {id: (width, height) in pixels}, at the task `task`.

    `truth` and `predicted` are {image id: annotations}; an image absent from them has none there, and
    counts. A prediction without a score counts as certain. Raises StageError for an image that is not in
    `images`, FormatError for an annotation that is not of the task, or of an unknown label.
    """
    if task in ("classification", "multilabel-classification"):
        return classification_metrics(images, truth, predicted, classes, task)
    if task == "semantic-segmentation":
        return semantic_metrics(images, truth, predicted, classes)
    return detection_metrics(images, truth, predicted, classes, task, keypoints)


def from_json(record: Mapping[str, Any]) -> Metrics:
    """The object whose `to_json` this is, as it was or read back from a file."""
    if record["task"] in ("classification", "multilabel-classification"):
        return ClassificationMetrics.from_json(record)
    if record["task"] == "semantic-segmentation":
        return SemanticMetrics.from_json(record)
    return DetectionMetrics.from_json(record)

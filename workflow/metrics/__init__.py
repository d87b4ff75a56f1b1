"""Quality in numbers, without an App: what a model is worth on images whose truth is known.

`measure` has the numbers of any task: average precision for what has a place (detection.py), accuracy or
average precision for labels of whole images (classification.py), IoU of classes by pixels (semantic.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workflow.metrics.classification import weigh_classification
from workflow.metrics.classification_record import ClassificationMetrics
from workflow.metrics.common import NONE, Column, Headline, Labels, Metrics, Sizes
from workflow.metrics.detection import weigh_detection
from workflow.metrics.detection_record import DetectionMetrics
from workflow.metrics.evidence import Evidence
from workflow.metrics.rules import RULES, Rules
from workflow.metrics.semantic import weigh_semantic
from workflow.metrics.semantic_record import SemanticMetrics
from workflow.schema import Schema
from workflow.tasks import Kind, task_named

__all__ = [
    "NONE",
    "Column",
    "Evidence",
    "Headline",
    "Labels",
    "Metrics",
    "Rules",
    "Sizes",
    "from_json",
    "measure",
    "weigh",
]


# What labels are of -> who measures them, and what holds the numbers.
MEASURES: Mapping[Kind, Callable[[Schema, Sizes, Labels, Labels, Rules], tuple[Metrics, Evidence]]] = {
    "labels": lambda schema, images, truth, said, _: weigh_classification(schema, images, truth, said),
    "objects": weigh_detection,
    "pixels": lambda schema, images, truth, said, _: weigh_semantic(schema, images, truth, said),
}
NUMBERS: Mapping[Kind, Callable[[Mapping[str, Any]], Metrics]] = {
    "labels": ClassificationMetrics.from_json,
    "objects": DetectionMetrics.from_json,
    "pixels": SemanticMetrics.from_json,
}


def measure(schema: Schema, images: Sizes, truth: Labels, predicted: Labels, rules: Rules = RULES) -> Metrics:
    """All numbers of one set of `images`, {id: (width, height) in pixels}, at the task of `schema`.

    `truth` and `predicted` are {image id: annotations}; an image absent from them has none there, and
    counts. A prediction without a score counts as certain. Objects are counted by the `rules`. Raises
    StageError for an image that is not in `images`, FormatError for an annotation that is not of the task, or
    of an unknown label.
    """
    return weigh(schema, images, truth, predicted, rules)[0]


def weigh(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels, rules: Rules = RULES
) -> tuple[Metrics, Evidence]:
    """The same numbers, and what the score is made of, image by image in the order of their ids.

    From that `workflow.metrics.compare` says how sure the score is, and whether another's is better.
    """
    return MEASURES[schema.task.kind](schema, images, truth, predicted, rules)


def from_json(record: Mapping[str, Any]) -> Metrics:
    """The object whose `to_json` this is, as it was or read back from a file."""
    return NUMBERS[task_named(record["task"]).kind](record)

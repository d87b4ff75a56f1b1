"""What all metrics have in common: the words a report shows them by, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from workflow.errors import FormatError, StageError
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.shapes.matching import Errors

NONE = "(none)"

Labels = Mapping[str, Sequence[Annotation]]
Sizes = Mapping[str, tuple[int, int]]
Confusion = tuple[tuple[int, ...], ...]


class Headline(NamedTuple):
    """A number for a card: `key` is the field it comes from, `hint` says how to read it."""

    key: str
    name: str
    hint: str
    value: float | None


class Column(NamedTuple):
    """A column of the table of classes: a `count` of the truth, a `share`, or one whose `change` counts."""

    key: str
    name: str
    kind: Literal["count", "share", "change"]


class Metrics(Protocol):
    """The numbers of one model on one set of images, whatever the task. What does not exist is None.

    `score` is the one number that selects an epoch and that a verdict speaks of, `metric` its name.
    `per_class[label]` holds the `columns`, `means` what stands below them. `confusion` is square,
    len(classes) + 1: rows true, columns predicted, "(none)" last. `shown` are the predictions a user of
    the model sees, `errors` counts what is wrong with those of one image.
    """

    @property
    def task(self) -> str: ...
    @property
    def images(self) -> int: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def score(self) -> float | None: ...
    @property
    def metric(self) -> str: ...
    @property
    def headlines(self) -> tuple[Headline, ...]: ...
    @property
    def columns(self) -> tuple[Column, ...]: ...
    @property
    def per_class(self) -> dict[str, dict[str, Any]]: ...
    @property
    def means(self) -> dict[str, float | None]: ...
    @property
    def confusion(self) -> Confusion: ...
    @property
    def calibration(self) -> dict[str, Any]:
        """Whether scores mean what they say (calibration.py); empty where there are none."""
        ...

    def shown(self, predicted: Sequence[Annotation]) -> list[Annotation]: ...
    def errors(self, truth: Sequence[Annotation], predicted: Sequence[Annotation]) -> Errors: ...
    def to_json(self) -> dict[str, Any]:
        """What JSON can hold; `workflow.metrics.from_json` gives back an equal object."""
        ...


def check(schema: Schema, images: Sizes, truth: Labels, predicted: Labels) -> None:
    """StageError for labels of an image that is not in `images`; FormatError for what is not of the task."""
    for what, labels in (("truth", truth), ("predictions", predicted)):
        stray = sorted(set(labels) - set(images))
        if stray:
            raise StageError(
                f"{what}: image {stray[0]} is not among the {len(images)} evaluated ({len(stray)} such)",
                "evaluate with the catalog the labels were made from",
            )
        for image, annotations in labels.items():
            for a in annotations:
                _check_one(f"{what}: image {image}", schema, a)


def _check_one(where: str, schema: Schema, a: Annotation) -> None:
    if not schema.task.takes(a):
        kinds = schema.task.geometry or ("label of the whole image",)
        wanted = " or ".join(kind.replace("_", " ") for kind in kinds)
        raise FormatError(f"{where} has a {a.label!r} that is not a {wanted}")
    if not schema.names(a):
        known = schema.keypoints if a.geometry == "keypoints" else schema.classes
        raise FormatError(f"{where} has the label {a.label!r}, none of {list(known)}")


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the numbers that exist."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def share(part: float, whole: float) -> float | None:
    """A part of a whole; None of nothing."""
    return part / whole if whole else None


def best_cut(scores: ArrayLike, hits: ArrayLike, truths: int) -> tuple[float, float | None]:
    """The score at which F1 = 2 TP / (predictions + truths) is highest, of equals the higher, and that F1.

    0.0, so that everything counts, where no prediction is right; F1 is None where there are no truths.
    """
    if not truths:
        return 0.0, None
    right = np.asarray(hits, dtype=bool)
    if not right.any():
        return 0.0, 0.0
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    ranked = np.asarray(scores, dtype=float)[order]
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(ranked) + 1) + truths)
    # Predictions of one score stay or go together: only the last of each is a place to cut.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    best = ends[f1[ends].argmax()]
    return float(ranked[best]), float(f1[best])


def tupled(table: Sequence[Sequence[int]]) -> Confusion:
    return tuple(tuple(row) for row in table)

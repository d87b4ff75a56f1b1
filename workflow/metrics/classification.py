"""Labels of whole images: accuracy where an image has one, average precision where it has any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.errors import FormatError
from workflow.metrics.calibration import calibration
from workflow.metrics.classification_record import ClassificationMetrics
from workflow.metrics.coco import Ranks
from workflow.metrics.common import Confusion, Labels, Sizes, best_cut, check, mean_of, share, tupled
from workflow.metrics.evidence import Counts, RankedLabels
from workflow.metrics.ranked import curves, ranking
from workflow.schema import Schema
from workflow.shapes.matching import above, score_of

# With five classes or fewer, one of the best five is always right.
TOP = 5
Names = Mapping[str, list[str]]


def classification_metrics(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels
) -> ClassificationMetrics:
    """All numbers of one set of `images`; see `workflow.metrics.measure`.

    Of one label an image, an image without a true one is left out; FormatError for two.
    """
    return weigh_classification(schema, images, truth, predicted)[0]


def weigh_classification(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels
) -> tuple[ClassificationMetrics, Counts | RankedLabels]:
    """The numbers, and what the score is made of; see `workflow.metrics.weigh`."""
    check(schema, images, truth, predicted)
    true = {image: [a.label for a in truth.get(image, ())] for image in sorted(images)}
    ranked = {i: sorted(predicted.get(i, ()), key=lambda a: -score_of(a)) for i in true}
    if schema.task.exclusive:
        return _single(true, ranked, schema), _counts(true, ranked, schema.classes)
    scored = _scored(true, ranked, schema.classes)
    return _multiple(true, ranked, scored, schema), RankedLabels([one.ranks() for one in scored])


def _counts(true: Names, ranked: Labels, classes: Sequence[str]) -> Counts:
    """Of one label an image: which it has, and which is guessed; nothing of an image without a true one."""
    truths, guesses = (np.zeros((len(true), len(classes)), dtype=np.int64) for _ in range(2))
    for row, (image, labels) in enumerate(true.items()):
        for label in labels:
            truths[row, classes.index(label)] = 1
        for best in ranked[image][:1] if labels else ():
            guesses[row, classes.index(best.label)] = 1
    return Counts(truths, guesses, truths & guesses)


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """All scores of one class: numbers of the images, the scores, whether the image is of the class.

    `truths` (images,) says which are. They are in the order of the images, and in each by falling score.
    """

    images: NDArray[np.int64]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    truths: NDArray[np.int64]

    def ranks(self) -> Ranks:
        """The same by falling score."""
        order = np.argsort(-self.scores, kind="stable")
        hit = self.hits[order][None]
        return Ranks(self.images[order], self.scores[order], hit, np.ones_like(hit), self.truths)


def _scored(true: Names, ranked: Labels, classes: Sequence[str]) -> list[_Scored]:
    """The scores of each class. Of one label told twice on an image the best counts."""
    index = {label: n for n, label in enumerate(classes)}
    number = {image: n for n, image in enumerate(true)}
    first = {(number[i], index[a.label]): score_of(a) for i in true for a in reversed(ranked[i])}
    pairs = sorted(first)
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    scores = np.array([first[pair] for pair in pairs], dtype=np.float64)
    truths = np.zeros((len(classes), len(true)), dtype=np.int64)
    for image, labels in true.items():
        for label in labels:
            truths[index[label], number[image]] = 1
    places = [np.flatnonzero(rows[:, 1] == n) for n in range(len(classes))]
    return [
        _Scored(rows[at, 0], scores[at], truths[n, rows[at, 0]].astype(bool), truths[n])
        for n, at in enumerate(places)
    ]


def _single(true: Names, ranked: Labels, schema: Schema) -> ClassificationMetrics:
    classes = schema.classes
    for image, labels in true.items():
        if len(labels) > 1:
            raise FormatError(f"truth: image {image} has {len(labels)} labels, and one is wanted")
    known = [image for image, labels in true.items() if labels]
    predictions = {i: [a.label for a in ranked[i][:1]] for i in known}
    right = [true[i] == predictions[i] for i in known]
    within = [true[i][0] in [a.label for a in ranked[i][:TOP]] for i in known]
    sure = [score_of(ranked[i][0]) if ranked[i] else 0.0 for i in known]
    names = {i: true[i] for i in known}
    calibrated = calibration(sure, right)
    return ClassificationMetrics(
        task=schema.task.name,
        classes=classes,
        images=len(known),
        accuracy=share(sum(right), len(known)),
        confusion=_confusion(names, predictions, classes),
        top5=share(sum(within), len(known)) if len(classes) > TOP else None,
        calibration_error=calibrated.get("ece"),
        calibration=calibrated,
        **_by_class(names, predictions, _scored(names, ranked, classes), classes),
    )


def _multiple(
    true: Names, ranked: Labels, scored: Sequence[_Scored], schema: Schema
) -> ClassificationMetrics:
    classes = schema.classes
    scores = [score_of(a) for image in true for a in ranked[image]]
    hits = [a.label in true[image] for image in true for a in ranked[image]]
    threshold, f1 = best_cut(scores, hits, sum(map(len, true.values())))
    predictions = {i: [a.label for a in above(ranked[i], threshold)] for i in true}
    return ClassificationMetrics(
        task=schema.task.name,
        classes=classes,
        images=len(true),
        accuracy=share(sum(set(true[i]) == set(predictions[i]) for i in true), len(true)),
        confusion=_confusion(true, predictions, classes),
        f1=f1,
        threshold=threshold,
        calibration=calibration(scores, hits),
        **_by_class(true, predictions, scored, classes),
    )


def _by_class(
    true: Names, predictions: Names, scored: Sequence[_Scored], classes: Sequence[str]
) -> dict[str, Any]:
    """The fields that hold something of each class, and what is made of those."""
    rows = _per_class(true, predictions, classes)
    drawn = {}
    for label, one in zip(classes, scored, strict=True):
        truths = int(one.truths.sum())
        rows[label] |= ranking(one.scores, one.hits, truths, len(true))
        drawn[label] = curves(one.scores, one.hits, truths)
    # Those that are true or predicted somewhere.
    seen = [row for row in rows.values() if row["f1"] is not None]
    hits, truths, guesses = (
        sum(row[key] for row in rows.values()) for key in ("hits", "truths", "predictions")
    )
    for row in rows.values():
        del row["hits"]
    return {
        "per_class": rows,
        "map": mean_of([row["ap"] for row in rows.values()]),
        "auroc": mean_of([row["auroc"] for row in rows.values()]),
        "macro_f1": mean_of([row["f1"] for row in seen]),
        "macro_precision": mean_of([row["precision"] or 0.0 for row in seen]),
        "macro_recall": mean_of([row["recall"] or 0.0 for row in seen]),
        "micro_precision": share(hits, guesses),
        "micro_recall": share(hits, truths),
        "micro_f1": share(2 * hits, truths + guesses),
        "curves": {label: pair[0] for label, pair in drawn.items()},
        "f1_curves": {label: pair[1] for label, pair in drawn.items()},
    }


def _per_class(true: Names, predictions: Names, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = {}
    for label in classes:
        truths = {image for image, labels in true.items() if label in labels}
        predicted_images = {image for image, labels in predictions.items() if label in labels}
        hits = len(truths & predicted_images)
        rows[label] = {
            "truths": len(truths),
            "predictions": len(predicted_images),
            "hits": hits,
            "precision": share(hits, len(predicted_images)),
            "recall": share(hits, len(truths)),
            "f1": share(2 * hits, len(truths) + len(predicted_images)),
        }
    return rows


def _confusion(true: Names, predictions: Names, classes: Sequence[str]) -> Confusion:
    index = {label: n for n, label in enumerate(classes)}
    table = np.zeros((len(classes) + 1, len(classes) + 1), dtype=int)
    for image, labels in true.items():
        missed, false = set(labels) - set(predictions[image]), set(predictions[image]) - set(labels)
        for label in set(labels) - missed:
            table[index[label], index[label]] += 1
        if len(labels) == len(predictions[image]) == 1 and missed:
            table[index[missed.pop()], index[false.pop()]] += 1
        for label in missed:
            table[index[label], -1] += 1
        for label in false:
            table[-1, index[label]] += 1
    return tupled(table.tolist())

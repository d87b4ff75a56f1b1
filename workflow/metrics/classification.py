"""Labels of whole images: accuracy where an image has one, average precision where it has any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workflow.errors import FormatError
from workflow.metrics.coco import Ranks
from workflow.metrics.common import (
    Column,
    Confusion,
    Headline,
    Labels,
    Sizes,
    best_cut,
    check,
    mean_of,
    share,
    tupled,
)
from workflow.metrics.evidence import Counts, RankedLabels
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.shapes.matching import Errors, above, score_of
from workflow.tasks import TASKS

# With five classes or fewer, one of the best five is always right.
TOP = 5
BINS = 15
Names = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """How well labels of whole images are told. A number that does not exist is None.

    Of one label an image: `accuracy` is the share of images whose best scored label is right, `top5` of
    those with the right one among the best five (None for five classes or fewer), `calibration_error` the
    expected one (ECE, Guo et al., ICML 2017, 15 bins of the best score). `images` are those with a label.
    Of any number: `map` is the mean average precision over the classes that have a truth, `accuracy` the
    share of images all of whose labels are right at `threshold`, the score at which `f1` over all classes
    is highest. Images without labels count.
    `per_class[label]` holds `truths`, `predictions`, `precision` (None without predictions), `recall`
    (None without truths), `f1` (None without both), and, of any number, `ap`. `macro_f1` is the mean of
    the classes' F1, as scikit-learn has it.
    `confusion`: rows true, columns predicted, "(none)" last. A missed and a false label are taken for a
    pair only where the image has one true label and one predicted.
    """

    task: str
    classes: tuple[str, ...]
    images: int
    accuracy: float | None
    macro_f1: float | None
    per_class: dict[str, dict[str, Any]]
    confusion: Confusion
    top5: float | None = None
    calibration_error: float | None = None
    map: float | None = None
    f1: float | None = None
    threshold: float = 0.0

    @property
    def single(self) -> bool:
        return TASKS[self.task].exclusive

    @property
    def score(self) -> float | None:
        return self.accuracy if self.single else self.map

    @property
    def metric(self) -> str:
        return "accuracy" if self.single else "mAP"

    @property
    def headlines(self) -> tuple[Headline, ...]:
        macro = Headline("macro_f1", "macro F1", "mean over the classes", self.macro_f1)
        if not self.single:
            every = "images with exactly the right labels"
            return (
                Headline("map", "mAP", "average precision, mean over the classes", self.map),
                Headline("f1", "best F1", f"over all labels, at score {self.threshold:.3f}", self.f1),
                Headline("accuracy", "subset accuracy", every, self.accuracy),
                macro,
            )
        off = self.calibration_error
        sure = "" if off is None else f"; scores are off by {off:.3f} (ECE)"
        best = Headline("accuracy", "accuracy", f"images whose best label is right{sure}", self.accuracy)
        if self.top5 is None:
            return best, macro
        return best, Headline("top5", "top-5", "the right label is among the best five", self.top5), macro

    @property
    def columns(self) -> tuple[Column, ...]:
        first = Column("f1", "F1", "change") if self.single else Column("ap", "AP", "change")
        rest = ("precision", "recall") if self.single else ("f1", "precision", "recall")
        others = (Column(key, "F1" if key == "f1" else key, "share") for key in rest)
        return (Column("truths", "images", "count"), first, *others)

    @property
    def means(self) -> dict[str, float | None]:
        return {"f1": self.macro_f1, "ap": self.map}

    def shown(self, predicted: Sequence[Annotation]) -> list[Annotation]:
        """The best label, or all at the threshold."""
        ranked = sorted(predicted, key=lambda a: -score_of(a))
        return ranked[:1] if self.single else above(ranked, self.threshold)

    def errors(self, truth: Sequence[Annotation], predicted: Sequence[Annotation]) -> Errors:
        true, predictions = ({a.label for a in some} for some in (truth, self.shown(predicted)))
        missed, false = len(true - predictions), len(predictions - true)
        if self.single and missed and false:
            return Errors(0, 0, 1)
        return Errors(missed, false, 0)

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold (tuples become arrays); `from_json` gives back an equal object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ClassificationMetrics:
        """The object whose `to_json` this is, as it was or read back from a file."""
        shaped = {"classes": tuple(record["classes"]), "confusion": tupled(record["confusion"])}
        return cls(**{**record, **shaped})


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
    ranks = [_ranks(label, true, ranked) for label in schema.classes]
    return _multiple(true, ranked, schema), RankedLabels(ranks)


def _counts(true: Names, ranked: Labels, classes: Sequence[str]) -> Counts:
    """Of one label an image: which it has, and which is guessed; nothing of an image without a true one."""
    truths, guesses = (np.zeros((len(true), len(classes)), dtype=np.int64) for _ in range(2))
    for row, (image, labels) in enumerate(true.items()):
        for label in labels:
            truths[row, classes.index(label)] = 1
        for best in ranked[image][:1] if labels else ():
            guesses[row, classes.index(best.label)] = 1
    return Counts(truths, guesses, truths & guesses)


def _ranks(label: str, true: Names, ranked: Labels) -> Ranks:
    """One class's guesses over all images, by falling score."""
    guesses = [
        (n, score_of(a), label in true[image])
        for n, image in enumerate(true)
        for a in ranked[image]
        if a.label == label
    ]
    images, scores, hits = (np.array([row[n] for row in guesses]) for n in range(3))
    order = np.argsort(-scores, kind="stable")
    hit = hits[order].astype(bool)[None]
    truths = np.array([label in labels for labels in true.values()], dtype=np.int64)
    return Ranks(images[order].astype(np.int64), scores[order], hit, np.ones_like(hit), truths)


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
    per_class = _per_class({i: true[i] for i in known}, predictions, classes)
    return ClassificationMetrics(
        task=schema.task.name,
        classes=classes,
        images=len(known),
        accuracy=share(sum(right), len(known)),
        macro_f1=mean_of([row["f1"] for row in per_class.values()]),
        per_class=per_class,
        confusion=_confusion({i: true[i] for i in known}, predictions, classes),
        top5=share(sum(within), len(known)) if len(classes) > TOP else None,
        calibration_error=_calibration_error(sure, right) if known else None,
    )


def _multiple(true: Names, ranked: Labels, schema: Schema) -> ClassificationMetrics:
    classes = schema.classes
    scores = [score_of(a) for image in true for a in ranked[image]]
    hits = [a.label in true[image] for image in true for a in ranked[image]]
    threshold, f1 = best_cut(scores, hits, sum(map(len, true.values())))
    predictions = {i: [a.label for a in above(ranked[i], threshold)] for i in true}
    per_class = _per_class(true, predictions, classes)
    for label in classes:
        per_class[label]["ap"] = _average_precision(label, true, ranked)
    return ClassificationMetrics(
        task=schema.task.name,
        classes=classes,
        images=len(true),
        accuracy=share(sum(set(true[i]) == set(predictions[i]) for i in true), len(true)),
        macro_f1=mean_of([row["f1"] for row in per_class.values()]),
        per_class=per_class,
        confusion=_confusion(true, predictions, classes),
        map=mean_of([row["ap"] for row in per_class.values()]),
        f1=f1,
        threshold=threshold,
    )


def _per_class(true: Names, predictions: Names, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = {}
    for label in classes:
        truths = {image for image, labels in true.items() if label in labels}
        predicted_images = {image for image, labels in predictions.items() if label in labels}
        hits = len(truths & predicted_images)
        rows[label] = {
            "truths": len(truths),
            "predictions": len(predicted_images),
            "precision": share(hits, len(predicted_images)),
            "recall": share(hits, len(truths)),
            "f1": share(2 * hits, len(truths) + len(predicted_images)),
        }
    return rows


def _average_precision(label: str, true: Names, ranked: Labels) -> float | None:
    """The sum of precision times gain of recall, over the distinct scores from the highest down.

    As `sklearn.metrics.average_precision_score` has it; images without a score for the class rank nowhere.
    """
    pairs = [(score_of(a), label in true[i]) for i in true for a in ranked[i] if a.label == label]
    truths = sum(label in labels for labels in true.values())
    if not truths:
        return None
    scores, hits = np.array([s for s, _ in pairs]), np.array([h for _, h in pairs], dtype=bool)
    order = np.argsort(-scores, kind="stable")
    hits_so_far = np.cumsum(hits[order])
    ends = np.flatnonzero(np.diff(scores[order], append=-1.0))
    precision, recall = hits_so_far[ends] / (ends + 1), hits_so_far[ends] / truths
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _calibration_error(sure: Sequence[float], right: Sequence[bool]) -> float:
    """The mean distance of score and accuracy over bins of equal width, each weighed by its images."""
    scores, hits = np.array(sure), np.array(right, dtype=float)
    bins = np.clip(np.ceil(scores * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, hits - scores, BINS)
    return float(np.abs(gaps).sum() / len(scores))


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

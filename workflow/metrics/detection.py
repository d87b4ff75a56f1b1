"""What has a place: boxes, rotated boxes, masks, and keypoints, by COCO's average precision.

Boxes and masks are compared by IoU as COCO has it, outlines of masks by their pixels, rotated boxes by the
exact IoU of their outlines. Keypoints have an average precision of their own (keypoints.py) beside that of
their boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from workflow.metrics.coco import Sweep, coco_sweep, quick_sweep
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
from workflow.metrics.evidence import Objects
from workflow.metrics.keypoints import near_points, oks_sweep
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.shapes.matching import (
    Errors,
    Match,
    Matching,
    above,
    count_errors,
    errors_of,
    objects,
    score_of,
)
from workflow.shapes.overlap import as_mask
from workflow.tasks import TASKS, Task

METRIC = {
    "detection": "mAP50-95",
    "oriented-detection": "rotated mAP50-95",
    "instance-segmentation": "mask mAP50-95",
    "keypoints": "OKS mAP50-95",
}


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """How well predicted objects meet the true ones. A number that does not exist is None.

    `map50` and `map50_95` are means over the classes that have a truth, as COCO has it; both are
    None where no class has one, and 0.0 where there are truths and no predictions. `oks50` and
    `oks50_95` are those of keypoints.
    `per_class[label]` holds `ap50`, `ap50_95` (None without truths), `truths`, and, at `threshold`
    and IoU .5 within the class, `predictions` (their number), `precision` (None without
    predictions) and `recall` (None without truths); of keypoints, `oks50_95` too.
    `points[name]` holds of a keypoint how many `truths` there are, and which share is `near`, within a
    tenth of the longer side of its object's box (PCK@0.1), in the objects matched at `threshold`.
    `figures` are those of COCO's leaderboard by their names there, such as "AP75" or "AR small", of
    keypoints by OKS; empty in what was measured before they were.
    `threshold` is the score at which `f1`, over all classes at IoU .5, is highest; of equals the
    higher score. It is 0.0, so that everything counts, where no prediction is right.
    `curve` holds the precision at `RECALLS` and IoU .5, mean over the classes; `curves` one a class.
    `confusion` is square, len(classes) + 1: rows true, columns predicted, "(none)" last, objects
    matched across classes at IoU .5 among the predictions that reach `threshold`.
    """

    classes: tuple[str, ...]
    images: int
    map50: float | None
    map50_95: float | None
    threshold: float
    f1: float | None
    per_class: dict[str, dict[str, Any]]
    curve: tuple[float, ...] | None
    curves: dict[str, tuple[float, ...] | None]
    confusion: Confusion
    task: str = "detection"
    oks50: float | None = None
    oks50_95: float | None = None
    points: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, float | None] = field(default_factory=dict)

    @property
    def score(self) -> float | None:
        return self.oks50_95 if TASKS[self.task].points else self.map50_95

    @property
    def metric(self) -> str:
        return METRIC[self.task]

    @property
    def headlines(self) -> tuple[Headline, ...]:
        noun = "boxes" if TASKS[self.task].points else TASKS[self.task].noun
        means = "COCO, mean over IoU .50 to .95"
        f1 = Headline("f1", "best F1", f"at IoU .5 and score {self.threshold:.3f}", self.f1)
        if TASKS[self.task].points:
            return (
                Headline("oks50_95", self.metric, "COCO, mean over OKS .50 to .95", self.oks50_95),
                Headline("oks50", "OKS mAP50", "objects whose points lie about right", self.oks50),
                Headline("map50_95", "box mAP50-95", means, self.map50_95),
                f1,
            )
        halves = f"{noun} that overlap by half or more"
        half = Headline("map50", self.metric.replace("50-95", "50"), halves, self.map50)
        return Headline("map50_95", self.metric, means, self.map50_95), half, f1

    @property
    def columns(self) -> tuple[Column, ...]:
        oks = Column("oks50_95", "OKS AP50-95", "change")
        box, half = Column("ap50_95", "AP50-95", "change"), Column("ap50", "AP50", "change")
        average = (oks, box._replace(name="box AP50-95")) if TASKS[self.task].points else (box, half)
        return (
            Column("truths", "objects", "count"),
            *average,
            Column("precision", "precision", "share"),
            Column("recall", "recall", "share"),
        )

    @property
    def means(self) -> dict[str, float | None]:
        return {"ap50_95": self.map50_95, "ap50": self.map50, "oks50_95": self.oks50_95}

    def shown(self, predicted: Sequence[Annotation]) -> list[Annotation]:
        """Those at the threshold, and the keypoints of those."""
        kept = above(objects(predicted), self.threshold)
        names = {a.id for a in kept}
        return kept + [a for a in predicted if a.geometry == "keypoints" and a.parent in names]

    def errors(self, truth: Sequence[Annotation], predicted: Sequence[Annotation]) -> Errors:
        return count_errors(objects(truth), objects(self.shown(predicted)))

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold (tuples become arrays); `from_json` gives back an equal object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> DetectionMetrics:
        """The object whose `to_json` this is, as it was or read back from a file."""
        curves = {label: _tupled(curve) for label, curve in record["curves"].items()}
        curve, confusion = _tupled(record["curve"]), tupled(record["confusion"])
        shaped = {"classes": tuple(record["classes"]), "curves": curves, "curve": curve}
        return cls(**{**record, **shaped, "confusion": confusion})


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The numbers of one model, and what they are made of: objects as they are compared, and their matches.

    `errors` are those of each image at the numbers' threshold.
    """

    numbers: DetectionMetrics
    sweep: Sweep
    truth: Labels
    predicted: Labels
    matching: Matching
    errors: dict[str, Errors]


def detection_metrics(schema: Schema, images: Sizes, truth: Labels, predicted: Labels) -> DetectionMetrics:
    """All numbers of one set of `images`; see `workflow.metrics.measure`."""
    return _compare(schema, images, truth, predicted, coco_sweep)[0].numbers


def weigh_detection(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels
) -> tuple[DetectionMetrics, Objects]:
    """The numbers, and what the score is made of; see `workflow.metrics.weigh`."""
    comparison, sweep = _compare(schema, images, truth, predicted, coco_sweep)
    return comparison.numbers, Objects(sweep.ranks(), sweep.ranks)


def compare(schema: Schema, images: Sizes, truth: Labels, predicted: Labels) -> Comparison:
    """The same numbers, `figures` of sizes and few guesses left out, with the matches they are made of."""
    return _compare(schema, images, truth, predicted, quick_sweep)[0]


def _compare(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels, sweep_of: Callable[..., Sweep]
) -> tuple[Comparison, Sweep]:
    """The numbers and their matches, and the sweep that the score is of."""
    check(schema, images, truth, predicted)
    classes = schema.classes
    true, guesses = (_comparable(schema.task, images, labels) for labels in (truth, predicted))
    sweep = scored = sweep_of(images, true, guesses, classes)
    matching = Matching(images, true, guesses)
    matches = {i: matching.match(i) for i in images}
    threshold, f1 = _best_threshold(true, guesses, matches)
    across = {i: matching.match(i, threshold, class_agnostic=True) for i in images}
    per_class = _per_class(true, guesses, matches, threshold, classes)
    for label, value, value50 in zip(classes, sweep.ap, sweep.ap50, strict=True):
        per_class[label] |= {"ap50": value50, "ap50_95": value}
    at50 = dict(zip(classes, sweep.precision[0].tolist(), strict=True))
    curves = {c: None if per_class[c]["ap50"] is None else tuple(at50[c]) for c in classes}
    drawn = [curve for curve in curves.values() if curve is not None]
    numbers = DetectionMetrics(
        classes=classes,
        images=len(images),
        map50=mean_of(sweep.ap50),
        map50_95=mean_of(sweep.ap),
        threshold=threshold,
        f1=f1,
        per_class=per_class,
        curve=tuple(np.mean(drawn, axis=0).tolist()) if drawn else None,
        curves=curves,
        confusion=_confusion(true, guesses, across, classes),
        task=schema.task.name,
        figures=sweep.figures,
    )
    if schema.task.points:
        scored = oks_sweep(schema, images, truth, predicted)
        numbers = _with_points(numbers, schema, scored, truth, predicted)
    errors = {i: errors_of(across[i], true.get(i, ()), guesses.get(i, ())) for i in images}
    return Comparison(numbers, sweep, true, guesses, matching, errors), scored


def _comparable(task: Task, images: Sizes, labels: Labels) -> dict[str, list[Annotation]]:
    """What is compared with its like: masks by pixels, the boxes of keypoints."""
    if "mask" in task.geometry:
        return {i: [_as_mask(a, *images[i]) for a in some] for i, some in labels.items()}
    return {i: objects(some) for i, some in labels.items()}


def _as_mask(a: Annotation, width: int, height: int) -> Annotation:
    return a if a.mask is not None else replace(a, polygons=None, mask=as_mask(a, height, width))


def _with_points(
    numbers: DetectionMetrics, schema: Schema, sweep: Sweep, truth: Labels, predicted: Labels
) -> DetectionMetrics:
    per_class = {
        label: numbers.per_class[label] | {"oks50_95": value}
        for label, value in zip(numbers.classes, sweep.ap, strict=True)
    }
    shown = {image: numbers.shown(some) for image, some in predicted.items()}
    return replace(
        numbers,
        per_class=per_class,
        oks50=mean_of(sweep.ap50),
        oks50_95=mean_of(sweep.ap),
        figures=sweep.figures,
        points=near_points(truth, shown, schema.keypoints),
    )


def _best_threshold(
    truth: Labels, predicted: Labels, matches: Mapping[str, list[Match]]
) -> tuple[float, float | None]:
    """Greedy matching goes by falling score: cutting at a score leaves the matches above it as they are."""
    scores, hits = [], []
    for image, triples in matches.items():
        for t, p, _ in triples:
            if p is not None:
                scores.append(score_of(predicted[image][p]))
                hits.append(t is not None)
    truths = sum(not a.ignored for some in truth.values() for a in some)
    return best_cut(scores, hits, truths)


def _per_class(
    truth: Labels,
    predicted: Labels,
    matches: Mapping[str, list[Match]],
    threshold: float,
    classes: Sequence[str],
) -> dict[str, dict[str, Any]]:
    truths = Counter(a.label for image in truth.values() for a in image if not a.ignored)
    guesses_by_label: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for image, pairs in matches.items():
        for t, p, _ in pairs:
            if p is not None and score_of(guess := predicted[image][p]) >= threshold:
                guesses_by_label[guess.label] += 1
                hits[guess.label] += t is not None
    return {
        label: {
            "truths": truths[label],
            "predictions": guesses_by_label[label],
            "precision": share(hits[label], guesses_by_label[label]),
            "recall": share(hits[label], truths[label]),
        }
        for label in classes
    }


def _confusion(
    truth: Labels, predicted: Labels, matches: Mapping[str, Sequence[Match]], classes: Sequence[str]
) -> Confusion:
    index = {label: n for n, label in enumerate(classes)}
    table = [[0] * (len(classes) + 1) for _ in range(len(classes) + 1)]
    for image, triples in matches.items():
        for t, p, _ in triples:
            row = -1 if t is None else index[truth[image][t].label]
            table[row][-1 if p is None else index[predicted[image][p].label]] += 1
    return tupled(table)


def _tupled(curve: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if curve is None else tuple(curve)

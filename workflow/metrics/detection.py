"""What has a place: boxes, rotated boxes, masks, and keypoints, by COCO's average precision.

Boxes and masks are compared by IoU as COCO has it, outlines of masks by their pixels, rotated boxes by the
exact IoU of their outlines. Keypoints have an average precision of their own (keypoints.py) beside that of
their boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.calibration import calibration, f1_curve
from workflow.metrics.coco import Floats, Sweep, coco_sweep, quick_sweep
from workflow.metrics.common import Confusion, Labels, Sizes, best_cut, check, mean_of, share, tupled
from workflow.metrics.detection_record import DetectionMetrics
from workflow.metrics.error_split import split_errors
from workflow.metrics.evidence import Objects
from workflow.metrics.keypoints import near_points, oks_sweep
from workflow.metrics.rules import RULES, Rules
from workflow.metrics.voc import voc_precision
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.shapes.matching import Errors, Match, Matching, errors_of, objects, score_of
from workflow.shapes.overlap import as_mask
from workflow.tasks import Task

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class DetectionEvaluation:
    """The numbers of one model, and what they are made of: objects as they are compared, and their matches.

    `across` are the triples of each image at the numbers' threshold, matched across classes, `errors` what is
    wrong in them.
    """

    numbers: DetectionMetrics
    sweep: Sweep
    truth: Labels
    predicted: Labels
    matching: Matching
    across: dict[str, list[Match]]
    errors: dict[str, Errors]


def detection_metrics(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels, rules: Rules = RULES
) -> DetectionMetrics:
    """All numbers of one set of `images`; see `workflow.metrics.measure`."""
    return weigh_detection(schema, images, truth, predicted, rules)[0]


def weigh_detection(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels, rules: Rules = RULES
) -> tuple[DetectionMetrics, Objects]:
    """The numbers, and what the score is made of; see `workflow.metrics.weigh`."""
    evaluation, sweep = _evaluate(schema, images, truth, predicted, coco_sweep, rules)
    compared = (list(images), evaluation.truth, evaluation.predicted, schema.classes)
    numbers = replace(
        evaluation.numbers,
        error_split=split_errors(*compared, rules.max_guesses).to_json(),
        voc=voc_precision(*compared, rules.voc_iou),
    )
    return numbers, Objects(sweep.ranks(), sweep.ranks)


def evaluate_detections(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels, rules: Rules = RULES
) -> DetectionEvaluation:
    """The same numbers with the matches they are made of, but without `error_split` and `voc`, and without
    `figures` of sizes and few guesses.
    """
    return _evaluate(schema, images, truth, predicted, quick_sweep, rules)[0]


def _evaluate(
    schema: Schema,
    images: Sizes,
    truth: Labels,
    predicted: Labels,
    sweep_of: Callable[..., Sweep],
    rules: Rules,
) -> tuple[DetectionEvaluation, Sweep]:
    """The numbers and their matches, and the sweep that the score is of."""
    check(schema, images, truth, predicted)
    classes = schema.classes
    true, guesses = (_comparable(schema.task, images, labels) for labels in (truth, predicted))
    sweep = scored = sweep_of(images, true, guesses, classes, most=rules.max_guesses)
    matching = Matching(images, true, guesses)
    matches = {i: matching.match(i) for i in images}
    judged = _judged(true, guesses, matches, classes)
    # Greedy matching goes by falling score: cutting at a score leaves the matches above it as they are.
    threshold, f1 = best_cut(judged.scores, judged.hits, int(judged.truths.sum()))
    across = {i: matching.match(i, threshold, class_agnostic=True) for i in images}
    per_class = _per_class(judged, threshold, classes)
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
        f1_curves={label: f1_curve(*judged.of(n), int(judged.truths[n])) for n, label in enumerate(classes)},
        calibration=calibration(judged.scores, judged.hits),
        uncounted=_uncounted(true, guesses, rules.max_guesses),
    )
    if schema.task.points:
        scored = oks_sweep(schema, images, truth, predicted, rules)
        numbers = _with_points(numbers, schema, scored, truth, predicted)
    errors = {i: errors_of(across[i], true.get(i, ()), guesses.get(i, ())) for i in images}
    return DetectionEvaluation(numbers, sweep, true, guesses, matching, across, errors), scored


def _uncounted(truth: Labels, predicted: Labels, most: int) -> dict[str, int]:
    """What is beyond the `max_guesses` of an image and class: of how many of these, guesses and truths."""
    guesses, truths = (
        [n for n in Counter((i, a.label) for i, some in side.items() for a in some).values() if n > most]
        for side in (predicted, truth)
    )
    beyond = {"places": len(guesses), "guesses": sum(guesses) - most * len(guesses)}
    return {"max_guesses": most, **beyond, "truths": sum(truths) - most * len(truths)}


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


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """All guesses that count, as matched within their classes: class number, score, whether it is right.

    `truths` is how many there are of each class.
    """

    classes: Ints
    scores: Floats
    hits: NDArray[np.bool_]
    truths: Ints

    def of(self, number: int) -> tuple[Floats, NDArray[np.bool_]]:
        mine = self.classes == number
        return self.scores[mine], self.hits[mine]


def _judged(
    truth: Labels, predicted: Labels, matches: Mapping[str, list[Match]], classes: Sequence[str]
) -> _Judged:
    index = {label: n for n, label in enumerate(classes)}
    rows = [
        (index[(guess := predicted[image][p]).label], score_of(guess), t is not None)
        for image, triples in matches.items()
        for t, p, _ in triples
        if p is not None
    ]
    names, scores, hits = zip(*rows, strict=True) if rows else ((), (), ())
    truths = Counter(a.label for some in truth.values() for a in some if not a.ignored)
    return _Judged(
        np.array(names, dtype=np.int64),
        np.array(scores, dtype=float),
        np.array(hits, dtype=bool),
        np.array([truths[label] for label in classes], dtype=np.int64),
    )


def _per_class(judged: _Judged, threshold: float, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = {}
    for number, label in enumerate(classes):
        scores, hits = judged.of(number)
        truths, shown = int(judged.truths[number]), scores >= threshold
        right = int((hits & shown).sum())
        best = best_cut(scores, hits, truths)
        rows[label] = {
            "truths": truths,
            "predictions": int(shown.sum()),
            "precision": share(right, int(shown.sum())),
            "recall": share(right, truths),
            "best_threshold": best[0],
            "best_f1": best[1],
        }
    return rows


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

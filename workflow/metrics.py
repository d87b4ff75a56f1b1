"""Detection quality in numbers, without an App: COCO average precision, matches, confusion.

Average precision is that of the COCO protocol (Lin et al., "Microsoft COCO: Common Objects in
Context", ECCV 2014; reference code cocodataset/cocoapi, cocoeval.py) as faster-coco-eval computes
it: bounding boxes, all areas, at most 100 predictions an image and class, IoU .50 to .95 in steps
of .05, precision read at 101 recall points. Equal scores keep the order in which the predictions
come, images sorted by id: a model that scores everything alike is not flattered for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from workflow.errors import FormatError, StageError
from workflow.matching import above, match_boxes, score_of
from workflow.records import Annotation

# linspace, as cocoeval.py: the last digit of .29 or .6 decides a tie, and i / 100 gives another mAP.
IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALLS = tuple(np.linspace(0.0, 1.0, 101).tolist())
NONE = "(none)"
MAX_PREDICTIONS = 100

Boxes = Mapping[str, Sequence[Annotation]]
Sizes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """How well predicted boxes meet the true ones. A number that does not exist is None.

    `map50` and `map50_95` are means over the classes that have a truth, as COCO has it; both are
    None where no class has one, and 0.0 where there are truths and no predictions.
    `per_class[label]` holds `ap50`, `ap50_95` (None without truths), `truths`, and, at `threshold`
    and IoU .5 within the class, `predictions` (their number), `precision` (None without
    predictions) and `recall` (None without truths).
    `threshold` is the score at which `f1`, over all classes at IoU .5, is highest; of equals the
    higher score. It is 0.0, so that everything counts, where no prediction is right.
    `curve` holds the precision at `RECALLS` and IoU .5, mean over the classes; `curves` one a class.
    `confusion` is square, len(classes) + 1: rows true, columns predicted, "(none)" last, boxes
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
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold (tuples become arrays); `from_json` gives back an equal object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> DetectionMetrics:
        """The object whose `to_json` this is, as it was or read back from a file."""
        curves = {label: _tupled(curve) for label, curve in record["curves"].items()}
        confusion = tuple(map(tuple, record["confusion"]))
        shaped = {"classes": tuple(record["classes"]), "curve": _tupled(record["curve"])}
        return cls(**{**record, **shaped, "curves": curves, "confusion": confusion})


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """COCO's arrays: `precision` and `scores` (10 IoUs, classes, 101 recalls), `recall` (10, classes).

    A class without a truth has -1 everywhere.
    """

    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    recall: NDArray[np.float64]


def detection_metrics(
    images: Sizes, truth: Boxes, predicted: Boxes, classes: Sequence[str]
) -> DetectionMetrics:
    """All numbers of one set of `images`, {id: (width, height) in pixels}.

    An image absent from `truth` or `predicted` has no boxes there, and counts. A prediction without
    a score counts as certain, 1.0. Raises StageError for boxes of an image that is not in `images`,
    FormatError for an annotation that is not a box or whose label is none of `classes`.
    """
    sweep = coco_sweep(images, truth, predicted, classes)
    ap = [_mean_or_none(row) for row in sweep.precision.transpose(1, 0, 2)]
    ap50 = [_mean_or_none(row) for row in sweep.precision[0]]
    threshold, f1 = _best_threshold(images, truth, predicted)
    kept = {i: above(predicted.get(i, ()), threshold) for i in images}
    per_class = _per_class(images, truth, kept, classes)
    for label, value, value50 in zip(classes, ap, ap50, strict=True):
        per_class[label] |= {"ap50": value50, "ap50_95": value}
    at50 = dict(zip(classes, sweep.precision[0].tolist(), strict=True))
    curves = {c: None if per_class[c]["ap50"] is None else tuple(at50[c]) for c in classes}
    drawn = [curve for curve in curves.values() if curve is not None]
    return DetectionMetrics(
        classes=tuple(classes),
        images=len(images),
        map50=_mean_of(ap50),
        map50_95=_mean_of(ap),
        threshold=threshold,
        f1=f1,
        per_class=per_class,
        curve=tuple(np.mean(drawn, axis=0).tolist()) if drawn else None,
        curves=curves,
        confusion=_confusion(images, truth, kept, classes),
    )


def coco_sweep(images: Sizes, truth: Boxes, predicted: Boxes, classes: Sequence[str]) -> Sweep:
    """COCO's own arrays, classes in the order given. Raises as `detection_metrics` does."""
    for what, boxes in (("truth", truth), ("predictions", predicted)):
        _check(what, boxes, images, classes)
    numbers = {image: n for n, image in enumerate(sorted(images), 1)}
    return sweep_records(
        list(numbers.values()),
        list(_coco_records(truth, numbers, classes)),
        list(_coco_records(predicted, numbers, classes)),
        len(classes),
    )


def sweep_records(
    images: Sequence[int], truth: list[dict[str, Any]], predicted: list[dict[str, Any]], classes: int
) -> Sweep:
    """The arrays of COCO records (ids and `category_id` from 1, `bbox` xywh, `score`)."""
    if not images or not classes:
        nothing = -np.ones((len(IOUS), classes, len(RECALLS)))
        return Sweep(nothing, nothing, nothing[:, :, 0])
    from faster_coco_eval import COCO
    from faster_coco_eval.core.faster_eval_api import COCOeval_faster

    def coco(records: list[dict[str, Any]]) -> COCO:
        categories = [{"id": n + 1, "name": str(n)} for n in range(classes)]
        return COCO({"images": [{"id": i} for i in images], "annotations": records, "categories": categories})

    run = COCOeval_faster(coco(truth), coco(predicted), iouType="bbox")
    run.params.iouThrs, run.params.recThrs = np.array(IOUS), np.array(RECALLS)
    run.params.maxDets = [MAX_PREDICTIONS]
    run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
    run.evaluate()
    run.accumulate()
    # COCO's axes: IoU, recall, class, area, most predictions.
    precision, scores = (run.eval[key][:, :, :, 0, -1].transpose(0, 2, 1) for key in ("precision", "scores"))
    return Sweep(precision, scores, run.eval["recall"][:, :, 0, -1])


def _check(what: str, boxes: Boxes, images: Sizes, classes: Sequence[str]) -> None:
    stray = sorted(set(boxes) - set(images))
    if stray:
        raise StageError(
            f"{what}: image {stray[0]} is not among the {len(images)} evaluated ({len(stray)} such)",
            "evaluate with the catalog the labels were made from",
        )
    for image, found in boxes.items():
        for a in found:
            if a.box is None:
                raise FormatError(f"{what}: image {image} has a {a.label!r} that is not a box")
            if a.label not in classes:
                raise FormatError(f"{what}: image {image} has the label {a.label!r}, none of {list(classes)}")


def _coco_records(
    boxes: Boxes, numbers: Mapping[str, int], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    category = {label: n for n, label in enumerate(classes, 1)}
    pairs = ((image, a) for image in sorted(boxes) for a in boxes[image])
    # COCO takes the record id 0 for "unmatched", so ids start at 1.
    for number, (image, a) in enumerate(pairs, 1):
        x1, y1, x2, y2 = cast("tuple[float, float, float, float]", a.box)
        yield {
            "id": number,
            "image_id": numbers[image],
            "category_id": category[a.label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
            "score": score_of(a),
        }


def _best_threshold(images: Sizes, truth: Boxes, predicted: Boxes) -> tuple[float, float | None]:
    """The score of the highest F1 = 2 TP / (predictions + truths), and that F1.

    Greedy matching goes by falling score, so cutting at a score leaves the matches above it as they are.
    """
    scores, hits, truths = [], [], 0
    for image in images:
        boxes = predicted.get(image, ())
        truths += len(truth.get(image, ()))
        for t, p, _ in match_boxes(truth.get(image, ()), boxes):
            if p is not None:
                scores.append(score_of(boxes[p]))
                hits.append(t is not None)
    if not truths:
        return 0.0, None
    if not any(hits):
        return 0.0, 0.0
    order = np.argsort(-np.array(scores), kind="stable")
    ranked = np.array(scores)[order]
    f1 = 2 * np.cumsum(np.array(hits)[order]) / (np.arange(1, len(ranked) + 1) + truths)
    # Predictions of one score stay or go together: only the last of each is a place to cut.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    best = ends[f1[ends].argmax()]
    return float(ranked[best]), float(f1[best])


def _per_class(images: Sizes, truth: Boxes, kept: Boxes, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    truths = Counter(a.label for image in truth.values() for a in image)
    found = Counter(a.label for image in kept.values() for a in image)
    hits: Counter[str] = Counter()
    for image in images:
        matches = match_boxes(truth.get(image, ()), kept[image])
        hits.update(kept[image][p].label for t, p, _ in matches if t is not None and p is not None)
    return {
        label: {
            "truths": truths[label],
            "predictions": found[label],
            "precision": hits[label] / found[label] if found[label] else None,
            "recall": hits[label] / truths[label] if truths[label] else None,
        }
        for label in classes
    }


def _confusion(
    images: Sizes, truth: Boxes, kept: Boxes, classes: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    index = {label: n for n, label in enumerate(classes)}
    table = np.zeros((len(classes) + 1, len(classes) + 1), dtype=int)
    for image in images:
        true, boxes = truth.get(image, ()), kept[image]
        for t, p, _ in match_boxes(true, boxes, class_agnostic=True):
            table[-1 if t is None else index[true[t].label], -1 if p is None else index[boxes[p].label]] += 1
    return tuple(tuple(row) for row in table.tolist())


def _mean_or_none(values: NDArray[np.float64]) -> float | None:
    """The mean of COCO's numbers; -1 is COCO's word for a class without truths."""
    return None if values.min() < 0 else float(values.mean())


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _tupled(curve: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if curve is None else tuple(curve)

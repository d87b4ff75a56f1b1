"""The numbers of detection, as they are kept: of boxes, rotated boxes, masks, and keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workflow.metrics.common import Column, Confusion, Headline, tupled
from workflow.records import Annotation
from workflow.shapes.matching import Errors, above, count_errors, objects
from workflow.tasks import TASKS

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
    predictions) and `recall` (None without truths); of keypoints, `oks50_95` too. `best_threshold` and
    `best_f1` are those of the class alone.
    `points[name]` holds of a keypoint how many `truths` there are, and which share is `near`, within a
    tenth of the longer side of its object's box (PCK@0.1), in the objects matched at `threshold`.
    `figures` are those of COCO's leaderboard by their names there, such as "AP75" or "AR small", of
    keypoints by OKS; empty in what was measured before they were.
    `threshold` is the score at which `f1`, over all classes at IoU .5, is highest; of equals the
    higher score. It is 0.0, so that everything counts, where no prediction is right.
    `f1_curves` hold F1 of each class by score (calibration.py), `calibration` whether scores mean what they
    say, `error_split` what each kind of error costs (error_split.py, TIDE), `voc` Pascal VOC's average
    precision at IoUs that were asked for (voc.py). `uncounted` tells how many images and classes have more
    than `max_guesses` (`places`), and how many `guesses`, and `truths`, are beyond that.
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
    f1_curves: dict[str, tuple[float, ...] | None] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    error_split: dict[str, dict[str, float]] = field(default_factory=dict)
    voc: dict[str, dict[str, Any]] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)

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
        by_score = {label: _tupled(f1) for label, f1 in record.get("f1_curves", {}).items()}
        shaped = {"classes": tuple(record["classes"]), "curves": curves, "curve": curve}
        shaped |= {"f1_curves": by_score}
        return cls(**{**record, **shaped, "confusion": confusion})


def _tupled(curve: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if curve is None else tuple(curve)

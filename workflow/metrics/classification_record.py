"""The numbers of classification, as they are kept: of one label an image, or of any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workflow.metrics.common import Column, Confusion, Headline, tupled
from workflow.records import Annotation
from workflow.shapes.matching import Errors, above, score_of
from workflow.tasks import TASKS


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """How well labels of whole images are told. A number that does not exist is None.

    Of one label an image: `accuracy` is the share of images whose best scored label is right, `top5` of
    those with the right one among the best five (None for five classes or fewer), `calibration_error` the
    expected one (ECE, Guo et al., ICML 2017, 15 bins of the best score). `images` are those with a label.
    Of any number: `accuracy` is the share of images all of whose labels are right at `threshold`, the score
    at which `f1` over all classes is highest. Images without labels count.
    `map` and `auroc` are means over the classes of one against the rest (ranked.py). `macro_f1`,
    `macro_precision` and `macro_recall` are means over the classes that are true or predicted somewhere, as
    scikit-learn has them: a class that is never predicted has a precision of 0, one never true a recall of 0.
    `micro_precision`, `micro_recall` and `micro_f1` count all labels alike.
    `per_class[label]` holds `truths`, `predictions`, `precision` (None without predictions), `recall`
    (None without truths), `f1` (None without both), `ap` and `auroc`, `best_threshold` and `best_f1`.
    `curves` hold each class's precision at COCO's recalls, `f1_curves` F1 by score, `calibration` whether
    scores mean what they say: that of the best label, of any number those of all labels.
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
    auroc: float | None = None
    macro_precision: float | None = None
    macro_recall: float | None = None
    micro_precision: float | None = None
    micro_recall: float | None = None
    micro_f1: float | None = None
    curves: dict[str, tuple[float, ...] | None] = field(default_factory=dict)
    f1_curves: dict[str, tuple[float, ...] | None] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)

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
        macro = Headline("macro_f1", "macro F1", self._beside_f1, self.macro_f1)
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
    def _beside_f1(self) -> str:
        others = {
            "micro F1": self.micro_f1,
            "mean AP": self.map if self.single else None,
            "AUROC": self.auroc,
        }
        told = ", ".join(f"{name} {value:.3f}" for name, value in others.items() if value is not None)
        return f"mean over the classes; {told}" if told else "mean over the classes"

    @property
    def columns(self) -> tuple[Column, ...]:
        names = {"f1": "F1", "ap": "AP", "auroc": "AUROC"}
        first, second = ("f1", "ap") if self.single else ("ap", "f1")
        rest = [Column(key, names.get(key, key), "share") for key in (second, "auroc", "precision", "recall")]
        return (Column("truths", "images", "count"), Column(first, names[first], "change"), *rest)

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
        shaped: dict[str, Any] = {
            "classes": tuple(record["classes"]),
            "confusion": tupled(record["confusion"]),
        }
        for key in ("curves", "f1_curves"):
            shaped[key] = {name: curve and tuple(curve) for name, curve in record.get(key, {}).items()}
        return cls(**{**record, **shaped})

"""The numbers of semantic segmentation, as they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.boundary import RATIO
from workflow.metrics.common import Column, Confusion, Headline, tupled
from workflow.records import Annotation
from workflow.shapes.matching import Errors
from workflow.shapes.paint import NOTHING, VOID, paint


@dataclass(frozen=True, slots=True)
class SemanticMetrics:
    """How well each pixel's class is told. A number that does not exist is None.

    `miou` and `dice` are means over the classes with a true or predicted pixel. What nobody painted, the
    background, is no class and not in the means; `background_iou` is its own. `pixel_accuracy` is the share
    of all pixels that are right, background among them. `boundary_iou` is the mean of the classes' boundary
    IoU (boundary.py), within 2 % of the image's diagonal.
    `per_class[label]` holds `truths` and `predictions` (pixels), `iou`, `dice`, `boundary_iou`, `precision`,
    `recall`.
    `confusion` counts pixels: rows true, columns predicted, "(none)", the background, last.
    """

    classes: tuple[str, ...]
    images: int
    miou: float | None
    dice: float | None
    pixel_accuracy: float | None
    background_iou: float | None
    per_class: dict[str, dict[str, Any]]
    confusion: Confusion
    task: str = "semantic-segmentation"
    boundary_iou: float | None = None

    @property
    def calibration(self) -> dict[str, Any]:
        """What is painted has no score."""
        return {}

    @property
    def score(self) -> float | None:
        return self.miou

    @property
    def metric(self) -> str:
        return "mIoU"

    @property
    def headlines(self) -> tuple[Headline, ...]:
        return (
            Headline("miou", "mIoU", "mean over the classes, without background", self.miou),
            Headline("dice", "Dice", "mean over the classes, without background", self.dice),
            Headline(
                "boundary_iou",
                "boundary IoU",
                f"mean over the classes; within {100 * RATIO:.0f} % of the diagonal from outlines",
                self.boundary_iou,
            ),
            Headline(
                "pixel_accuracy", "pixel accuracy", "of all pixels, with background", self.pixel_accuracy
            ),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column("truths", "pixels", "count"),
            Column("iou", "IoU", "change"),
            Column("dice", "Dice", "change"),
            Column("boundary_iou", "boundary IoU", "share"),
            Column("precision", "precision", "share"),
            Column("recall", "recall", "share"),
        )

    @property
    def means(self) -> dict[str, float | None]:
        return {"iou": self.miou, "dice": self.dice}

    def shown(self, predicted: Sequence[Annotation]) -> list[Annotation]:
        return list(predicted)

    def errors(self, truth: Sequence[Annotation], predicted: Sequence[Annotation]) -> Errors:
        """Pixels whose class was missed, painted without one, or taken for another."""
        size = next(((a.mask.height, a.mask.width) for a in (*truth, *predicted) if a.mask), None)
        if size is None:
            return Errors(0, 0, 0)
        table = count_pixels(
            paint(truth, self.classes, *size).pixels,
            paint(predicted, self.classes, *size).pixels,
            self.classes,
        )
        counted = int(table.sum())
        wrong = counted - int(table.trace())
        missed, false = int(table[1:, 0].sum()), int(table[0, 1:].sum())
        return Errors(missed, false, wrong - missed - false, counted)

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold (tuples become arrays); `from_json` gives back an equal object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SemanticMetrics:
        """The object whose `to_json` this is, as it was or read back from a file."""
        shaped = {"classes": tuple(record["classes"]), "confusion": tupled(record["confusion"])}
        return cls(**{**record, **shaped})


def count_pixels(true: NDArray, predictions: NDArray, classes: Sequence[str]) -> NDArray[np.int64]:
    """Pixels by true class (rows) and predicted class, background first.

    What is void in truth is not counted; void in a prediction is background.
    """
    n = len(classes) + 1
    known = true != VOID
    rows, columns = true[known].astype(np.int64), np.where(predictions == VOID, NOTHING, predictions)[known]
    return np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)

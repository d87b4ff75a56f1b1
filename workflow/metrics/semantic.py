"""Classes of pixels: intersection over union and Dice, counted over all pixels of all images.

One table of true and predicted pixels, summed image by image, has all numbers (Everingham et al., "The
PASCAL Visual Object Classes Challenge", IJCV 2015, of segmentation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.common import Column, Confusion, Headline, Labels, Sizes, check, mean_of, share, tupled
from workflow.metrics.evidence import Counts
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.shapes.matching import Errors
from workflow.shapes.paint import NOTHING, VOID, paint


@dataclass(frozen=True, slots=True)
class SemanticMetrics:
    """How well each pixel's class is told. A number that does not exist is None.

    `miou` and `dice` are means over the classes with a true or predicted pixel. What nobody painted, the
    background, is no class and not in the means; `background_iou` is its own. `pixel_accuracy` is the share
    of all pixels that are right, background among them.
    `per_class[label]` holds `truths` and `predictions` (pixels), `iou`, `dice`, `precision`, `recall`.
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
                "pixel_accuracy", "pixel accuracy", "of all pixels, with background", self.pixel_accuracy
            ),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column("truths", "pixels", "count"),
            Column("iou", "IoU", "change"),
            Column("dice", "Dice", "change"),
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


def semantic_metrics(schema: Schema, images: Sizes, truth: Labels, predicted: Labels) -> SemanticMetrics:
    """All numbers of one set of `images`; see `workflow.metrics.measure`."""
    return weigh_semantic(schema, images, truth, predicted)[0]


def weigh_semantic(
    schema: Schema, images: Sizes, truth: Labels, predicted: Labels
) -> tuple[SemanticMetrics, Counts]:
    """The numbers, and what the score is made of; see `workflow.metrics.weigh`."""
    check(schema, images, truth, predicted)
    classes = schema.classes
    total = np.zeros((len(classes) + 1, len(classes) + 1), dtype=np.int64)
    rows = []
    for image, (width, height) in sorted(images.items()):
        true, predictions = (
            paint(side.get(image, ()), classes, height, width).pixels for side in (truth, predicted)
        )
        table = count_pixels(true, predictions, classes)
        total += table
        rows.append([table.sum(1)[1:], table.sum(0)[1:], table.diagonal()[1:]])
    counts = np.array(rows, dtype=np.int64).reshape(-1, 3, len(classes))
    evidence = Counts(counts[:, 0], counts[:, 1], counts[:, 2], pixels=True)
    return _of_table(total, classes, len(images)), evidence


def _of_table(table: NDArray[np.int64], classes: tuple[str, ...], images: int) -> SemanticMetrics:
    truths, found, hits = (values.tolist() for values in (table.sum(1), table.sum(0), table.diagonal()))
    per_class = {
        label: {
            "truths": truths[n],
            "predictions": found[n],
            "iou": share(hits[n], truths[n] + found[n] - hits[n]),
            "dice": share(2 * hits[n], truths[n] + found[n]),
            "precision": share(hits[n], found[n]),
            "recall": share(hits[n], truths[n]),
        }
        for n, label in enumerate(classes, 1)
    }
    return SemanticMetrics(
        classes=classes,
        images=images,
        miou=mean_of([row["iou"] for row in per_class.values()]),
        dice=mean_of([row["dice"] for row in per_class.values()]),
        pixel_accuracy=share(sum(hits), sum(truths)),
        background_iou=share(hits[0], truths[0] + found[0] - hits[0]),
        per_class=per_class,
        confusion=tupled(np.roll(table, -1, axis=(0, 1)).tolist()),
    )


def count_pixels(true: NDArray, predictions: NDArray, classes: Sequence[str]) -> NDArray[np.int64]:
    """Pixels by true class (rows) and predicted class, background first.

    What is void in truth is not counted; void in a prediction is background.
    """
    n = len(classes) + 1
    known = true != VOID
    rows, columns = true[known].astype(np.int64), np.where(predictions == VOID, NOTHING, predictions)[known]
    return np.bincount(rows * n + columns, minlength=n * n).reshape(n, n)

"""Classes of pixels: intersection over union and Dice, counted over all pixels of all images.

One table of true and predicted pixels, summed image by image, has all numbers (Everingham et al., "The
PASCAL Visual Object Classes Challenge", IJCV 2015, of segmentation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.boundary import boundary_counts
from workflow.metrics.common import Labels, Sizes, check, mean_of, share, tupled
from workflow.metrics.evidence import Counts
from workflow.metrics.semantic_record import SemanticMetrics, count_pixels
from workflow.schema import Schema
from workflow.shapes.paint import paint


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
    rows, edges = [], np.zeros((3, len(classes)), dtype=np.int64)
    for image, (width, height) in sorted(images.items()):
        true, predictions = (
            paint(side.get(image, ()), classes, height, width).pixels for side in (truth, predicted)
        )
        table = count_pixels(true, predictions, classes)
        total += table
        edges += boundary_counts(true, predictions, len(classes))
        rows.append([table.sum(1)[1:], table.sum(0)[1:], table.diagonal()[1:]])
    counts = np.array(rows, dtype=np.int64).reshape(-1, 3, len(classes))
    evidence = Counts(counts[:, 0], counts[:, 1], counts[:, 2], pixels=True)
    return _of_table(total, edges, classes, len(images)), evidence


def _of_table(
    table: NDArray[np.int64], edges: NDArray[np.int64], classes: tuple[str, ...], images: int
) -> SemanticMetrics:
    near = [share(both, true + told - both) for true, told, both in edges.T.tolist()]
    truths, found, hits = (values.tolist() for values in (table.sum(1), table.sum(0), table.diagonal()))
    per_class = {
        label: {
            "truths": truths[n],
            "predictions": found[n],
            "iou": share(hits[n], truths[n] + found[n] - hits[n]),
            "dice": share(2 * hits[n], truths[n] + found[n]),
            "boundary_iou": near[n - 1],
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
        boundary_iou=mean_of(near),
        pixel_accuracy=share(sum(hits), sum(truths)),
        background_iou=share(hits[0], truths[0] + found[0] - hits[0]),
        per_class=per_class,
        confusion=tupled(np.roll(table, -1, axis=(0, 1)).tolist()),
    )

"""How far the labels of two near-copies agree: of each as it lies in the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workflow.records import Annotation, ImageRecord
from workflow.shapes.overlap import as_box, iou

Labels = Sequence[Annotation]


def agreement(one: Labels, other: Labels, records: tuple[ImageRecord, ImageRecord], mirrored: bool) -> float:
    """The share of what either image has that both have, in [0, 1]; two without a label agree.

    Objects are paired by the boxes round them, each scaled to the other image's size, and turned round where
    it is `mirrored`, so that the sum of IoUs is largest; only those of one label are pairs. It is that sum
    over the mean number of objects, so that what the other lacks counts as 0. Labels of the whole image
    are the same or not.
    """
    from scipy.optimize import linear_sum_assignment

    sides = [[a for a in labels if not a.ignored and a.keypoints is None] for labels in (one, other)]
    if not any(sides):
        return 1.0
    placed = ([_box(a) for a in sides[0]], [_moved(_box(a), records, mirrored) for a in sides[1]])
    shared = np.zeros((len(sides[0]), len(sides[1])))
    for i, a in enumerate(placed[0]):
        for j, b in enumerate(placed[1]):
            if a.label == b.label and bool(a.box) == bool(b.box):
                shared[i, j] = iou([a], [b])[0, 0]
    rows, columns = linear_sum_assignment(-shared)
    return float(2 * shared[rows, columns].sum() / (len(sides[0]) + len(sides[1])))


def _box(a: Annotation) -> Annotation:
    """Its label, and the box round it, if it has a place."""
    return Annotation(a.label, a.provenance, box=as_box(a) if a.geometry else None)


def _moved(a: Annotation, records: tuple[ImageRecord, ImageRecord], mirrored: bool) -> Annotation:
    """From where it lies in the second image to where that is in the first."""
    if a.box is None:
        return a
    to, of = records
    x1, y1, x2, y2 = a.box
    if mirrored:
        x1, x2 = of.width - x2, of.width - x1
    across, down = to.width / of.width, to.height / of.height
    return replace(a, box=(x1 * across, y1 * down, x2 * across, y2 * down))

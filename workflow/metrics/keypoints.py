"""Keypoints: average precision by object keypoint similarity (OKS), and which points lie near.

OKS is COCO's (https://cocodataset.org/#keypoints-eval): a point is right to the degree exp(-d² / (2 s² k²)),
d its distance, s² the object's area, k twice a tolerance; an object's similarity is the mean over its
labelled points. COCO measured tolerances of a person's joints only; as ultralytics does for other points,
each of n points has the tolerance 1/n, unless a project gives its own, and the area is 0.53 of the box. A
point that the model does not give is not right at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workflow.errors import FormatError
from workflow.metrics.coco import Floats, Sweep, coco_sweep, within_ignored
from workflow.metrics.common import Labels, Sizes, share
from workflow.metrics.rules import RULES, Rules
from workflow.records import Annotation, Point
from workflow.schema import Schema
from workflow.shapes.geometry import box_area
from workflow.shapes.matching import match, objects
from workflow.shapes.overlap import iou

AREA = 0.53
NEAR = 0.1

# The points of one image's objects: the region's id -> the point's name -> where.
Parts = dict[str, dict[str, Point]]


def oks_sweep(schema: Schema, images: Sizes, truth: Labels, predicted: Labels, rules: Rules = RULES) -> Sweep:
    """COCO's arrays by OKS. An object of which no point is labelled is no miss, as in COCO.

    FormatError for a true point of no object.
    """
    boxes: list[dict[str, list[Annotation]]] = []
    where: dict[int, Floats] = {}
    names = len(schema.keypoints)
    tolerances = np.array(rules.sigmas or [1 / names] * names, dtype=float)
    for labels in (truth, predicted):
        # A copy of each box, since one annotation may stand on both sides.
        boxes.append({i: [_copy(a) for a in objects(some)] for i, some in labels.items()})
        for image, some in labels.items():
            parts = points_of(some)
            if labels is truth:
                _refuse_strays(image, some, parts)
            where |= {id(a): _row(parts.get(a.id, {}), schema.keypoints) for a in boxes[-1][image]}

    def similarity(guesses: Sequence[Annotation], true: Sequence[Annotation]) -> Floats:
        return _oks([where[id(a)] for a in guesses], [where[id(a)] for a in true], guesses, true, tolerances)

    def ignored(a: Annotation) -> bool:
        return a.ignored or bool(np.isnan(where[id(a)]).all())

    return coco_sweep(
        images, boxes[0], boxes[1], schema.classes, within_ignored(similarity), ignored, rules.max_guesses
    )


def near_points(truth: Labels, shown: Labels, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """PCK@0.1 (Yang and Ramanan, TPAMI 2013) of each point, objects matched by their boxes at IoU .5."""
    truths: Counter[str] = Counter()
    near: Counter[str] = Counter()
    for image, some in truth.items():
        true, guesses = objects(some), objects(shown.get(image, ()))
        true_points, guessed_points = points_of(some), points_of(shown.get(image, ()))
        for t, p, _ in match(true, guesses):
            if t is None:
                continue
            theirs = guessed_points.get(guesses[p].id, {}) if p is not None else {}
            x1, y1, x2, y2 = true[t].box or (0, 0, 0, 0)
            reach = NEAR * max(x2 - x1, y2 - y1)
            for name, (x, y) in true_points.get(true[t].id, {}).items():
                truths[name] += 1
                if name in theirs:
                    near[name] += bool(np.hypot(theirs[name][0] - x, theirs[name][1] - y) <= reach)
    return {n: {"truths": truths[n], "near": share(near[n], truths[n])} for n in names}


def points_of(annotations: Sequence[Annotation]) -> Parts:
    """The points of each object, by the object's id."""
    parts: Parts = {}
    for a in annotations:
        if a.keypoints:
            parts.setdefault(a.parent, {})[a.label] = a.keypoints[0]
    return parts


def _copy(a: Annotation) -> Annotation:
    return Annotation(a.label, a.provenance, box=a.box, score=a.score, id=a.id, ignored=a.ignored)


def _refuse_strays(image: str, some: Sequence[Annotation], parts: Parts) -> None:
    strays = parts.keys() - {a.id for a in objects(some) if a.id}
    if strays:
        name = next(iter(parts[sorted(strays)[0]]))
        raise FormatError(f"truth: image {image} has a {name!r} that belongs to no box")


def _row(points: Mapping[str, Point], names: Sequence[str]) -> Floats:
    """The points in the order of `names`, (n, 2); those that are not there are nan."""
    return np.array([points.get(name, (np.nan, np.nan)) for name in names], dtype=float).reshape(-1, 2)


def _oks(
    guesses: Sequence[Floats],
    true: Sequence[Floats],
    boxes: Sequence[Annotation],
    truths: Sequence[Annotation],
    tolerances: Floats,
) -> Floats:
    """(predictions, truths); with a truth without points, the IoU of the boxes."""
    theirs, ours = np.stack(guesses)[:, None], np.stack(true)[None]
    # Twice the tolerance, squared, times twice the area: (truths, points).
    area = AREA * box_area(np.array([t.box for t in truths]))
    spread = 2 * area[:, None] * (2 * tolerances[None, :]) ** 2
    right = np.exp(-((theirs - ours) ** 2).sum(axis=-1) / spread[None])
    labelled = ~np.isnan(ours[..., 0])
    count = labelled.sum(axis=-1)
    # A distance to nowhere is nan, which is no likeness.
    total = np.where(labelled, np.nan_to_num(right), 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), iou(boxes, truths))

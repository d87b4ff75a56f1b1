"""What correcting a model's guesses would cost people, by the ledger's cost model, where the truth is known.

A guess that means an object is left as it is where it fits well enough, as the simulated reviewer does it:
from an IoU of `review.accept_iou` on, a point within `NEAR` pixels. All else is moved, renamed, deleted or
added, and costs what [review] says. Nobody's time is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workflow.labels.ledger import CostModel, by_overlap, compare
from workflow.records import Annotation
from workflow.shapes import overlap

# How far from where it belongs a point may lie and be left there, in pixels.
NEAR = 3.0


def seconds(
    guesses: Sequence[Annotation],
    truth: Sequence[Annotation],
    cost: CostModel,
    accept_iou: float,
    one_label: bool = False,
) -> float:
    """The seconds that one image would take with these guesses, to make `truth` of them.

    With `one_label` an image has one label as a whole.
    """

    def fits(guess: Annotation, wanted: Annotation) -> bool:
        if guess.keypoints is not None and wanted.keypoints is not None:
            return bool(np.linalg.norm(np.subtract(guess.keypoints, wanted.keypoints), axis=1).max() <= NEAR)
        return not guess.geometry or overlap.iou_of(guess, wanted) >= accept_iou

    return cost.seconds(compare(*_named_alike(guesses, truth), one_label, fits))


def _named_alike(
    guesses: Sequence[Annotation], truth: Sequence[Annotation]
) -> tuple[list[Annotation], list[Annotation]]:
    """Both with ids by which what means one object is the same: those that they came with tell nothing."""
    shapes = [n for n, a in enumerate(guesses) if a.geometry not in ("", "keypoints")]
    objects = [n for n, a in enumerate(truth) if a.geometry not in ("", "keypoints") and not a.ignored]
    meant = dict(by_overlap(guesses, truth, shapes, objects))
    known = {n: f"truth {meant[n]}" if n in meant else f"guess {n}" for n in shapes}
    return _renamed(guesses, known), _renamed(truth, {n: f"truth {n}" for n in range(len(truth))})


def _renamed(annotations: Sequence[Annotation], names: dict[int, str]) -> list[Annotation]:
    of = {a.id: names[n] for n, a in enumerate(annotations) if a.id and n in names}
    return [
        # A point is known by its object and its name.
        replace(a, id="" if a.keypoints is not None else names.get(n, ""), parent=of.get(a.parent, ""))
        for n, a in enumerate(annotations)
    ]

"""What people did to each prediction: accepted, moved, relabelled, deleted; and what they added.

A person's region is matched to the predicted one by its id, which Label Studio keeps while a box is
dragged or renamed; the rest by geometry, as the assignment that maximises the sum of IoUs (Hungarian
method, scipy's `linear_sum_assignment`). Label Studio's own `origin` field is only a hint, written by
the client, and is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow.geometry import box_iou, enclosing_box
from workflow.records import Annotation
from workflow.store import Row

ACTIONS = ("accepted", "moved", "relabelled", "deleted", "added")
MATCH_IOU = 0.3
# Percent arithmetic in Label Studio's JSON moves nothing by more than this.
SAME_PIXELS = 1e-3


@dataclass(frozen=True)
class CostModel:
    """Seconds an action costs a person; stated, so that the saving can be argued with."""

    look: float
    move: float
    relabel: float
    delete: float
    add: float

    def seconds(self, actions: Sequence[Row]) -> float:
        """What correcting one image costs."""
        costs = {
            "accepted": 0.0,
            "moved": self.move,
            "relabelled": self.relabel,
            "deleted": self.delete,
            "added": self.add,
        }
        moved_too = sum(a["action"] == "relabelled" and a["moved"] for a in actions) * self.move
        return self.look + sum(costs[a["action"]] for a in actions) + moved_too

    def seconds_from_nothing(self, boxes: int) -> float:
        """What drawing every box of one image costs."""
        return self.look + boxes * self.add


def compare(predicted: Sequence[Annotation], corrected: Sequence[Annotation]) -> list[Row]:
    """One row an action: {action, label, was, iou, score, moved}; `was` is the predicted label."""
    pairs = _match(predicted, corrected)
    kept = {p for p, _ in pairs}
    made = {c for _, c in pairs}
    rows = [_judge(predicted[p], corrected[c]) for p, c in pairs]
    rows += [_row("deleted", None, predicted[p]) for p in range(len(predicted)) if p not in kept]
    rows += [_row("added", corrected[c], None) for c in range(len(corrected)) if c not in made]
    return rows


def _match(predicted: Sequence[Annotation], corrected: Sequence[Annotation]) -> list[tuple[int, int]]:
    by_id = {a.id: number for number, a in enumerate(corrected) if a.id}
    pairs = [(number, by_id[a.id]) for number, a in enumerate(predicted) if a.id in by_id]
    rest_p = sorted(set(range(len(predicted))) - {p for p, _ in pairs})
    rest_c = sorted(set(range(len(corrected))) - {c for _, c in pairs})
    if rest_p and rest_c:
        from scipy.optimize import linear_sum_assignment

        overlap = box_iou([_box(predicted[p]) for p in rest_p], [_box(corrected[c]) for c in rest_c])
        for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[row, column] >= MATCH_IOU:
                pairs.append((rest_p[row], rest_c[column]))
    return pairs


def _judge(was: Annotation, now: Annotation) -> Row:
    moved = not np.allclose(_box(was), _box(now), rtol=0, atol=SAME_PIXELS)
    if was.label != now.label:
        return _row("relabelled", now, was, moved)
    return _row("moved" if moved else "accepted", now, was, moved)


def _row(action: str, now: Annotation | None, was: Annotation | None, moved: bool = False) -> Row:
    iou = float(box_iou(_box(was), _box(now))[0, 0]) if was and now else 0.0
    return {
        "action": action,
        "label": now.label if now else None,
        "was": was.label if was else None,
        "iou": round(iou, 6),
        "score": was.score if was else None,
        "moved": moved,
    }


def _box(annotation: Annotation) -> tuple[float, float, float, float]:
    if annotation.box is not None:
        return annotation.box
    if annotation.rotated_box is not None:
        return enclosing_box(annotation.rotated_box)
    return (0.0, 0.0, 0.0, 0.0)


def summarise(rows: Iterable[Row], cost: CostModel) -> dict[str, Any]:
    """Counts of actions and the seconds spent, over the images that came with a prediction.

    `seconds_from_nothing` is what the same images would have cost without one, by the cost model;
    `blind_*` are the images pushed without a prediction, which anchor no figure.
    """
    counts = dict.fromkeys(ACTIONS, 0)
    summary = {"images": 0, "skipped": 0, "reviewer_seconds": 0.0, "seconds_from_nothing": 0.0}
    blind = {"blind_images": 0, "blind_seconds": 0.0}
    for row in rows:
        if row["blind"]:
            blind["blind_images"] += 1
            blind["blind_seconds"] += row["lead_time"]
            continue
        summary["images"] += 1
        summary["skipped"] += row["skipped"]
        summary["reviewer_seconds"] += row["lead_time"]
        kept = 0
        for action in row["actions"]:
            counts[action["action"]] += 1
            kept += action["action"] != "deleted"
        summary["seconds_from_nothing"] += (
            row["lead_time"] if row["skipped"] else cost.seconds_from_nothing(kept)
        )
    rounded = {k: round(v, 1) for k, v in (summary | blind).items()}
    return counts | rounded

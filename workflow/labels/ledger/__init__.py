"""What people did to each prediction: accepted, moved, reshaped, relabelled, deleted; what they added.

A person's region is matched to the predicted one by its id, which Label Studio keeps while a region is
changed or renamed; a point also by its name within its object; the rest by geometry, as the assignment
that maximises the sum of IoUs (Hungarian method, scipy's `linear_sum_assignment`). Labels of the whole
image are matched by name. What is ignored counts for nothing: a guess that is ignored, that a person made
so, or that lies within what a person of its label ignored, is neither right nor wrong, and a person's label
in place of an ignored guess was added. Label Studio's own `origin` field is only a hint, written by the
client, and is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow.project.rows import Row
from workflow.records import Annotation
from workflow.shapes import overlap

ACTIONS = ("accepted", "moved", "reshaped", "relabelled", "deleted", "added")
MATCH_IOU = 0.3
# The share of a guess that lies within what is ignored, from which on it is no error, as in the metrics.
WITHIN = 0.5


@dataclass(frozen=True)
class CostModel:
    """Seconds an action costs a person; stated, so that the saving can be argued with."""

    look: float
    move: float
    reshape: float
    relabel: float
    delete: float
    add: float

    def seconds(self, actions: Sequence[Row]) -> float:
        """What correcting one image costs."""
        return self.look + sum(map(self.of, actions))

    def of(self, row: Row) -> float:
        """What one action costs."""
        costs = {
            "accepted": 0.0,
            "moved": 0.0,
            "reshaped": 0.0,
            "relabelled": self.relabel,
            "deleted": self.delete,
            "added": self.add,
        }
        return costs[row["action"]] + row["moved"] * self.move + row["reshaped"] * self.reshape

    def seconds_from_nothing(self, count: int) -> float:
        """What drawing and naming everything in one image costs."""
        return self.look + count * self.add


def compare(
    predicted: Sequence[Annotation],
    corrected: Sequence[Annotation],
    one_label: bool = False,
    same: Callable[[Annotation, Annotation], bool] = overlap.same_place,
) -> list[Row]:
    """One row an action: {action, label, was, iou, score, moved, reshaped, region}.

    `was` is the predicted label, `region` the id of the region, the person's where there are two.

    With `one_label` an image has one label as a whole, so that another one in its place is the same label
    renamed; else it is one deleted and one added. What is ignored is nobody's work on a guess. `same` says
    whether a guess was left where it was.
    """
    ignored = [c for c in corrected if c.ignored]
    predicted, corrected = _not_ignored(predicted, ignored), _not_ignored(corrected, ignored)
    pairs = _match(predicted, corrected, one_label)
    kept = {p for p, _ in pairs}
    made = {c for _, c in pairs}
    rows = [_judge(predicted[p], corrected[c], same) for p, c in pairs]
    left = [predicted[p] for p in range(len(predicted)) if p not in kept]
    rows += [_row("deleted", None, guess) for guess in _outside(left, ignored)]
    rows += [_row("added", corrected[c], None) for c in range(len(corrected)) if c not in made]
    return rows


def _not_ignored(annotations: Sequence[Annotation], ignored: Sequence[Annotation]) -> list[Annotation]:
    """Those that are not ignored, nor called by the id of one that is, nor points of one."""
    names = {a.id for a in (*annotations, *ignored) if a.ignored} - {""}
    return [a for a in annotations if not a.ignored and names.isdisjoint((a.id, a.parent))]


def _outside(guesses: Sequence[Annotation], ignored: Sequence[Annotation]) -> list[Annotation]:
    """Guesses, with their points, but those that lie within what is ignored of their label."""
    if not ignored:
        return list(guesses)
    shapes = [g for g in guesses if g.geometry not in ("", "keypoints")]
    shared = overlap.coverage(shapes, ignored)
    same = np.array([[g.label == i.label for i in ignored] for g in shapes], dtype=bool).reshape(shared.shape)
    within = ((shared >= WITHIN) & same).any(axis=1)
    hidden = [shape for shape, inside in zip(shapes, within, strict=True) if inside]
    names = {shape.id for shape in hidden} - {""}
    return [g for g in guesses if g not in hidden and g.parent not in names]


def _match(
    predicted: Sequence[Annotation], corrected: Sequence[Annotation], one_label: bool
) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    keys = [_region_and_label, _region, _point, _name]
    for key in (*keys, _whole_image) if one_label else keys:
        left, right = _rest(pairs, len(predicted), len(corrected))
        waiting: dict[Any, list[int]] = {}
        for c in right:
            waiting.setdefault(key(corrected[c]), []).append(c)
        for p in left:
            name = key(predicted[p])
            if name and waiting.get(name):
                pairs.append((p, waiting[name].pop(0)))
    left, right = _rest(pairs, len(predicted), len(corrected))
    left = [p for p in left if predicted[p].geometry]
    right = [c for c in right if corrected[c].geometry]
    return pairs + by_overlap(predicted, corrected, left, right)


def _rest(pairs: list[tuple[int, int]], predicted: int, corrected: int) -> tuple[list[int], list[int]]:
    """Who has no partner yet, on either side."""
    left = set(range(predicted)) - {p for p, _ in pairs}
    right = set(range(corrected)) - {c for _, c in pairs}
    return sorted(left), sorted(right)


# By what two annotations are one and the same, the surest first; empty where it says nothing.


def _region_and_label(a: Annotation) -> Any:
    # A region with several labels is as many annotations of one id.
    return (a.id, a.label) if a.id and a.geometry else ()


def _region(a: Annotation) -> Any:
    return a.id if a.geometry else ""


def _point(a: Annotation) -> Any:
    return (a.parent, a.label) if a.keypoints and a.parent else ()


def _name(a: Annotation) -> Any:
    return "" if a.geometry else a.label


def _whole_image(a: Annotation) -> Any:
    return not a.geometry


def by_overlap(
    predicted: Sequence[Annotation], corrected: Sequence[Annotation], left: list[int], right: list[int]
) -> list[tuple[int, int]]:
    """The pairs of places, of `left` in the one list and `right` in the other, that mean one object."""
    if not left or not right:
        return []
    from scipy.optimize import linear_sum_assignment

    shared = overlap.iou([predicted[p] for p in left], [corrected[c] for c in right])
    return [
        (left[row], right[column])
        for row, column in zip(*linear_sum_assignment(-shared), strict=True)
        if shared[row, column] >= MATCH_IOU
    ]


def _judge(was: Annotation, now: Annotation, same: Callable[[Annotation, Annotation], bool]) -> Row:
    changed = not same(was, now)
    painted = not {"mask", "polygons"}.isdisjoint((was.geometry, now.geometry))
    action = "reshaped" if painted else "moved"
    if was.label != now.label:
        return _row("relabelled", now, was, action if changed else "")
    return _row(action if changed else "accepted", now, was, action if changed else "")


def _row(action: str, now: Annotation | None, was: Annotation | None, changed: str = "") -> Row:
    iou = overlap.iou_of(was, now) if was and now else 0.0
    region = now.id if now else was.id if was else ""
    return {
        "action": action,
        "label": now.label if now else None,
        "was": was.label if was else None,
        "iou": round(iou, 6),
        "score": was.score if was else None,
        "moved": changed == "moved",
        "reshaped": changed == "reshaped",
        **({"region": region} if region else {}),
    }


def had_guesses(row: Row) -> bool:
    """Whether who decided was shown a guess: not on a blind image, nor where the model guessed nothing."""
    if row["blind"]:
        return False
    if row["skipped"]:
        # Nothing was done to the guesses; of whom they were is known since there is a `model`.
        return bool(row.get("model", True))
    return any(action["action"] != "added" for action in row["actions"])


def simulated_part(count: int, of: int) -> str:
    """For a headline, how many `of` some decisions the simulated reviewer made; empty of none."""
    if not count:
        return ""
    return "simulated" if count == of else f"{count} of {of} simulated"


def summarise(rows: Iterable[Row], cost: CostModel) -> dict[str, Any]:
    """Counts of actions, and the seconds spent on the images that came with a guess.

    `seconds_from_nothing` is what the same images would have cost without one, by the cost model;
    `blind_*` are the images pushed without a prediction, which anchor no figure. What was added where the
    model had guessed nothing counts as an action.
    """
    counts = dict.fromkeys(ACTIONS, 0)
    summary = {"images": 0, "skipped": 0, "reviewer_seconds": 0.0, "seconds_from_nothing": 0.0}
    blind = {"blind_images": 0, "blind_seconds": 0.0}
    for row in rows:
        if row["blind"]:
            blind["blind_images"] += 1
            blind["blind_seconds"] += row["lead_time"]
            continue
        kept = 0
        for action in row["actions"]:
            counts[action["action"]] += 1
            kept += action["action"] != "deleted"
        if not had_guesses(row):
            continue
        summary["images"] += 1
        summary["skipped"] += row["skipped"]
        summary["reviewer_seconds"] += row["lead_time"]
        summary["seconds_from_nothing"] += (
            row["lead_time"] if row["skipped"] else cost.seconds_from_nothing(kept)
        )
    rounded = {k: round(v, 1) for k, v in (summary | blind).items()}
    return counts | rounded

"""The report's part on what is wrong and what scores mean, for templates/report_errors.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workflow.metrics import Metrics
from workflow.metrics.detection_record import DetectionMetrics
from workflow.shown.figures import plots

# The kinds of TIDE as a reader needs them told.
TOLD = {
    "class": "well placed, of another class",
    "place": "of the right class, badly placed: IoU .1 to .5",
    "both": "badly placed and of another class",
    "duplicate": "found again what a better guess had found",
    "background": "where nothing is: IoU .1 or less",
    "missed": "a label that no guess found",
}
# More classes are no longer read; those with most labels are shown.
ROWS = 40


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of error: how many there were before and are after, and what AP50 they cost."""

    name: str
    told: str
    before: dict[str, float] | None
    after: dict[str, float]


def section(base: Metrics | None, tuned: Metrics) -> dict[str, Any] | None:
    """What the template needs; None where there is nothing to say."""
    sides = [("before", base), ("after", tuned)]
    curves = {name: side.calibration for name, side in sides if side is not None and side.calibration}
    kinds = _kinds(base, tuned)
    limit, voc = _limit(tuned), _voc(base, tuned)
    if not kinds and not curves and not limit and not voc:
        return None
    drawn = isinstance(tuned, DetectionMetrics) and any(tuned.f1_curves.values())
    return {
        "kinds": kinds,
        "limit": limit,
        "voc": voc,
        "most_guesses": tuned.uncounted.get("max_guesses") if isinstance(tuned, DetectionMetrics) else None,
        "reliability": plots.reliability(curves) if curves else None,
        "bins": next((curve["bins"] for curve in curves.values()), 0),
        "off": {name: curve["ece"] for name, curve in curves.items()},
        "f1": plots.f1_by_score(tuned) if isinstance(tuned, DetectionMetrics) and drawn else None,
        "cuts": _cuts(base, tuned),
    }


def _limit(tuned: Metrics) -> str:
    """That guesses were left out, and what it costs; empty where none were."""
    beyond = tuned.uncounted if isinstance(tuned, DetectionMetrics) else {}
    if not beyond.get("guesses") and not beyond.get("truths"):
        return ""
    most = beyond["max_guesses"]
    told = f"Of an image and class the best {most} guesses count. {beyond['guesses']} were not counted, in"
    told += f" {beyond['places']} {'pair' if beyond['places'] == 1 else 'pairs'} of image and class."
    if beyond["truths"]:
        told += f" {beyond['truths']} labels are beyond {most} of their class on one image: so many are taken"
        told += " for missed whatever the model says."
    return f"{told} evaluate.max_guesses raises the limit."


def _voc(base: Metrics | None, tuned: Metrics) -> list[tuple[str, float | None, float | None]]:
    """IoU, mean before and after."""
    before, after = (side.voc if isinstance(side, DetectionMetrics) else {} for side in (base, tuned))
    return [(iou, before.get(iou, {}).get("map"), row["map"]) for iou, row in after.items()]


def _kinds(base: Metrics | None, tuned: Metrics) -> list[Kind]:
    before, after = (side.error_split if isinstance(side, DetectionMetrics) else {} for side in (base, tuned))
    return [Kind(name, told, before.get(name), after[name]) for name, told in TOLD.items() if name in after]


def _cuts(base: Metrics | None, tuned: Metrics) -> Sequence[tuple[str, Any, Any]]:
    """Label and rows before and after of each class with labels, at the score best for it alone."""
    rows = {label: row for label, row in tuned.per_class.items() if row.get("best_f1") is not None}
    most = sorted(rows, key=lambda label: -rows[label]["truths"])[:ROWS]
    before = base.per_class if base is not None else {}
    return [(label, before.get(label, {}), rows[label]) for label in rows if label in most]

"""Which score a class's guesses should need before people see them, so that reviewing costs the least.

A guess that is shown costs what people did to it, by the project's cost model. One that is not shown costs
adding the object, if there was one (it was right, or had another name), and nothing if it was deleted.
The threshold that minimises the sum is found exactly, over every score seen. Guesses that the threshold of
their time kept back are in no ledger: what lies below the lowest score seen is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from workflow.labels.ledger import CostModel
from workflow.project.rows import Row

# Fewer guesses of a class are shown, but are nothing to set a threshold by.
FEW = 30


@dataclass(frozen=True, slots=True)
class Suggestion:
    """For one class: the threshold `now` (None: the model's own) and the `best`.

    It rests on `guesses`, the lowest of which scored `lowest`; `kept` of them reach the best threshold.
    `saved` is in expected seconds a hundred images.
    """

    label: str
    now: float | None
    best: float | None
    guesses: int
    kept: int
    lowest: float
    saved: float

    @property
    def worthwhile(self) -> bool:
        """Whether it saves something, and rests on guesses enough to say so."""
        return self.saved > 0 and self.guesses >= FEW

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"worthwhile": self.worthwhile}


def suggest(
    rows: Iterable[Row], cost: CostModel, now: Mapping[str, float | None] | None = None
) -> list[Suggestion]:
    """A suggestion for each class of which guesses with scores were shown, by name.

    `rows` are those of one model: scores of two models mean two things. `now` holds the thresholds in
    force; guesses below them, shown while they were lower, count as kept back.
    """
    shown = [row for row in rows if not row["blind"] and not row["skipped"]]
    guesses: dict[str, list[Row]] = {}
    for row in shown:
        for action in row["actions"]:
            if action["was"] is not None and action["score"] is not None:
                guesses.setdefault(action["was"], []).append(action)
    now = now or {}
    return [_suggest(label, guesses[label], cost, now.get(label), len(shown)) for label in sorted(guesses)]


def _suggest(label: str, actions: list[Row], cost: CostModel, now: float | None, images: int) -> Suggestion:
    actions = sorted(actions, key=lambda action: action["score"])
    scores = np.array([action["score"] for action in actions])
    seconds = _seconds(actions, cost)
    # How many guesses a threshold can keep back: all below a score that occurs, or all there are.
    possible = [0, *(np.flatnonzero(np.diff(scores)) + 1).tolist()]
    possible += [len(scores)] * bool(scores[-1] < 1)
    held = int(np.searchsorted(scores, now)) if now is not None else 0
    hold = min(possible, key=lambda k: (round(float(seconds[k]), 9), k != held, k))
    return Suggestion(
        label=label,
        now=now,
        best=now if hold == held else _threshold(scores, hold),
        guesses=len(scores),
        kept=len(scores) - hold,
        lowest=float(scores[0]),
        saved=round(float(seconds[held] - seconds[hold]) * 100 / images, 6),
    )


def _seconds(actions: list[Row], cost: CostModel) -> np.ndarray:
    """What a class costs where the k lowest of its guesses are kept back: (n + 1,), in seconds."""
    shown = np.array([cost.of(action) for action in actions])
    kept_back = np.array([0.0 if action["action"] == "deleted" else cost.add for action in actions])
    low = np.concatenate([[0.0], np.cumsum(kept_back)])
    high = np.concatenate([np.cumsum(shown[::-1])[::-1], [0.0]])
    return low + high


def _threshold(scores: np.ndarray, hold: int) -> float:
    """A short number that keeps back just the `hold` lowest scores: a low one, to hide little unseen."""
    high = float(scores[hold]) if hold < len(scores) else 1.0
    if not hold:
        return math.floor(high * 100) / 100
    low = float(scores[hold - 1])
    for digits in range(2, 16):
        short = round(math.floor(low * 10**digits + 1) / 10**digits, digits)
        if low < short <= high:
            return short
    return high

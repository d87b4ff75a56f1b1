"""The learning curve over rounds: what each run of a project was worth, by the images it had learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow.errors import WorkflowError
from workflow.metrics import from_json
from workflow.metrics.resampling import Interval
from workflow.project.rows import read_json


@dataclass(frozen=True, slots=True)
class Round:
    """One run: how many `images` it learned from, and its score on as many images as were `tested`.

    `same` says whether these are just those of the run that is reported. A round without a `run` is the
    model that was there before the first.
    """

    run: str
    base: str
    images: int
    tested: int
    score: Interval
    same: bool


def rounds(folder: Path, current: str) -> list[Round]:
    """The evaluated runs in `folder` of the task and metric of `current`, by how much they had learned from.

    A run that was not evaluated, or whose numbers cannot be read, is no round. Of few rounds there is no
    curve: nothing where there is but one run.
    """
    now = _numbers(folder / current)
    if now is None:
        return []
    found = [r for path in sorted(folder.iterdir()) if (r := _round(path, now)) is not None]
    if len(found) < 2:
        return []
    found.sort(key=lambda r: (r.images, (folder / r.run / "run.json").stat().st_mtime_ns))
    return [*_before(folder, found, now), *found]


def _numbers(folder: Path) -> dict[str, Any] | None:
    """run.json and metrics.json of a run as one; None where either is not there, or is damaged."""
    try:
        card, numbers = (read_json(folder / name) for name in ("run.json", "metrics.json"))
        if card is None or numbers is None or numbers.get("tuned") is None:
            return None
        sides = {side: from_json(numbers[side]) if numbers.get(side) else None for side in ("base", "tuned")}
        return {**card, **numbers, **sides, "spec": card["base"]["spec"], "learned": card["images"]["train"]}
    except (WorkflowError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def _round(folder: Path, now: dict[str, Any]) -> Round | None:
    numbers = _numbers(folder)
    if numbers is None or _measured(numbers) != _measured(now):
        return None
    tuned = numbers["tuned"]
    score = Interval(**numbers["score"]) if numbers.get("score") else Interval(tuned.score, None, None)
    same = numbers.get("tested") is not None and numbers.get("tested") == now.get("tested")
    return Round(folder.name, numbers["spec"], numbers["learned"], tuned.images, score, same)


def _measured(numbers: dict[str, Any]) -> tuple[str, ...]:
    """What makes two scores comparable, but for the images."""
    return numbers["tuned"].task, numbers["tuned"].metric, numbers.get("split", "")


def _before(folder: Path, found: Sequence[Round], now: dict[str, Any]) -> Iterator[Round]:
    """The model from which the first run began, as the latest run that began from it has measured it."""
    for last in reversed(found):
        numbers = _numbers(folder / last.run)
        if numbers is None or numbers["base"] is None or last.base.startswith("run:"):
            continue
        base, compared = numbers["base"], numbers.get("comparison")
        score = Interval(base.score, None, None)
        if compared:
            score = Interval(**compared["score"]["before"])
        yield Round("", last.base, 0, base.images, score, last.same)
        return

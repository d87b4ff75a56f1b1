"""Is one model better than another? The paired bootstrap on the same images, and a verdict in words.

Both models are scored on the same draws of the images (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, chapter 16), so that images which are hard for both do not blur their difference. Of many
differences looked at together, one a class and one a slice, the chances are corrected by Holm's method
(Scandinavian Journal of Statistics, 1979).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any, Literal

import numpy as np

from workflow.metrics.coco import Floats
from workflow.metrics.common import Metrics
from workflow.metrics.evidence import Evidence
from workflow.metrics.resampling import DRAWS, LEVEL, Interval, Weights, draw, interval

Verdict = Literal["better", "worse", "cannot be told"]
# Two ways to reckon one number agree to this; another number hardly does.
SAME = 1e-6
# With fewer images that hold what is compared, draws hardly vary, and their interval says nothing.
FEW = 5
# Two-sided at 95 %, found in 80 of 100 such tests: the normal quantiles by which images are reckoned.
_SURE, _FOUND = 1.96, 0.84


@dataclass(frozen=True, slots=True)
class Change:
    """What a number was and became, with intervals of 95 %; None for what does not exist.

    `chance` is the share of draws in which it rose, half of those in which it stayed. `images` hold what was
    looked at; where they do not tell, about `needed` would, which fewer than FEW cannot say. `verdict` minds
    how many changes were looked at.
    """

    before: Interval
    after: Interval
    difference: Interval
    chance: float | None
    verdict: Verdict
    images: int
    needed: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Change:
        intervals = {key: Interval(**record[key]) for key in ("before", "after", "difference")}
        return cls(**{**record, **intervals})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same images: how the score changed, that of each class, and that of each slice."""

    score: Change
    per_class: dict[str, Change] = field(default_factory=dict)
    slices: dict[str, Change] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Comparison:
        parts = {
            part: {name: Change.from_json(row) for name, row in record[part].items()}
            for part in ("per_class", "slices")
        }
        return cls(Change.from_json(record["score"]), **parts)


@dataclass(frozen=True, slots=True)
class Sureness:
    """A model's score with its interval, and what changed from the model before, if there is one."""

    score: Interval
    comparison: Comparison | None

    def to_json(self) -> dict[str, Any]:
        return {"score": asdict(self.score), "comparison": self.comparison and self.comparison.to_json()}


def sureness(
    before: Evidence | None,
    after: Evidence,
    groups: Sequence[str],
    classes: Sequence[str],
    slices: Mapping[str, Collection[int]],
) -> Sureness:
    """How sure the score after is, and what changed; see `compare`."""
    if before is None:
        return Sureness(confidence(after, groups), None)
    comparison = compare(before, after, groups, classes, slices)
    return Sureness(comparison.score.after, comparison)


def confidence(evidence: Evidence, groups: Sequence[str], draws: int = DRAWS) -> Interval:
    """The score with its interval. `groups` names what each image belongs to, in the order of the ids."""
    value = _known(evidence.scores(_as_they_are(groups))[0][0])
    return interval(value, evidence.scores(draw(groups, draws))[0])


def intervals_of(
    weighed: Mapping[str, tuple[Metrics, Evidence]], groups: Sequence[str], sure: Sureness
) -> dict[str, dict[str, Interval]]:
    """Those of the headlines of "base", where it is compared with, and of "tuned"."""
    scores = {"tuned": sure.score}
    if sure.comparison is not None:
        scores["base"] = sure.comparison.score.before
    return {
        side: headline_intervals(weighed[side][1], weighed[side][0], groups, score)
        for side, score in scores.items()
    }


def headline_intervals(
    evidence: Evidence, numbers: Metrics, groups: Sequence[str], score: Interval
) -> dict[str, Interval]:
    """The interval of each headline that the evidence can make again, by its key; the `score` has its own.

    The threshold of what is shown is a part of the model, and stays what it is in each draw.
    """
    threshold = getattr(numbers, "threshold", 0.0)
    every, drawn = _as_they_are(groups), draw(groups)
    values, many = (dict(evidence.others(weights, threshold)) for weights in (every, drawn))
    found = {}
    for line in numbers.headlines:
        if line.value is None:
            continue
        if line.name == numbers.metric:
            found[line.key] = score
        # Only what is the very number that is shown: that of points, say, is not made of boxes.
        elif line.key in values and abs(values[line.key][0] - line.value) < SAME:
            found[line.key] = interval(line.value, many[line.key])
    return found


def compare(
    before: Evidence,
    after: Evidence,
    groups: Sequence[str],
    classes: Sequence[str],
    slices: Mapping[str, Collection[int]] | None = None,
    draws: int = DRAWS,
) -> Comparison:
    """How the score changed from one model to the other, on the images both were asked of.

    `groups` names what each image belongs to, in the order of the ids; images of one group are drawn
    together. `slices` holds the numbers of the images of each; objects are also told apart by their size.
    """
    weights, plain = draw(groups, draws), _as_they_are(groups)
    sides = [(*side.scores(plain), *side.scores(weights)) for side in (before, after)]
    score = _change([(_known(value[0]), drawn) for value, _, drawn, _ in sides], groups)
    holding = after.holding()
    changes = {
        f"class {label}": _change(
            [(_known(values[0, n]), drawn[:, n]) for _, values, _, drawn in sides],
            _chosen(groups, holding[:, n]),
        )
        for n, label in enumerate(classes)
    }
    for name, numbers in (slices or {}).items():
        changes[f"slice {name}"] = _within((before, after), numbers, weights, groups)
    parts = [side.parts() for side in (before, after)]
    for name in parts[0]:
        pair = [part[name] for part in parts]
        held = np.flatnonzero(pair[1].holding().any(axis=1)).tolist()
        changes[f"slice {name}"] = _within(pair, range(len(groups)), weights, groups, held)
    looked_at = corrected(changes)
    return Comparison(
        score,
        {label: looked_at[f"class {label}"] for label in classes},
        {name: looked_at[f"slice {name}"] for name in (*(slices or {}), *parts[0])},
    )


def in_words(change: Change) -> str:
    """The verdict as a sentence says it."""
    images = f"{change.images} image{'s' if change.images != 1 else ''}"
    if change.verdict != "cannot be told":
        return f"{change.verdict}, with {images}"
    more = f"; about {change.needed} would do" if change.needed else ""
    return f"cannot be told with {images}{more}"


def _within(
    sides: Sequence[Evidence],
    numbers: Collection[int],
    weights: Weights,
    groups: Sequence[str],
    held: Collection[int] | None = None,
) -> Change:
    """The change on some images only, of which those `held` tell; the draws are the same."""
    chosen = np.zeros(weights.shape[1], dtype=bool)
    chosen[list(numbers)] = True
    plain, drawn = np.ones((1, int(chosen.sum())), dtype=np.int32), weights[:, chosen]
    parts = [side.within(chosen) for side in sides]
    pairs = [(_known(part.scores(plain)[0][0]), part.scores(drawn)[0]) for part in parts]
    return _change(pairs, [groups[n] for n in (numbers if held is None else held)])


def _chosen(groups: Sequence[str], which: Sequence[bool] | np.ndarray) -> list[str]:
    return [group for group, is_there in zip(groups, which, strict=True) if is_there]


def _change(sides: Sequence[tuple[float | None, Floats]], groups: Sequence[str]) -> Change:
    """From the number and its draws, before and after; `groups` are those of the images that can tell."""
    before, after = sides
    value = None if before[0] is None or after[0] is None else after[0] - before[0]
    differences = after[1] - before[1]
    difference = interval(value, differences, least=-1)
    known = differences[~np.isnan(differences)]
    chance = float((known > 0).mean() + (known == 0).mean() / 2) if len(known) else None
    few, images = len(set(groups)) < FEW, len(groups)
    verdict: Verdict = "cannot be told" if few else _verdict(difference)
    needed = _needed(difference, known, images) if verdict == "cannot be told" and not few else None
    return Change(
        interval(*before), interval(*after), difference, chance, verdict, images=images, needed=needed
    )


def _verdict(difference: Interval) -> Verdict:
    if difference.low is not None and difference.low > 0:
        return "better"
    if difference.high is not None and difference.high < 0:
        return "worse"
    return "cannot be told"


def _needed(difference: Interval, draws: Floats, images: int) -> int | None:
    """How many images would show a difference as large as this one: its error falls with their root."""
    if not difference.value or not len(draws):
        return None
    needed = ceil(images * ((_SURE + _FOUND) * float(np.std(draws)) / difference.value) ** 2)
    return max(needed, images + 1)


def corrected(changes: Mapping[str, Change]) -> dict[str, Change]:
    """The verdicts by Holm's method: the surest must pass the strictest of bars, the next a weaker one."""

    def unlikely(change: Change) -> float:
        """How likely so clear a change would be, were there none."""
        return 1.0 if change.chance is None else 2 * min(change.chance, 1 - change.chance)

    ranked = sorted(changes, key=lambda name: unlikely(changes[name]))
    corrected, passed = {}, True
    for n, name in enumerate(ranked):
        passed = passed and unlikely(changes[name]) <= (1 - LEVEL) / (len(ranked) - n)
        change = changes[name]
        corrected[name] = change if passed else replace(change, verdict="cannot be told")
    return corrected


def _as_they_are(groups: Sequence[str]) -> Weights:
    """Each image once."""
    return np.ones((1, len(groups)), dtype=np.int32)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

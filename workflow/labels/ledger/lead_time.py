"""Seconds an image took people, with guesses and without.

The images without are those pushed blind: the control share, and the splits that only measure. Both are
drawn by a hash, so what differs is the help. Left out are images on which the model guessed nothing, skipped
ones, times that the server did not keep (0), and images with a planted probe, which cost a deletion that no
model is to blame for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.labels.ledger import had_guesses, simulated_part
from workflow.project.rows import Row

Seconds = NDArray[np.float64]
LEVEL = 0.95
# With fewer images on either side, resampling them says nothing about those nobody saw.
FEW = 10
RESAMPLES = 5000
STATISTICS: dict[str, Callable[..., Any]] = {"median": np.median, "mean": np.mean}


@dataclass(frozen=True)
class LeadTime:
    """`guessed` and `blind` hold the seconds of each image; `control` of the blind are the control share.

    `simulated` of all these times were made by the cost model: where there are any, nothing is tested.
    """

    guessed: Seconds
    blind: Seconds
    control: int
    simulated: int

    @property
    def simulated_part(self) -> str:
        """For a headline: whose times these are, where they are not people's alone."""
        return simulated_part(self.simulated, len(self.guessed) + len(self.blind))

    @property
    def enough(self) -> bool:
        """Whether both sides have images enough for an interval."""
        return min(len(self.guessed), len(self.blind)) >= FEW

    def of(self, statistic: str) -> tuple[float | None, float | None]:
        """The median or mean with guesses and without, in seconds; None of no image."""
        sides = (self.guessed, self.blind)
        guessed, blind = (float(STATISTICS[statistic](side)) if len(side) else None for side in sides)
        return guessed, blind

    def saved(self, statistic: str) -> float | None:
        """How much less the median or mean is with guesses, in seconds."""
        guessed, blind = self.of(statistic)
        return None if guessed is None or blind is None else blind - guessed

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of what each statistic saves, by bootstrap (percentiles); none of too few."""
        return {name: self._interval(name) for name in STATISTICS} if self.enough else {}

    @cached_property
    def p(self) -> float | None:
        """Mann and Whitney's two-sided p that both sides' times are alike; None of too few, or simulated."""
        if not self.enough or self.simulated:
            return None
        from scipy.stats import mannwhitneyu

        return float(mannwhitneyu(self.guessed, self.blind).pvalue)

    def _interval(self, name: str) -> tuple[float, float]:
        from scipy.stats import bootstrap

        statistic = STATISTICS[name]
        interval = bootstrap(
            (self.blind, self.guessed),
            lambda blind, guessed, axis: statistic(blind, axis=axis) - statistic(guessed, axis=axis),
            n_resamples=RESAMPLES,
            # All at once, the resamples of ten thousand images would take gigabytes.
            batch=100,
            vectorized=True,
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        return float(interval.low), float(interval.high)

    def to_json(self) -> dict[str, Any]:
        figures: dict[str, Any] = {"images": len(self.guessed), "blind": len(self.blind)}
        figures |= {"control": self.control, "simulated": self.simulated, "p": self.p}
        for name in STATISTICS:
            guessed, blind = self.of(name)
            low, high = self.intervals.get(name, (None, None))
            side = {"guessed": guessed, "blind": blind, "saved": self.saved(name), "low": low, "high": high}
            figures[name] = side
        return figures


def lead_time(rows: Iterable[Row]) -> LeadTime:
    """The times of ledger rows that can be compared."""
    timed = [r for r in rows if not r["skipped"] and r["lead_time"] > 0 and not r.get("probes")]
    timed = [r for r in timed if r["blind"] or had_guesses(r)]
    guessed, blind = ([r["lead_time"] for r in timed if bool(r["blind"]) is side] for side in (False, True))
    control = sum(bool(r["blind"] and r.get("control")) for r in timed)
    simulated = sum(bool(r.get("simulated")) for r in timed)
    return LeadTime(np.array(guessed, dtype=float), np.array(blind, dtype=float), control, simulated)

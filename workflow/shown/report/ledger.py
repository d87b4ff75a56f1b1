"""The report's part on the ledger, for templates/report_ledger.html: bars of what became of the guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workflow.labels.ledger.figures import FATES, UNKNOWN, Figures, Share, Tallies, Tally
from workflow.labels.ledger.lead_time import FEW, STATISTICS, LeadTime
from workflow.labels.ledger.thresholds import Suggestion
from workflow.shown.report.tables import fates

# More rows are no longer read; the rest share one.
ROWS = 20
DASH = "–"


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: percents of its guesses by what happened to them, and the interval of the right ones."""

    name: str
    guesses: int
    parts: list[tuple[str, float]]
    interval: tuple[float, float] | None
    precision: str
    recall: str

    @property
    def told(self) -> str:
        """The bar in words, for those who cannot see it."""
        return ", ".join(f"{share:.0f} % {word}" for word, share in self.parts) or "no guess"


def section(figures: Figures, suggestions: Sequence[Suggestion], model: str) -> dict[str, Any]:
    """What the template needs: tables of bars, lead times, probes, thresholds."""
    tables = {"class": figures.classes, "score": figures.scores}
    rounds = {f"{n}: {name}": tally for n, (name, tally) in enumerate(figures.rounds.items(), 1)}
    tables |= {"round": rounds} if len(rounds) > 1 else {}
    tables |= {"person": figures.persons} if len(figures.persons) > 1 else {}
    return {
        "tables": {title: _bars(tallies) for title, tallies in tables.items()},
        "all": _bar("all", figures.all),
        "became": fates(figures.became, list(figures.classes)),
        "lead_time": _lead_time(figures.lead_time),
        "probes": [(who, share.count, share.of, shown(share)) for who, share in _probes(figures)],
        "suggestions": [s for s in suggestions if s.worthwhile],
        "model": "" if model == UNKNOWN else model,
    }


def shown(share: Share | None) -> str:
    """A share and its interval, as "0.91 (0.89–0.93)"."""
    if share is None or share.value is None or share.interval is None:
        return DASH
    low, high = share.interval
    return f"{share.value:.2f} ({low:.2f}–{high:.2f})"


def _bars(tallies: Tallies) -> list[Bar]:
    if len(tallies) <= ROWS:
        return [_bar(name, tally) for name, tally in tallies.items()]
    by_guesses = sorted(tallies, key=lambda name: -tallies[name].guesses)[: ROWS - 1]
    rest = [tally for name, tally in tallies.items() if name not in by_guesses]
    bars = [_bar(name, tally) for name, tally in tallies.items() if name in by_guesses]
    return [*bars, _bar(f"({len(rest)} others)", sum(rest[1:], rest[0]))]


def _bar(name: str, tally: Tally) -> Bar:
    counts = {word: tally.counts[word] for word in FATES if tally.counts[word]}
    interval = tally.precision.interval
    return Bar(
        name=name,
        guesses=tally.guesses,
        parts=[(word, 100 * count / tally.guesses) for word, count in counts.items()],
        interval=interval and (100 * interval[0], 100 * interval[1]),
        precision=shown(tally.precision),
        recall=shown(tally.recall),
    )


def _probes(figures: Figures) -> list[tuple[str, Share]]:
    shares = list(figures.probes.items())
    return [*shares, ("all", figures.all_probes)] if len(shares) > 1 else shares


def _lead_time(times: LeadTime) -> dict[str, Any] | None:
    """None where all images had guesses, or none, so that there is nothing to compare."""
    if not len(times.guessed) or not len(times.blind):
        return None
    rows = [(name, *times.of(name), times.saved(name), times.intervals.get(name)) for name in STATISTICS]
    return {
        "rows": rows,
        "guessed": len(times.guessed),
        "blind": len(times.blind),
        "control": times.control,
        "simulated": times.simulated_part,
        "p": times.p,
        "few": FEW,
    }

"""The ledger as figures: what became of the guesses, and how right the model was as people judged it.

A guess is right if people accepted, moved or reshaped it. One they renamed was wrong of the class it had,
and the class it got was missed there; one they deleted was wrong; what they added was missed. So
precision = right / guesses and recall = right / (right + missed). Every share comes with Wilson's
95 % interval (Wilson 1927; scipy's `binomtest`). Blind images, on which no guess was shown, count in
`LeadTime` only, and probes in `Figures.probes` only. Rows of ledger.jsonl from before a key was kept lack it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflow.labels.ledger import ACTIONS, had_guesses, simulated_part
from workflow.labels.ledger.lead_time import LEVEL, LeadTime, lead_time
from workflow.project.rows import Row

RIGHT = ("accepted", "moved", "reshaped")
FATES = (*RIGHT, "relabelled", "deleted")
MISSES = ("relabelled", "added")
# Whose guesses they were, in rows that do not say it.
UNKNOWN = "unknown"
NO_SCORE = "no score"
BINS = 10


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `of`, and between which shares the true one lies with 95 % confidence; None of nothing."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        if not self.of:
            return None
        from scipy.stats import binomtest

        bounds = binomtest(self.count, self.of).proportion_ci(LEVEL, method="wilson")
        return float(bounds.low), float(bounds.high)

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval or (None, None)
        return {"count": self.count, "of": self.of, "share": self.value, "low": low, "high": high}


@dataclass
class Tally:
    """What people did to some guesses, and how many objects those missed.

    `missed` counts what was added or got another name; None where that cannot be told, as for a score bin:
    what was missed has no score.
    """

    counts: Counter[str] = field(default_factory=Counter)
    missed: int | None = 0

    @property
    def guesses(self) -> int:
        return sum(self.counts[action] for action in FATES)

    @property
    def right(self) -> int:
        return sum(self.counts[action] for action in RIGHT)

    @property
    def objects(self) -> int:
        """How many objects people left."""
        return self.right + (self.missed or 0)

    @property
    def precision(self) -> Share:
        return Share(self.right, self.guesses)

    @property
    def recall(self) -> Share | None:
        return None if self.missed is None else Share(self.right, self.objects)

    def share(self, action: str) -> Share:
        """Of the guesses, those it happened to; of what was `added`, its part of the objects people left."""
        return Share(self.counts[action], self.objects if action == "added" else self.guesses)

    def __add__(self, other: Tally) -> Tally:
        missed = None if self.missed is None or other.missed is None else self.missed + other.missed
        return Tally(self.counts + other.counts, missed)

    def to_json(self) -> dict[str, Any]:
        shown = ACTIONS if self.missed is not None else FATES
        record: dict[str, Any] = {"guesses": self.guesses, "missed": self.missed}
        record |= {action: self.share(action).to_json() for action in shown}
        return record | {
            "precision": self.precision.to_json(),
            "recall": self.recall and self.recall.to_json(),
        }


Tallies = dict[str, Tally]


@dataclass(frozen=True)
class Figures:
    """All figures of a ledger. `decisions` are those on images with guesses; `skipped` of them gave no label.

    `unguessed` are those on images where the model guessed nothing. `simulated` of all decisions, the blind
    ones too, are the simulated reviewer's.

    `rounds` has a tally a model version, in the order in which people first met them; `models` puts the
    revisions of a model together. `probes` says which share of the planted guesses each person caught.
    `became` counts, by the class of a guess, which class people left it; "" is what they deleted and, as a
    guess, what they added.
    """

    decisions: int
    skipped: int
    unguessed: int
    blind: int
    control: int
    simulated: int
    all: Tally
    classes: Tallies
    scores: Tallies
    models: Tallies
    rounds: Tallies
    persons: Tallies
    lead_time: LeadTime
    probes: dict[str, Share]
    became: dict[str, dict[str, int]]

    @property
    def simulated_part(self) -> str:
        """For a headline: who decided, where that was not people alone."""
        return simulated_part(self.simulated, self.decisions + self.unguessed + self.blind)

    @property
    def all_probes(self) -> Share:
        shares = self.probes.values()
        return Share(sum(s.count for s in shares), sum(s.of for s in shares))

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"decisions": self.decisions, "skipped": self.skipped}
        record |= {"unguessed": self.unguessed, "blind": self.blind, "control": self.control}
        record |= {"simulated": self.simulated, "all": self.all.to_json()}
        for name in ("classes", "scores", "models", "rounds", "persons"):
            record[name] = {key: tally.to_json() for key, tally in getattr(self, name).items()}
        record["lead_time"] = self.lead_time.to_json()
        record["probes"] = {person: share.to_json() for person, share in self.probes.items()}
        return record | {"all_probes": self.all_probes.to_json(), "became": self.became}


def figures(rows: Iterable[Row], labels: Sequence[str] = ()) -> Figures:
    """The figures of ledger rows; `labels` gives the order of the classes, the rest by name after them."""
    known = sorted(rows, key=lambda row: (row["at"], row["image"]))
    shown = [row for row in known if not row["blind"]]
    guessed = [row for row in shown if had_guesses(row)]
    classes = _tally(shown, lambda row, action: action["was"], lambda row, action: action["label"])
    order = {label: number for number, label in enumerate(labels)}
    return Figures(
        decisions=len(guessed),
        skipped=sum(row["skipped"] for row in guessed),
        unguessed=len(shown) - len(guessed),
        blind=len(known) - len(shown),
        control=sum(bool(row.get("control")) for row in known),
        simulated=sum(bool(row.get("simulated")) for row in known),
        all=_by(shown, lambda row: "")[""] if shown else Tally(),
        classes=dict(sorted(classes.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))),
        scores=dict(sorted(_tally(shown, lambda row, action: score_bin(action["score"]), None).items())),
        models=_by(shown, lambda row: version(row).partition("@")[0]),
        rounds=_by(shown, version),
        persons=dict(sorted(_by(shown, lambda row: row["person"]).items())),
        lead_time=lead_time(known),
        probes=_probes(known),
        became=_became(shown),
    )


def version(row: Row) -> str:
    """The model version a person started from."""
    return row.get("model") or UNKNOWN


def score_bin(score: float | None) -> str:
    """The tenth of [0, 1] a score lies in, as "0.3-0.4"; its lower end belongs to it, and 1 to the last."""
    if score is None:
        return NO_SCORE
    # By comparison with each bound: multiplied, some bounds fall short of themselves.
    number = sum(score >= n / BINS for n in range(1, BINS))
    return f"{number / BINS:.1f}-{(number + 1) / BINS:.1f}"


Key = Callable[[Row, Row], str]


def _by(rows: Iterable[Row], key: Callable[[Row], str]) -> Tallies:
    """A tally of each kind of row, in the order of their first."""
    tallies: Tallies = {}
    for row in rows:
        tallies.setdefault(key(row), Tally())
    return tallies | _tally(rows, lambda row, _: key(row), lambda row, _: key(row))


def _tally(rows: Iterable[Row], of_guess: Key, of_object: Key | None) -> Tallies:
    """A tally of each key that a guess has, or what was missed has; without `of_object` nothing is missed."""
    tallies: Tallies = {}
    new = Tally if of_object else lambda: Tally(missed=None)
    for row in rows:
        for action in row["actions"]:
            word = action["action"]
            if word != "added":
                tallies.setdefault(of_guess(row, action), new()).counts[word] += 1
            if of_object and word in MISSES:
                tally = tallies.setdefault(of_object(row, action), new())
                tally.counts["added"] += word == "added"
                tally.missed = (tally.missed or 0) + 1
    return tallies


def _became(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    became: dict[str, Counter[str]] = {}
    for row in rows:
        for action in row["actions"]:
            became.setdefault(action["was"] or "", Counter())[action["label"] or ""] += 1
    return {was: dict(sorted(counts.items())) for was, counts in sorted(became.items())}


def _probes(rows: Iterable[Row]) -> dict[str, Share]:
    planted, caught = Counter[str](), Counter[str]()
    for row in rows:
        for probe in row.get("probes") or ():
            planted[row["person"]] += 1
            caught[row["person"]] += probe["caught"]
    return {person: Share(caught[person], planted[person]) for person in sorted(planted)}

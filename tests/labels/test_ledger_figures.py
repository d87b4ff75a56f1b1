"""The ledger's figures, counted by hand or by another formula, and thresholds against brute force."""

from __future__ import annotations

import math
import warnings
from statistics import NormalDist, mean, median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger_rows import ROUNDS, Row, action, realistic, row
from workflow.labels.ledger import CostModel, summarise
from workflow.labels.ledger.figures import NO_SCORE, UNKNOWN, Share, Tally, figures, score_bin
from workflow.labels.ledger.lead_time import FEW, lead_time
from workflow.labels.ledger.thresholds import FEW as FEW_GUESSES
from workflow.labels.ledger.thresholds import suggest

COST = CostModel(look=1.5, move=3, reshape=8, relabel=1.5, delete=1, add=5)
CLASSES = ("a", "b", "c")
Z = NormalDist().inv_cdf(0.975)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Two people, two models; a skip, a blind image with its additions, and planted guesses."""
    first = [
        action("accepted", "a", score=0.95),
        action("accepted", "b", score=1.0),
        action("moved", "a", score=0.5),
        action("relabelled", "b", "a", 0.35),
        action("deleted", None, "c", 0.1),
        action("added", "c"),
    ]
    second = [action("reshaped", "a"), action("deleted", None, "a", 0.3), action("added", "a")]
    probes = {"probes": [{"id": "probe-0", "caught": False}]}
    return [
        row(1, *first, **probes),
        row(0, *second, person="bob", model=ROUNDS[1], at="2026-02-01T00:00:00Z"),
        row(2, skipped=True, person="bob", probes=[{"id": "probe-0", "caught": True}]),
        row(3, action("added", "b"), blind=True, model="", control=True),
        row(4, action("added", "b"), blind=True, model="", split="test", lead_time=9.0),
        row(5, action("accepted", "b", score=0.9), **probes),
    ]


def test_what_became_of_the_guesses(rows: list[Row]) -> None:
    found = figures(rows, CLASSES)
    assert (found.decisions, found.skipped, found.blind, found.control) == (4, 1, 2, 1)
    assert found.all == Tally(
        {"accepted": 3, "moved": 1, "reshaped": 1, "relabelled": 1, "deleted": 2, "added": 2}, missed=3
    )
    assert (found.all.guesses, found.all.right, found.all.objects) == (8, 5, 8)
    assert found.all.share("deleted") == Share(2, 8)
    # Two of the eight objects that people left had to be added.
    assert found.all.share("added") == Share(2, 8)


def test_with_guesses_are_images_that_had_one() -> None:
    """An image on which the model found nothing is none; what was added there is missed all the same."""
    rows = [
        row(0, action("accepted", "a")),
        row(1),
        row(2, action("added", "a")),
        row(3, skipped=True, model=""),
        row(4, skipped=True),
        row(5, action("added", "a"), blind=True, model=""),
    ]
    found = figures(rows)
    assert (found.decisions, found.skipped, found.unguessed, found.blind) == (2, 1, 3, 1)
    assert found.all.recall == Share(1, 2)
    summary = summarise(rows, COST)
    assert {key: summary[key] for key in ("images", "skipped", "reviewer_seconds", "added")} == {
        "images": 2,
        "skipped": 1,
        "reviewer_seconds": 8.0,
        "added": 1,
    }
    # A look and a box; and what the skipped one took.
    assert summary["seconds_from_nothing"] == 1.5 + 5 + 4


def test_each_class_by_what_it_was_and_what_it_became(rows: list[Row]) -> None:
    found = figures(rows, ("b", "a"))
    assert list(found.classes) == ["b", "a", "c"]
    assert {name: (t.precision, t.recall) for name, t in found.classes.items()} == {
        # One b was called a: a false positive of a, and missed as b.
        "b": (Share(2, 2), Share(2, 3)),
        "a": (Share(3, 5), Share(3, 4)),
        "c": (Share(0, 1), Share(0, 1)),
    }
    assert [t.counts["relabelled"] for t in found.classes.values()] == [0, 1, 0]


def test_rounds_models_people_and_scores(rows: list[Row]) -> None:
    found = figures(rows)
    assert [(name, t.guesses, t.missed) for name, t in found.rounds.items()] == [
        (ROUNDS[0], 6, 2),
        (ROUNDS[1], 2, 1),
    ]
    assert list(found.models) == ["yolo11n", "run:second"]
    assert {name: t.precision for name, t in found.persons.items()} == {
        "ann": Share(4, 6),
        "bob": Share(1, 2),
    }
    assert {name: t.precision for name, t in found.scores.items()} == {
        "0.1-0.2": Share(0, 1),
        "0.3-0.4": Share(0, 2),
        "0.5-0.6": Share(1, 1),
        "0.9-1.0": Share(3, 3),
        NO_SCORE: Share(1, 1),
    }
    # What was missed has no score.
    assert all(t.missed is None and t.recall is None for t in found.scores.values())


def test_revisions_of_one_model_are_rounds_of_it() -> None:
    told = [row(n, action("accepted", "a"), model=f"m@{n}") for n in (2, 0, 1)]
    found = figures(told)
    assert list(found.rounds) == ["m@0", "m@1", "m@2"]
    assert {name: t.guesses for name, t in found.models.items()} == {"m": 3}


def test_probes_a_person(rows: list[Row]) -> None:
    found = figures(rows)
    assert found.probes == {"ann": Share(0, 2), "bob": Share(1, 1)}
    assert found.all_probes == Share(1, 3)


def test_what_guesses_became(rows: list[Row]) -> None:
    found = figures(rows, CLASSES)
    assert found.became == {
        "": {"a": 1, "c": 1},
        "a": {"": 1, "a": 3, "b": 1},
        "b": {"b": 2},
        "c": {"": 1},
    }
    # Nothing is lost, and nothing of a blind image is in it.
    of_all = [found.all.guesses, found.all.counts["added"]]
    guessed = sum(sum(row.values()) for was, row in found.became.items() if was)
    assert [guessed, sum(found.became[""].values())] == of_all
    assert found.to_json()["became"] == found.became


def test_rows_of_older_ledgers() -> None:
    old = row(1, action("accepted", "a", score=0.5))
    for key in ("model", "control"):
        del old[key]
    found = figures([old])
    assert list(found.rounds) == list(found.models) == [UNKNOWN]
    assert (found.control, found.probes, found.all.precision) == (0, {}, Share(1, 1))


def test_an_empty_ledger_has_no_shares() -> None:
    found = figures([])
    assert found.all.precision == Share(0, 0)
    assert found.all.precision.to_json() == {"count": 0, "of": 0, "share": None, "low": None, "high": None}
    assert found.to_json()["lead_time"]["median"] == {
        "guessed": None,
        "blind": None,
        "saved": None,
        "low": None,
        "high": None,
    }


@given(st.integers(1, 2000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_intervals_are_wilsons(share: tuple[int, int]) -> None:
    count, of = share
    middle = (count + Z**2 / 2) / (of + Z**2)
    half = Z / (of + Z**2) * math.sqrt(count * (of - count) / of + Z**2 / 4)
    assert Share(count, of).interval == pytest.approx((middle - half, middle + half), abs=1e-9)


@pytest.mark.parametrize(
    ("score", "bin_"),
    [
        (0.0, "0.0-0.1"),
        (0.3, "0.3-0.4"),
        (0.7, "0.7-0.8"),
        (0.0999, "0.0-0.1"),
        (1.0, "0.9-1.0"),
        (None, NO_SCORE),
    ],
)
def test_score_bins(score: float | None, bin_: str) -> None:
    assert score_bin(score) == bin_


_labels = st.sampled_from(CLASSES)
_scores = st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.51, 0.999, 1.0]), st.floats(0, 1))
_words = st.sampled_from(["accepted", "moved", "reshaped", "relabelled", "deleted", "added"])


@st.composite
def _action(draw: st.DrawFn) -> Row:
    word, label, score = draw(_words), draw(_labels), draw(_scores)
    if word == "relabelled":
        return action(word, label, draw(_labels.filter(lambda was: was != label)), score)
    if word == "deleted":
        return action(word, None, label, score)
    return action(word, label, score=None if word == "added" else score)


_rows = st.lists(
    st.tuples(st.lists(_action(), max_size=6), st.sampled_from(ROUNDS), st.sampled_from("xy"))
).map(lambda drawn: [row(n, *acts, model=m, person=who) for n, (acts, m, who) in enumerate(drawn)])


@given(_rows)
def test_every_grouping_holds_all_and_nothing_twice(rows: list[Row]) -> None:
    found = figures(rows)
    actions = [a for r in rows for a in r["actions"]]
    for group in (found.classes, found.models, found.rounds, found.persons):
        assert sum(group.values(), Tally()) == found.all
    assert sum(t.guesses for t in found.scores.values()) == found.all.guesses
    for label, tally in found.classes.items():
        guessed = [a for a in actions if a["was"] == label]
        right = [a for a in guessed if a["label"] == label]
        there = [a for a in actions if a["label"] == label]
        assert (tally.precision, tally.recall) == (
            Share(len(right), len(guessed)),
            Share(len(right), len(there)),
        )


# Lead times.


def _times(guessed: list[float], blind: list[float], **more: object) -> list[Row]:
    with_guesses = [row(n, action("accepted", "a"), lead_time=s, **more) for n, s in enumerate(guessed)]
    return with_guesses + [row(900 + n, lead_time=s, blind=True, **more) for n, s in enumerate(blind)]


def test_seconds_with_guesses_and_without() -> None:
    guessed, blind = [float(n) for n in range(1, 11)], [float(n) for n in range(21, 31)]
    times = lead_time(_times(guessed, blind))
    assert times.of("median") == (median(guessed), median(blind)) == (5.5, 25.5)
    assert times.of("mean") == (mean(guessed), mean(blind))
    assert times.saved("mean") == 20
    # No time of one side is above one of the other: U is 0, of a mean of 50; continuity takes a half.
    z = (50 - 0.5) / math.sqrt(10 * 10 * 21 / 12)
    assert times.p == pytest.approx(2 * NormalDist().cdf(-z))
    low, high = times.intervals["median"]
    assert low < 20 < high


def test_simulated_times_are_not_tested() -> None:
    rows = _times([1.0] * FEW, [9.0] * FEW)
    some = lead_time([rows[0] | {"simulated": True}, *rows[1:]])
    all_of_them = lead_time([r | {"simulated": True} for r in rows])
    assert (some.simulated_part, some.p) == (f"1 of {2 * FEW} simulated", None)
    assert (all_of_them.simulated_part, all_of_them.p) == ("simulated", None)
    assert lead_time(rows).simulated_part == ""
    assert lead_time(rows).p < 0.001


def test_the_bootstrap_agrees_with_the_normal_interval() -> None:
    rng = np.random.default_rng(1)
    guessed, blind = rng.normal(10, 2, 400), rng.normal(14, 3, 300)
    times = lead_time(_times(guessed.tolist(), blind.tolist()))
    half = Z * math.sqrt(guessed.var(ddof=1) / 400 + blind.var(ddof=1) / 300)
    difference = blind.mean() - guessed.mean()
    assert times.intervals["mean"] == pytest.approx((difference - half, difference + half), abs=0.05)
    again = lead_time(_times(guessed.tolist(), blind.tolist()))
    assert again.intervals == times.intervals


def test_few_images_say_no_more_than_they_can() -> None:
    times = lead_time(_times([1.0] * FEW, [2.0] * (FEW - 1)))
    assert (times.saved("mean"), times.intervals, times.p) == (1.0, {}, None)
    assert lead_time(_times([1.0], [])).saved("mean") is None


def test_equal_times_are_no_difference() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        times = lead_time(_times([2.0] * FEW, [2.0] * FEW))
        assert (times.p, times.intervals["mean"]) == (1.0, (0.0, 0.0))


def test_times_that_cannot_be_compared_are_left_out() -> None:
    rows = _times([4.0], [9.0], control=True)
    rows += _times([0.0], [0.0]) + _times([99.0], [99.0], skipped=True)
    rows += _times([99.0], [], probes=[{"id": "probe-0", "caught": True}])
    # Of these the model guessed nothing.
    rows += [row(70, lead_time=99.0), row(71, action("added", "a"), lead_time=99.0)]
    times = lead_time(rows)
    assert (times.guessed.tolist(), times.blind.tolist(), times.control) == ([4.0], [9.0], 1)


# Thresholds.


def _seconds(rows: list[Row], label: str, threshold: float) -> float:
    """What the guesses of a class cost with a threshold, guess by guess."""
    total = 0.0
    for known in rows:
        for a in known["actions"]:
            if a["was"] != label or a["score"] is None:
                continue
            if a["score"] >= threshold:
                total += COST.of(a)
            elif a["action"] != "deleted":
                total += COST.add
    return total


@given(_rows, st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.25, 0.5, 1.0])))
def test_no_threshold_costs_less_than_the_best(rows: list[Row], now: float | None) -> None:
    for found in suggest(rows, COST, dict.fromkeys(CLASSES, now)):
        scores = [
            a["score"]
            for r in rows
            for a in r["actions"]
            if a["was"] == found.label and a["score"] is not None
        ]
        all_of_them = {0.0, 1.0, *scores, *(min(1.0, math.nextafter(s, 2)) for s in scores)}
        best = _seconds(rows, found.label, found.best or 0.0)
        assert best <= min(_seconds(rows, found.label, t) for t in all_of_them) + 1e-6
        spent = _seconds(rows, found.label, now or 0.0)
        assert found.saved == pytest.approx(100 * (spent - best) / len(rows), abs=1e-5)
        assert found.guesses == len(scores)
        assert found.kept == sum(s >= (found.best or 0.0) for s in scores)
        assert found.lowest == min(scores)
        # A change that saves nothing is not suggested.
        assert found.saved > 0 or found.best == now
        assert found.best is None or 0 <= found.best <= 1


def test_a_threshold_by_hand() -> None:
    low = [
        action("deleted", None, "a", 0.2),
        action("deleted", None, "a", 0.31),
        action("accepted", "a", score=0.25),
    ]
    high = [action("accepted", "a", score=0.62), action("deleted", None, "a", 0.7)]
    rows = [row(1, *low), row(2, *high), row(3, action("accepted", "b", score=0.1)), row(4)]
    rows.append(row(5, action("deleted", None, "a", 0.99), blind=True))
    a, b = suggest(rows, COST, {"a": 0.2})
    # Keeping back 0.2 saves a second; 0.25 as well would cost 5 for the object, and 0.31 give back 1 only.
    assert (a.label, a.now, a.best, a.guesses, a.kept, a.lowest, a.saved) == ("a", 0.2, 0.21, 5, 4, 0.2, 25.0)
    assert (b.label, b.now, b.best, b.saved) == ("b", None, None, 0.0)


def test_a_class_that_is_never_right_is_kept_back_whole() -> None:
    rows = [row(n, action("deleted", None, "a", 0.5 + n / 1000)) for n in range(FEW_GUESSES)]
    (found,) = suggest(rows, COST)
    assert (found.best, found.kept, found.saved, found.worthwhile) == (0.53, 0, 100.0, True)
    (fewer,) = suggest(rows[1:], COST)
    assert (fewer.saved, fewer.worthwhile) == (100.0, False)
    # No threshold keeps back a score of 1.
    (sure,) = suggest([row(1, action("deleted", None, "a", 1.0))], COST)
    assert (sure.best, sure.saved) == (None, 0.0)


def test_what_was_shown_under_a_lower_threshold_counts_as_kept_back() -> None:
    rows = [row(n, action("accepted", "a", score=0.3)) for n in range(4)]
    (found,) = suggest(rows, COST, {"a": 0.5})
    assert (found.now, found.best, found.kept, found.saved) == (0.5, 0.3, 4, 500.0)


def test_realistic_rows_are_rows() -> None:
    found = figures(realistic(CLASSES))
    assert list(found.rounds) == list(ROUNDS)
    assert found.rounds[ROUNDS[1]].precision.value > found.rounds[ROUNDS[0]].precision.value
    assert found.lead_time.intervals["mean"][0] > 0

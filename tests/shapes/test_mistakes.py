"""In which way a wrong prediction is wrong."""

from __future__ import annotations

import pytest

from tests.crowds import crowd
from workflow.records import Annotation, Provenance
from workflow.shapes.matching import Matching, match
from workflow.shapes.mistakes import mistakes

ANN = Provenance("person", "ann")


def box(label: str, x: float, width: float = 10.0, score: float | None = None, ignored: bool = False):
    return Annotation(label, ANN, box=(x, 0.0, x + width, 10.0), score=score, ignored=ignored)


def kinds(truth, guesses):
    return mistakes(match(truth, guesses, class_agnostic=True), truth, guesses)


@pytest.mark.parametrize(
    ("guess", "kind", "of_truth"),
    [
        (box("cat", 0, score=0.9), None, None),
        (box("dog", 0, score=0.9), "wrong class", "wrong class"),
        # shares 4 of 16
        (box("cat", 6, score=0.9), "badly placed", "badly placed"),
        (box("dog", 6, score=0.9), "wrong class, badly placed", "wrong class, badly placed"),
        # shares 1 of 19, less than a tenth
        (box("cat", 9, score=0.9), "background", "missed"),
        (box("dog", 50, score=0.9), "background", "missed"),
    ],
)
def test_one_prediction_of_one_truth(guess, kind, of_truth) -> None:
    guesses, truths = kinds([box("cat", 0)], [guess])
    assert guesses.get(0) == kind
    assert truths.get(0) == of_truth


def test_a_second_prediction_of_a_truth_is_a_duplicate_and_leaves_the_truth_found() -> None:
    assert kinds([box("cat", 0)], [box("cat", 0, score=0.9), box("cat", 1, score=0.8)]) == (
        {1: "duplicate"},
        {},
    )


def test_what_is_ignored_is_near_nothing() -> None:
    assert kinds([box("cat", 0, ignored=True)], [box("cat", 6, score=0.9)]) == ({0: "background"}, {})


@pytest.mark.parametrize("seed", range(4))
def test_known_overlaps_say_the_same_as_the_objects_themselves(seed: int) -> None:
    drawn = crowd(seed, images=20)
    matching = Matching(drawn.sizes, drawn.truth, drawn.predicted)
    wrong = 0
    for image in drawn.sizes:
        truth, guesses = drawn.truth.get(image, ()), drawn.predicted.get(image, ())
        matches = matching.match(image, class_agnostic=True)
        known = mistakes(matches, truth, guesses, matching.touching(image))
        assert known == mistakes(matches, truth, guesses)
        # Every prediction that is not right has a kind, and every truth that was not found.
        right = {(t, p) for t, p, _ in matches if None not in (t, p) and truth[t].label == guesses[p].label}
        assert known[0].keys() == {p for _, p, _ in matches if p is not None} - {p for _, p in right}
        assert known[1].keys() == {t for t, _, _ in matches if t is not None} - {t for t, _ in right}
        wrong += len(known[0])
    assert wrong

"""What is wrong on an image in rows, and marks that never lie on each other."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.shown.figures.differences import differences
from workflow.shown.figures.marks import SIDE, place
from workflow.tasks import TASKS

ANN, MODEL = Provenance("person", "ann"), Provenance("model", "m", "r1")
SIZE = (100, 60)


def true(label, *box):
    return Annotation(label, ANN, box=box or None)


def said(label, score, *box):
    return Annotation(label, MODEL, box=box or None, score=score)


def rows(task, truth, *sides, classes=("a", "b")):
    found = differences(TASKS[task], classes, SIZE, truth, sides)
    return [(row.letter, *(cell.words for cell in row.cells)) for row in found]


ONE, TWO, FAR, FARTHER = (0, 0, 20, 20), (30, 0, 50, 20), (60, 30, 80, 50), (85, 30, 99, 50)


def test_objects_of_two_models_in_one_row_each():
    truth = [true("a", *ONE), true("b", *TWO), true("a", 0, 30, 20, 50)]
    before = [said("b", 0.5, *ONE), said("a", 0.4, *FAR), said("a", 0.3, 0, 30, 20, 50)]
    after = [said("a", 0.9, *ONE), said("b", 0.8, *FAR), said("a", 0.7, 0, 30, 20, 50)]
    after += [said("b", 0.6, *FARTHER)]
    assert rows("detection", truth, before, after) == [
        ("a", "a", "b 0.50, wrong", "a 0.90, right"),
        ("b", "b", "missed", "missed"),
        # One false guess of both, then one of the second alone.
        ("c", "–", "a 0.40, false", "b 0.80, false"),
        ("d", "–", "–", "b 0.60, false"),
    ]
    assert rows("detection", truth, after) == [
        ("a", "b", "missed"),
        ("b", "–", "b 0.80, false"),
        ("c", "–", "b 0.60, false"),
    ]
    (first, *_) = differences(TASKS["detection"], ("a", "b"), SIZE, truth, (before, after))
    # What is right has no mark on that picture.
    assert [cell.place for cell in first.cells] == [ONE, ONE, None]


def test_beyond_twelve_there_is_no_letter():
    truth = [true("a", 6 * n, 0, 6 * n + 4, 4) for n in range(15)]
    found = rows("detection", truth, [])
    assert [row[0] for row in found] == [*"abcdefghijkl", "", "", ""]


def test_labels_of_whole_images():
    assert rows("classification", [true("a")], [said("b", 0.7)], [said("a", 0.9)]) == [
        ("", "a", "b 0.70, wrong", "a 0.90, right")
    ]
    assert rows("classification", [true("a")], [said("a", 0.7)]) == []
    assert rows(
        "multilabel-classification",
        [true("a"), true("b")],
        [said("c", 0.7), said("a", 0.6)],
        [said("a", 0.9)],
    ) == [("", "b", "missed", "missed"), ("", "–", "c 0.70, false", "–")]


def test_painted_classes_by_pairs():
    def painted(label, who, left, right, **more):
        bits = np.zeros(SIZE[::-1], dtype=bool)
        bits[:, left:right] = True
        return Annotation(label, who, mask=masks.encode(bits), **more)

    truth = [painted("a", ANN, 0, 50)]
    before, after = [painted("b", MODEL, 0, 20), painted("a", MODEL, 20, 60)], [painted("a", MODEL, 0, 50)]
    assert rows("semantic-segmentation", truth, before, after) == [
        ("a", "a", "b: 20.0 %", "–"),
        ("b", "–", "a: 10.0 %", "–"),
    ]
    found = differences(TASKS["semantic-segmentation"], ("a", "b"), SIZE, truth, (before, after))
    x, y, *_ = found[0].cells[1].place
    assert (0 <= x < 20, 0 <= y < 60) == (True, True)


corners = st.tuples(st.floats(-20, 660), st.floats(-20, 500), st.floats(1, 300), st.floats(1, 300))


@given(st.lists(corners, max_size=36), st.tuples(st.just(640), st.integers(60, 900)))
def test_no_mark_lies_on_another_or_outside(boxes, size):
    wanted = [(str(n), (x, y, x + w, y + h), "base") for n, (x, y, w, h) in enumerate(boxes)]
    marks = place(wanted, size)
    for mark in marks:
        assert 0 <= mark.x <= size[0] - SIDE
        assert 0 <= mark.y <= size[1] - SIDE
    for one, other in combinations(marks, 2):
        assert abs(one.x - other.x) >= SIDE or abs(one.y - other.y) >= SIDE
    if size[1] >= 480:
        # Twelve letters are the most a picture has, and it is far from full with three times as many.
        assert len(marks) == len(boxes)


@pytest.mark.parametrize("height", [60, 34, 20])
def test_a_narrow_picture_takes_what_fits(height):
    marks = place([(str(n), (300, 5, 340, 15), "base") for n in range(40)], (640, height))
    assert 12 <= len(marks) < 40

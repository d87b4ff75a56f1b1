from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from workflow.labels.ledger import CostModel, compare, summarise
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks

ME = Provenance("person", "me")
COST = CostModel(look=1, move=3, reshape=8, relabel=1.5, delete=1, add=5)


def _box(label: str, x: float, name: str = "", score: float | None = None) -> Annotation:
    return Annotation(label, ME, box=(x, 0, x + 10, 10), id=name, score=score)


def _turned(label: str, angle: float, name: str = "") -> Annotation:
    return Annotation(label, ME, rotated_box=RotatedBox(50, 50, 20, 10, angle), id=name)


def _mask(label: str, x: int, name: str = "") -> Annotation:
    pixels = np.zeros((40, 60), dtype=bool)
    pixels[10:20, x : x + 10] = True
    return Annotation(label, ME, mask=masks.encode(pixels), id=name)


def _outline(label: str, x: float, name: str = "") -> Annotation:
    return Annotation(label, ME, polygons=(((x, 0), (x + 10, 0), (x + 10, 10), (x, 10)),), id=name)


def _point(label: str, x: float, name: str = "", parent: str = "") -> Annotation:
    return Annotation(label, ME, keypoints=((x, 5.0),), id=name, parent=parent)


def _whole(*labels: str) -> list[Annotation]:
    return [Annotation(label, ME, id="choices") for label in labels]


def _actions(predicted: list, corrected: list, one_label: bool = False) -> list[str]:
    return [row["action"] for row in compare(predicted, corrected, one_label)]


@pytest.mark.parametrize(
    ("predicted", "corrected", "actions"),
    [
        ([_box("a", 0, "1")], [_box("a", 0, "1")], ["accepted"]),
        ([_box("a", 0, "1")], [_box("a", 2, "1")], ["moved"]),
        ([_box("a", 0, "1")], [_box("b", 0, "1")], ["relabelled"]),
        ([_box("a", 0, "1")], [_box("b", 2, "1")], ["relabelled"]),
        ([_box("a", 0, "1")], [], ["deleted"]),
        ([], [_box("a", 0)], ["added"]),
        ([_box("a", 0, "1")], [_box("a", 1, "drawn anew")], ["moved"]),
        ([_box("a", 0, "1")], [_box("a", 50, "far away")], ["deleted", "added"]),
        # The same id counts, however far the box was dragged.
        ([_box("a", 0, "1")], [_box("a", 50, "1")], ["moved"]),
        # By geometry, the assignment is the best one, not the first.
        (
            [_box("a", 0, "1"), _box("a", 4, "2")],
            [_box("a", 4, "x"), _box("a", 0, "y")],
            ["accepted", "accepted"],
        ),
        ([], [], []),
        # A second label on one region is as many annotations of one id.
        ([_box("a", 0, "1")], [_box("b", 0, "1"), _box("a", 0, "1")], ["accepted", "added"]),
    ],
)
def test_what_people_did_to_boxes(predicted: list, corrected: list, actions: list[str]) -> None:
    assert _actions(predicted, corrected) == actions


@pytest.mark.parametrize(
    ("was", "now", "action"),
    [
        (_turned("a", 30, "1"), _turned("a", 30, "1"), "accepted"),
        (_turned("a", 30, "1"), _turned("a", 31, "1"), "moved"),
        (_turned("a", 30, "1"), _turned("b", 30, "1"), "relabelled"),
        (Annotation("a", ME, box=(40, 45, 60, 55), id="1"), _turned("a", 9, "1"), "moved"),
        (_mask("a", 5, "1"), _mask("a", 5, "1"), "accepted"),
        (_mask("a", 5, "1"), _mask("a", 6, "1"), "reshaped"),
        (_mask("a", 5, "1"), _mask("a", 6, "painted anew"), "reshaped"),
        (_mask("a", 5, "1"), _mask("b", 6, "1"), "relabelled"),
        (_outline("a", 5, "1"), _outline("a", 5.0005, "1"), "accepted"),
        (_outline("a", 5, "1"), _outline("a", 6, "1"), "reshaped"),
        (
            _outline("a", 5, "1"),
            replace(_outline("a", 5, "1"), polygons=_outline("a", 5).polygons * 2),
            "reshaped",
        ),
        (_point("a", 5, "1"), _point("a", 5, "1"), "accepted"),
        (_point("a", 5, "1"), _point("a", 50, "1"), "moved"),
        (_point("a", 5, "1", "box"), _point("a", 50, "anew", "box"), "moved"),
        (_point("a", 5, "1"), _point("a", 9, "anew"), "moved"),
    ],
)
def test_what_people_did_to_other_shapes(was: Annotation, now: Annotation, action: str) -> None:
    assert _actions([was], [now]) == [action]


def test_points_of_two_objects_are_not_mixed_up() -> None:
    was = [_point("left", 5, "1", "a"), _point("left", 9, "2", "b"), _box("x", 0, "a"), _box("x", 0, "b")]
    now = [_point("left", 9, "n", "b"), _point("left", 7, "m", "a"), _box("x", 0, "b"), _box("x", 0, "a")]
    rows = compare(was, now)
    assert sorted(row["action"] for row in rows) == ["accepted", "accepted", "accepted", "moved"]
    assert _actions([_point("left", 5, "1", "a")], [_point("left", 60, "2", "b")]) == ["deleted", "added"]


@pytest.mark.parametrize(
    ("predicted", "corrected", "one_label", "actions"),
    [
        (_whole("a"), _whole("a"), True, ["accepted"]),
        (_whole("a"), _whole("b"), True, ["relabelled"]),
        (_whole("a"), [], True, ["deleted"]),
        ([], _whole("a"), True, ["added"]),
        # Whatever the region's id says, one of several labels is kept, taken away or given by its name.
        (_whole("a"), _whole("b"), False, ["deleted", "added"]),
        (_whole("a", "b"), _whole("c", "b"), False, ["accepted", "deleted", "added"]),
    ],
)
def test_what_people_did_to_labels_of_the_whole_image(
    predicted: list, corrected: list, one_label: bool, actions: list[str]
) -> None:
    assert _actions(predicted, corrected, one_label) == actions


def test_a_row_says_what_it_was() -> None:
    assert compare([_box("a", 0, "1", 0.7)], [_box("b", 5, "1")]) == [
        {
            "action": "relabelled",
            "label": "b",
            "was": "a",
            "iou": 0.333333,
            "score": 0.7,
            "moved": True,
            "reshaped": False,
            "region": "1",
        }
    ]
    (row,) = compare([_mask("a", 5, "1")], [_mask("a", 10, "1")])
    assert (row["action"], row["iou"], row["moved"], row["reshaped"]) == ("reshaped", 0.333333, False, True)


def test_seconds_by_the_cost_model() -> None:
    both = compare([_box("a", 0, "1"), _box("a", 90, "2")], [_box("b", 5, "1"), _box("c", 200)])
    # look 1, relabel 1.5 with a move 3, delete 1, add 5
    assert COST.seconds(both) == 11.5
    assert COST.seconds(compare([_box("a", 0, "1")], [_box("a", 5, "1")])) == 4
    assert COST.seconds(compare([_mask("a", 0, "1")], [_mask("a", 5, "1")])) == 9
    assert COST.seconds(compare([_mask("a", 0, "1")], [_mask("b", 5, "1")])) == 10.5
    assert COST.seconds(compare(_whole("a"), _whole("b"), one_label=True)) == 2.5
    assert COST.seconds_from_nothing(2) == 11.0


def test_summary_counts_blind_images_apart() -> None:
    accepted = compare([_box("a", 0, "1")], [_box("a", 0, "1")])
    added = compare([], [_box("a", 0)])
    rows = [
        {"blind": False, "skipped": False, "lead_time": 2.0, "actions": accepted},
        {"blind": False, "skipped": True, "lead_time": 1.0, "actions": []},
        {"blind": True, "skipped": False, "lead_time": 6.0, "actions": added},
    ]
    assert summarise(rows, COST) == {
        "accepted": 1,
        "moved": 0,
        "reshaped": 0,
        "relabelled": 0,
        "deleted": 0,
        "added": 0,
        "images": 2,
        "skipped": 1,
        "reviewer_seconds": 3.0,
        "seconds_from_nothing": 7.0,
        "blind_images": 1,
        "blind_seconds": 6.0,
    }


def _ignored(annotation: Annotation) -> Annotation:
    return replace(annotation, ignored=True)


@pytest.mark.parametrize(
    ("predicted", "corrected", "actions"),
    [
        # A guess that a person made ignored was no error, and no hit.
        ([_box("a", 0, "1")], [_ignored(_box("a", 0, "1"))], []),
        # Nor is one within what a person of its label ignored; of another label it is.
        ([_box("a", 0, "1"), _box("a", 90, "2")], [_ignored(_box("a", 3, "new"))], ["deleted"]),
        ([_box("b", 0, "1")], [_ignored(_box("a", 0, "new"))], ["deleted"]),
        # What is right beside it counts as ever.
        ([_box("a", 0, "1")], [_box("a", 0, "1"), _ignored(_box("a", 0, "new"))], ["accepted"]),
        # A guess that is ignored counts for nothing, whatever becomes of it.
        ([_ignored(_box("a", 0, "1"))], [_ignored(_box("a", 0, "1"))], []),
        ([_ignored(_box("a", 0, "1"))], [], []),
        ([_ignored(_box("a", 0, "1"))], [_box("a", 0, "1")], ["added"]),
        # Its points neither.
        (
            [_box("a", 0, "1"), _point("tip", 5, "p", "1")],
            [_ignored(_box("a", 0, "1")), _point("tip", 5, "p", "1")],
            [],
        ),
        ([_box("a", 0, "1"), _point("tip", 5, "p", "1")], [_ignored(_box("a", 0, "new"))], []),
    ],
)
def test_what_is_ignored_counts_for_nothing(predicted: list, corrected: list, actions: list) -> None:
    assert _actions(predicted, corrected) == actions

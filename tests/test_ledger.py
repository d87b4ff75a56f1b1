from __future__ import annotations

import pytest

from workflow.ledger import CostModel, compare, summarise
from workflow.records import Annotation, Provenance

ME = Provenance("person", "me")
COST = CostModel(look=1, move=3, relabel=1.5, delete=1, add=5)


def _box(label: str, x: float, name: str = "", score: float | None = None) -> Annotation:
    return Annotation(label, ME, box=(x, 0, x + 10, 10), id=name, score=score)


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
    ],
)
def test_what_people_did(predicted: list, corrected: list, actions: list[str]) -> None:
    assert [row["action"] for row in compare(predicted, corrected)] == actions


def test_a_row_says_what_it_was() -> None:
    assert compare([_box("a", 0, "1", 0.7)], [_box("b", 5, "1")]) == [
        {"action": "relabelled", "label": "b", "was": "a", "iou": 0.333333, "score": 0.7, "moved": True}
    ]


def test_seconds_by_the_cost_model() -> None:
    both = compare([_box("a", 0, "1"), _box("a", 90, "2")], [_box("b", 5, "1"), _box("c", 200)])
    # look 1, relabel 1.5 with a move 3, delete 1, add 5
    assert COST.seconds(both) == 11.5
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

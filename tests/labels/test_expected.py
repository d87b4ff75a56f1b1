"""What a model's guesses would cost people, by the cost model, where the truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.scenes import scene
from workflow.labels.ledger import CostModel
from workflow.labels.ledger.expected import seconds
from workflow.records import Annotation, Provenance
from workflow.tasks import TASKS

COST = CostModel(look=1.5, move=3.0, reshape=8.0, relabel=1.25, delete=1.0, add=5.0)
MODEL = Provenance("model", "m", "1")


def box(label: str, x: float, side: float = 100, id: str = "") -> Annotation:
    return Annotation(label, MODEL, box=(x, 0, x + side, 100), id=id)


def points(parent: str, x: float) -> list[Annotation]:
    drawn = Annotation("left", MODEL, keypoints=((x, 10.0),), parent=parent, id=f"{parent}-left")
    return [box("disc", 0, id=parent), drawn]


# Guesses, truth -> what is to be done.
CASES = {
    "nothing": ([], [], 0),
    "as it should be": ([box("disc", 0)], [box("disc", 0)], 0),
    "near enough": ([box("disc", 5)], [box("disc", 0)], 0),
    "moved": ([box("disc", 20)], [box("disc", 0)], 3),
    "renamed": ([box("star", 5)], [box("disc", 0)], 1.25),
    "moved and renamed": ([box("star", 20)], [box("disc", 0)], 4.25),
    "deleted": ([box("disc", 0), box("disc", 300)], [box("disc", 0)], 1),
    "added": ([box("disc", 0)], [box("disc", 0), box("star", 300)], 5),
    "elsewhere": ([box("disc", 300)], [box("disc", 0)], 6),
    # Ids are of whoever gave them: these say the opposite of what is there.
    "ids tell nothing": (
        [box("disc", 0, id="a"), box("star", 300, id="b")],
        [box("disc", 0, id="b"), box("star", 300, id="a")],
        0,
    ),
    "a point near enough": (points("a", 12), points("b", 10), 0),
    "a point moved": (points("a", 30), points("b", 10), 3),
    "ignored": ([box("disc", 0)], [replace(box("disc", 0), ignored=True)], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_what_each_correction_costs(case: str) -> None:
    guesses, truth, wanted = CASES[case]
    assert seconds(guesses, truth, COST, 0.85) == COST.look + wanted


@pytest.mark.parametrize("task", TASKS)
def test_of_every_task_the_truth_costs_a_look_and_nothing_costs_it_all(task: str) -> None:
    drawn = scene(task)
    exclusive = TASKS[task].exclusive
    for labels in drawn.truth.values():
        assert seconds(labels, labels, COST, 0.85, exclusive) == COST.look
        assert seconds([], labels, COST, 0.85, exclusive) == COST.seconds_from_nothing(len(labels))

    def total(said: dict[str, list[Annotation]]) -> float:
        # As people are shown them.
        shown = {n: [a for a in labels if (a.score or 0) >= 0.25] for n, labels in said.items()}
        shown = {n: labels[:1] if exclusive else labels for n, labels in shown.items()}
        return sum(seconds(shown[n], drawn.truth[n], COST, 0.85, exclusive) for n in drawn.truth)

    assert COST.look * len(drawn.truth) < total(drawn.tuned) < total(drawn.base)

"""Exact doubles: one of them is kept, and what belongs to another belongs to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workflow.labels.duplicates import collapse
from workflow.records import Annotation, Provenance, Relation

ME = Provenance("person", "me")
BOX = (0.0, 0.0, 9.0, 9.0)


def box(
    name: str, label: str = "cat", place: tuple[float, ...] = BOX, score: float | None = None
) -> Annotation:
    return Annotation(label, ME, box=place, id=name, score=score)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotations", "kept", "count"),
    [
        ([], [], 0),
        ([box("a"), box("b", "dog"), box("c", place=(0.0, 0.0, 9.0, 9.5))], ["a", "b", "c"], 0),
        ([box("a"), box("b", "dog"), box("c")], ["a", "b"], 1),
        ([box("a", score=0.2), box("b", score=0.9), box("c", score=0.9)], ["b"], 2),
        ([Annotation("cat", ME), Annotation("cat", ME), Annotation("dog", ME)], ["", ""], 1),
        # Two labels of one region are two annotations of one id.
        ([box("a"), box("a", "dog"), box("b")], ["a", "a"], 1),
    ],
)
def test_one_of_each_set_of_doubles_is_kept(
    annotations: list[Annotation], kept: list[str], count: int
) -> None:
    found, _, doubled = collapse(annotations)
    assert ([a.id for a in found], doubled) == (kept, count)


def test_what_belonged_to_a_double_belongs_to_the_one_that_is_kept() -> None:
    points = [
        Annotation("tail", ME, keypoints=((1.0, 1.0),), id="p", parent="a"),
        Annotation("tail", ME, keypoints=((1.0, 1.0),), id="q", parent="b"),
        Annotation("nose", ME, keypoints=((2.0, 2.0),), id="r", parent="b"),
    ]
    far = box("z", place=(20.0, 0.0, 29.0, 9.0))
    relations = [Relation("b", "z"), Relation("a", "z"), Relation("q", "z")]
    found, between, doubled = collapse([box("a"), box("b"), *points, far], relations)
    assert [(a.id, a.parent) for a in found] == [("a", ""), ("p", "a"), ("r", "a"), ("z", "")]
    assert (between, doubled) == ((Relation("a", "z"), Relation("p", "z")), 2)


def test_what_has_no_doubles_comes_back_as_it_is() -> None:
    several = (box("a"), replace(box("b"), label="dog"))
    twice = (Relation("a", "b"), Relation("a", "b"))
    assert collapse(several, twice) == (several, twice, 0)

"""Exact doubles: one of them is kept, and what belongs to another belongs to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workflow.labels.duplicates import collapse
from workflow.records import Annotation, Mask, Provenance, Relation

ME = Provenance("person", "me")
BOX = (0.0, 0.0, 9.0, 9.0)


def box(
    name: str, label: str = "cat", place: tuple[float, ...] = BOX, score: float | None = None
) -> Annotation:
    return Annotation(label, ME, box=place, id=name, score=score)  # type: ignore[arg-type]


IGNORED = replace(box("i"), ignored=True)


def tip(parent: str, x: float, name: str = "") -> Annotation:
    return Annotation("tip", ME, keypoints=((x, 5.0),), parent=parent, id=name)


@pytest.mark.parametrize(
    ("annotations", "kept"),
    [
        ([], []),
        ([box("1"), box("2")], [box("1")]),
        ([box("1", score=0.2), box("2", score=0.9)], [box("1", score=0.9)]),
        ([box("1"), box("2", "dog")], [box("1"), box("2", "dog")]),
        ([box("1"), box("2", place=(0, 0, 9, 9.000001))], [box("1"), box("2", place=(0, 0, 9, 9.000001))]),
        ([Annotation("cat", ME), Annotation("cat", ME)], [Annotation("cat", ME)]),
        ([Annotation("cat", ME, mask=Mask(2, 2, "04"))] * 3, [Annotation("cat", ME, mask=Mask(2, 2, "04"))]),
        # A car, and "ignore this car", are no doubles.
        ([box("1"), IGNORED], [box("1"), IGNORED]),
        ([IGNORED, replace(IGNORED, id="2")], [IGNORED]),
        # Two labels of one region are two annotations of one id.
        ([box("1"), box("1", "dog"), box("2")], [box("1"), box("1", "dog")]),
        # Objects with points are one only if their points are.
        ([box("1"), tip("1", 3), box("2"), tip("2", 3)], [box("1"), tip("1", 3)]),
        ([tip("2", 3), tip("1", 3), box("1"), box("2")], [tip("1", 3), box("1")]),
        ([box("1"), tip("1", 3), box("2"), tip("2", 4)], [box("1"), tip("1", 3), box("2"), tip("2", 4)]),
        ([box("1"), tip("1", 3), tip("1", 3)], [box("1"), tip("1", 3)]),
    ],
)
def test_one_of_each_set_of_doubles_is_kept(annotations: list[Annotation], kept: list[Annotation]) -> None:
    assert collapse(annotations) == (tuple(kept), (), len(annotations) - len(kept))


def test_relations_lead_to_the_one_that_is_kept() -> None:
    far = box("z", place=(20.0, 0.0, 29.0, 9.0))
    annotations = [box("a"), tip("a", 3, "p"), box("b"), tip("b", 3, "q"), far]
    relations = [Relation("b", "z"), Relation("a", "z"), Relation("q", "z", "left")]
    found, between, doubled = collapse(annotations, relations)
    assert [(a.id, a.parent) for a in found] == [("a", ""), ("p", "a"), ("z", "")]
    assert (between, doubled) == ((Relation("a", "z"), Relation("p", "z", "left")), 2)


def test_what_has_no_doubles_comes_back_as_it_is() -> None:
    several = (box("a"), replace(box("b"), label="dog"))
    twice = (Relation("a", "b"), Relation("a", "b"))
    assert collapse(several, twice) == (several, twice, 0)

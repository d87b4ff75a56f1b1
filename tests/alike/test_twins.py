"""How far the labels of two near-copies agree."""

from __future__ import annotations

import pytest

from workflow.alike.twins import agreement
from workflow.records import Annotation, ImageRecord, Provenance

ANN = Provenance("person", "ann")
LARGE, SMALL = (ImageRecord(f"{w}", f"{w}.png", w, w // 2, "train") for w in (200, 100))


def box(label: str, *place: float) -> Annotation:
    return Annotation(label, ANN, box=place)  # type: ignore[arg-type]


# Labels of an image of 200 x 100 and of one of 100 x 50; whether that is mirrored -> how far they agree.
CASES = [
    ([], [], False, 1.0),
    ([box("a", 20, 20, 60, 60)], [box("a", 10, 10, 30, 30)], False, 1.0),
    ([box("a", 20, 20, 60, 60)], [box("a", 70, 10, 90, 30)], True, 1.0),
    ([box("a", 20, 20, 60, 60)], [box("a", 70, 10, 90, 30)], False, 0.0),
    ([box("a", 20, 20, 60, 60)], [box("b", 10, 10, 30, 30)], False, 0.0),
    ([box("a", 20, 20, 60, 60)], [], False, 0.0),
    ([box("a", 20, 20, 60, 60)], [box("a", 10, 10, 30, 30), box("a", 60, 10, 80, 30)], False, 2 / 3),
    ([box("a", 0, 0, 40, 40)], [box("a", 0, 0, 20, 10)], False, 0.5),
    ([Annotation("a", ANN)], [Annotation("a", ANN)], True, 1.0),
    ([Annotation("a", ANN)], [Annotation("b", ANN)], True, 0.0),
    ([Annotation("a", ANN), Annotation("b", ANN)], [Annotation("b", ANN)], False, 2 / 3),
]


@pytest.mark.parametrize(("one", "other", "mirrored", "wanted"), CASES)
def test_agreement(one: list[Annotation], other: list[Annotation], mirrored: bool, wanted: float) -> None:
    assert agreement(one, other, (LARGE, SMALL), mirrored) == pytest.approx(wanted)
    assert agreement(other, one, (SMALL, LARGE), mirrored) == pytest.approx(wanted)

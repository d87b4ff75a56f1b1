"""What people see first."""

from __future__ import annotations

import pytest

from workflow.labels.order import as_read
from workflow.records import Annotation, Provenance
from workflow.shapes import masks

MODEL = Provenance("model", "m")


def boxed(name: str, x: float, y: float, height: float = 10) -> Annotation:
    return Annotation(name, MODEL, box=(x, y, x + 10, y + height))


@pytest.mark.parametrize(
    ("shapes", "order"),
    [
        # Two lines, each a little askew.
        ([("d", 20, 32), ("a", 0, 3), ("c", 1, 30), ("b", 30, 0)], "abcd"),
        # A tall one belongs to the line it begins in.
        ([("c", 0, 40), ("b", 20, 2), ("a", 0, 0, 60)], "abc"),
        ([], ""),
    ],
)
def test_objects_come_as_a_page_is_read(shapes: list, order: str) -> None:
    assert "".join(a.label for a in as_read([boxed(*shape) for shape in shapes])) == order


def test_points_come_last_and_what_is_painted_stays() -> None:
    point = Annotation("p", MODEL, keypoints=((5.0, 5.0),), parent="x")
    assert [a.label for a in as_read([point, boxed("b", 0, 50), boxed("a", 0, 0)])] == ["a", "b", "p"]
    import numpy as np

    below, above = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    below[3:] = True
    painted = [Annotation(n, MODEL, mask=masks.encode(m)) for n, m in (("low", below), ("high", above))]
    assert as_read(painted) == painted

"""The same thing twice is once; what differs in anything is two."""

from __future__ import annotations

import pytest

from workflow.records import Annotation, Mask, Provenance
from workflow.shapes.twins import without_twins

ME = Provenance("person", "me")


def _box(label: str = "cat", x: float = 1, **more: object) -> Annotation:
    return Annotation(label, ME, box=(x, 2, 11, 22), **more)  # type: ignore[arg-type]


def _point(parent: str, x: float) -> Annotation:
    return Annotation("tip", ME, keypoints=((x, 5.0),), parent=parent)


@pytest.mark.parametrize(
    ("annotations", "kept"),
    [
        ([_box(), _box()], [_box()]),
        ([_box(id="1"), _box(id="2")], [_box(id="1")]),
        ([_box(score=0.2), _box(score=0.9)], [_box(score=0.9)]),
        ([_box(), _box("dog")], [_box(), _box("dog")]),
        ([_box(), _box(x=1.000001)], [_box(), _box(x=1.000001)]),
        ([Annotation("cat", ME), Annotation("cat", ME)], [Annotation("cat", ME)]),
        ([Annotation("cat", ME, mask=Mask(2, 2, "04"))] * 3, [Annotation("cat", ME, mask=Mask(2, 2, "04"))]),
        (
            [_box(id="1"), _point("1", 3), _box(id="2"), _point("2", 3)],
            [_box(id="1"), _point("1", 3)],
        ),
        (
            [_point("2", 3), _point("1", 3), _box(id="1"), _box(id="2")],
            [_point("1", 3), _box(id="1")],
        ),
        (
            [_box(id="1"), _point("1", 3), _box(id="2"), _point("2", 4)],
            [_box(id="1"), _point("1", 3), _box(id="2"), _point("2", 4)],
        ),
        ([], []),
    ],
)
def test_twins(annotations: list[Annotation], kept: list[Annotation]) -> None:
    assert without_twins(annotations) == (kept, len(annotations) - len(kept))

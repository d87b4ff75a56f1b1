from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import FormatError
from workflow.formats.yolo import from_lines, to_lines
from workflow.records import Annotation, Provenance

ME = Provenance("person", "me")


@given(
    st.integers(1, 20_000), st.integers(1, 20_000), st.tuples(*[st.floats(0, 0.9)] * 2), st.floats(0.01, 0.1)
)
def test_boxes_survive_within_a_millionth_of_a_pixel(
    width: int, height: int, corner: tuple, size: float
) -> None:
    x, y = corner[0] * width, corner[1] * height
    box = (x, y, x + size * width, y + size * height)
    text = to_lines([Annotation("b", ME, box=box)], width, height, ("a", "b"))
    (found,) = from_lines(text, width, height, ("a", "b"), ME)
    assert found.label == "b"
    assert found.box == pytest.approx(box, abs=1e-6)


def test_an_empty_image_is_an_empty_file() -> None:
    assert to_lines([], 10, 10, ("a",)) == ""
    assert from_lines("", 10, 10, ("a",), ME) == []


@pytest.mark.parametrize("line", ["5 0.5 0.5 0.1 0.1", "0 0.5", "cat 0.5 0.5 0.1 0.1"])
def test_a_broken_line_is_named(line: str) -> None:
    with pytest.raises(FormatError) as error:
        from_lines(f"\n{line}\n", 10, 10, ("a",), ME)
    assert str(error.value) == f"line 2: {line!r} is no `class cx cy w h`"


def test_what_is_no_box_is_refused() -> None:
    with pytest.raises(FormatError):
        to_lines([Annotation("a", ME)], 10, 10, ("a",))

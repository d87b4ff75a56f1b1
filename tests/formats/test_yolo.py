"""YOLO's label files: what goes in comes out, for each kind, and what cannot is refused or counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing import SHAPES, masks_of_rectangles
from workflow.errors import FormatError
from workflow.formats.yolo.lines import Kind, from_lines, to_lines
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import rotated_corners

ME = Provenance("person", "me")
CLASSES = ("a", "b")


def _there_and_back(
    annotations: Sequence[Annotation], width: int, height: int, kind: Kind, points: Sequence[str] = ()
) -> list[Annotation]:
    """Through a label file that loses nothing."""
    text, losses = to_lines(annotations, width, height, CLASSES, kind, points)
    assert not losses
    found, losses = from_lines(text, width, height, CLASSES, ME, kind, points)
    assert not losses
    return found


@given(
    st.integers(1, 20_000), st.integers(1, 20_000), st.tuples(*[st.floats(0, 0.9)] * 2), st.floats(0.01, 0.1)
)
def test_boxes_survive_within_a_millionth_of_their_image(
    width: int, height: int, corner: tuple, size: float
) -> None:
    x, y = corner[0] * width, corner[1] * height
    box = (x, y, x + size * width, y + size * height)
    (found,) = _there_and_back([Annotation("b", ME, box=box)], width, height, "detect")
    assert found.label == "b"
    edges = zip(found.box or (), box, (width, height) * 2, strict=True)
    assert all(abs(edge - was) <= 1e-6 * side for edge, was, side in edges)
    # The image's edge is never left for rounding.
    assert found.within(width, height)


def test_numbers_have_six_digits_as_ultralytics_writes_them() -> None:
    box = Annotation("b", ME, box=(0, 1 / 3, 1e-4, 2 / 3))
    assert to_lines([box], 4096, 3000, CLASSES)[0] == "1 1.2207e-08 0.000166667 2.44141e-08 0.000111111\n"
    wide = Annotation("a", ME, box=(10, 0, 4096, 3000))
    assert to_lines([wide], 4096, 3000, CLASSES)[0] == "0 0.501221 0.5 0.997559 1\n"


@given(st.floats(-720, 720), st.floats(1, 400), st.floats(1, 400), st.floats(300, 700))
def test_rotated_boxes_survive(angle: float, width: float, height: float, place: float) -> None:
    box = RotatedBox(place, 1000 - place, width, height, angle)
    (found,) = _there_and_back([Annotation("b", ME, rotated_box=box)], 1000, 1000, "obb")
    assert found.rotated_box is not None
    assert rotated_corners(found.rotated_box) == pytest.approx(rotated_corners(box), abs=2e-3)


def test_corners_the_other_way_round_are_the_same_box() -> None:
    text = "0 0.1 0.1 0.1 0.3 0.5 0.3 0.5 0.1\n"
    ((found,), _) = from_lines(text, 100, 100, CLASSES, ME, "obb")
    assert found.rotated_box is not None
    corners = rotated_corners(found.rotated_box)
    assert sorted(map(tuple, corners.round(9).tolist())) == [(10, 10), (10, 30), (50, 10), (50, 30)]


def test_an_upright_box_among_rotated_ones_is_one_without_an_angle() -> None:
    (found,) = _there_and_back([Annotation("a", ME, box=(10, 20, 50, 40))], 100, 100, "obb")
    assert found.rotated_box == RotatedBox(30, 30, 40, 20, 0)


def test_a_rotated_box_over_the_edge_is_cut_and_counted() -> None:
    box = Annotation("a", ME, rotated_box=RotatedBox(0, 50, 40, 20, 0))
    text, losses = to_lines([box], 100, 100, CLASSES, "obb")
    assert losses == {"rotated boxes, but for their part outside the image": 1}
    ((found,), _) = from_lines(text, 100, 100, CLASSES, ME, "obb")
    assert overlap.as_box(found) == pytest.approx((0, 40, 20, 60))


@pytest.mark.parametrize("pixels", SHAPES.values(), ids=SHAPES)
def test_masks_survive_with_holes_and_parts(pixels: np.ndarray) -> None:
    _same_pixels(pixels)


@given(masks_of_rectangles())
def test_any_mask_survives(pixels: np.ndarray) -> None:
    _same_pixels(pixels)


def _same_pixels(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    mask = Annotation("b", ME, mask=masks.encode(pixels))
    text, losses = to_lines([mask], width, height, CLASSES, "segment")
    if not pixels.any():
        assert (text, losses) == ("", {"empty masks": 1})
        return
    assert not losses
    ((found,), _) = from_lines(text, width, height, CLASSES, ME, "segment")
    assert (masks.decode(overlap.as_mask(found, height, width)) == pixels).all()


PARTS = (((10.0, 10.0), (30.5, 12.25), (20.0, 40.0)), ((60.0, 60.0), (90.0, 60.0), (75.0, 80.0)))


def test_polygons_survive_corner_by_corner() -> None:
    for parts in (PARTS, PARTS[:1]):
        (found,) = _there_and_back([Annotation("a", ME, polygons=parts)], 100, 100, "segment")
        assert found.polygons is not None
        assert len(found.polygons) == len(parts)
        for part, other in zip(parts, found.polygons, strict=True):
            turned = next(n for n in range(3) if other[n] == pytest.approx(part[0], abs=1e-6))
            assert np.array(other[turned:] + other[:turned]) == pytest.approx(np.array(part), abs=1e-6)


def test_polygons_that_overlap_keep_what_both_cover() -> None:
    squares = tuple(((n, n), (n + 40.0, n), (n + 40.0, n + 40.0), (n, n + 40.0)) for n in (10.0, 30.0))
    (found,) = _there_and_back([Annotation("a", ME, polygons=squares)], 100, 100, "segment")
    assert masks.area(overlap.as_mask(found, 100, 100)) == 2 * 1600 - 400


POINTS = ("tip", "left end", "right end")


def test_poses_survive_with_the_points_that_are_there() -> None:
    fork = [
        Annotation("a", ME, box=(10, 10, 50, 60), id="1"),
        Annotation("tip", ME, keypoints=((30.0, 12.5),), parent="1"),
        Annotation("right end", ME, keypoints=((50.0, 60.0),), parent="1"),
        Annotation("b", ME, box=(0, 0, 100, 80), id="2"),
    ]
    found = _there_and_back(fork, 100, 80, "pose", POINTS)
    assert [(a.label, a.parent) for a in found] == [("a", ""), ("tip", "1"), ("right end", "1"), ("b", "")]
    for before, after in zip(fork, found, strict=True):
        assert after.box == (before.box and pytest.approx(before.box))
        assert np.array(after.keypoints or ()) == pytest.approx(np.array(before.keypoints or ()))


def test_points_that_cannot_be_told_are_counted() -> None:
    box = Annotation("a", ME, box=(10, 10, 50, 60), id="1")
    tip, again, stray = (
        Annotation("tip", ME, keypoints=((x, 20.0),), parent=parent)
        for x, parent in ((20.0, "1"), (30.0, "1"), (40.0, "7"))
    )
    text, losses = to_lines([box, tip, again, stray], 100, 100, CLASSES, "pose", ("tip",))
    assert losses == {"points named twice": 1, "points without a box": 1}
    assert [float(n) for n in text.split()] == [0, 0.3, 0.35, 0.4, 0.5, 0.2, 0.2, 2]
    found, losses = from_lines("0 0.3 0.35 0.4 0.5 0.2 0.2 1\n", 100, 100, CLASSES, ME, "pose", ("tip",))
    assert losses == {"points that are hidden, now as if seen": 1}
    assert found[1].keypoints == ((20.0, 20.0),)


def test_an_empty_image_is_an_empty_file() -> None:
    assert to_lines([], 10, 10, CLASSES) == ("", {})
    assert from_lines("", 10, 10, CLASSES, ME) == ([], {})


@pytest.mark.parametrize(
    ("kind", "line", "shape"),
    [
        ("detect", "5 0.5 0.5 0.1 0.1", "class cx cy w h"),
        ("detect", "-1 0.5 0.5 0.1 0.1", "class cx cy w h"),
        ("detect", "0 0.5", "class cx cy w h"),
        ("detect", "cat 0.5 0.5 0.1 0.1", "class cx cy w h"),
        ("detect", "0 0.5 0.5 0 0.1", "class cx cy w h"),
        ("segment", "0 0.5 0.5 0.1 0.1", "class x1 y1 x2 y2 x3 y3 ..."),
        ("segment", "0 0.5 0.5 0.1 0.1 0.3", "class x1 y1 x2 y2 x3 y3 ..."),
        ("obb", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.2 0.3", "class x1 y1 x2 y2 x3 y3 x4 y4"),
        ("pose", "0 0.5 0.5 0.1 0.1", "class cx cy w h, and x y visibility of each point"),
    ],
)
def test_a_broken_line_is_named(kind: Kind, line: str, shape: str) -> None:
    with pytest.raises(FormatError) as error:
        from_lines(f"\n{line}\n", 100, 100, CLASSES, ME, kind, ("tip",))
    assert str(error.value) == f"line 2: {line!r} is no `{shape}`"


SQUARE = Annotation("a", ME, box=(10, 10, 50, 60), id="1")


@pytest.mark.parametrize(
    ("kind", "annotations", "problem"),
    [
        ("detect", [Annotation("a", ME)], "annotation 'a' has no geometry that a YOLO detect label can hold"),
        ("segment", [SQUARE], "annotation 'a' has no geometry that a YOLO segment label can hold"),
        ("detect", [Annotation("c", ME, box=(1, 1, 2, 2))], "label 'c' is no class of the project"),
        (
            "detect",
            [Annotation("a", ME, box=(1, 1, 101, 2))],
            "annotation 'a' leaves its image of 100 x 100 pixels",
        ),
        (
            "pose",
            [SQUARE, Annotation("top", ME, keypoints=((1, 1),), parent="1")],
            "keypoint 'top' is none of tip, or not one point",
        ),
    ],
)
def test_what_does_not_fit_is_refused(kind: Kind, annotations: list[Annotation], problem: str) -> None:
    with pytest.raises(FormatError) as error:
        to_lines(annotations, 100, 100, CLASSES, kind, ("tip",))
    assert error.value.problem == problem

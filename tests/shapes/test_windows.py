"""Windows over an image, and what two of them hold of one object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing import masks_of_rectangles
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks
from workflow.shapes.merge import same_objects, united
from workflow.shapes.windows import Window, cores, likeness, seen, windows

ME = Provenance("model", "me")
# Two windows of one image of 180 x 100 pixels, which share the columns from 80 to 100, and all of it.
LEFT, RIGHT, WHOLE = Window(0, 0, 100, 100), Window(80, 0, 180, 100), Window(0, 0, 180, 100)
Place = tuple[float, float, float, float]


def box(place: Place, label: str = "a", score: float = 0.5) -> Annotation:
    return Annotation(label, ME, box=place, score=score)


def merged(
    left: list[Annotation], right: list[Annotation], whole: list[Annotation], across: bool = False
) -> list[Annotation]:
    """What comes of guesses in pixels of the image, as each window would say them of its own."""
    views = []
    for guesses, window in ((left, LEFT), (right, RIGHT), (whole, WHOLE)):
        own = [a if a.box is None else replace(a, box=shifted(a.box, -window.x1)) for a in guesses]
        views.append([seen(a, window, 100, 180) for a in own])
    return [united(group, 100, 180) for group in same_objects(views, across)]


def shifted(place: Place, by: int) -> Place:
    x1, y1, x2, y2 = place
    return (x1 + by, y1, x2 + by, y2)


def test_windows_lie_as_sahis_slices() -> None:
    """By sahi 0.12.8: get_slice_bboxes(200, 300, 100, 100, False, 0.2, 0.2)."""
    rows, columns = (0, 80, 100), (0, 80, 160, 200)
    expected = [Window(x, y, x + 100, y + 100) for y in rows for x in columns]
    assert windows(200, 300, 100, 0.2) == expected
    assert windows(50, 120, 100, 0.2) == [Window(0, 0, 100, 50), Window(20, 0, 120, 50)]
    assert windows(50, 60, 100, 0.2) == [Window(0, 0, 60, 50)]


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.floats(0, 0.9))
def test_cores_divide_the_image_and_lie_in_their_windows(h: int, w: int, size: int, overlap: float) -> None:
    count = np.zeros((h, w), dtype=int)
    for core, window in zip(cores(h, w, size, overlap), windows(h, w, size, overlap), strict=True):
        assert window.x1 <= core.x1 <= core.x2 <= window.x2 <= w
        assert window.y1 <= core.y1 <= core.y2 <= window.y2 <= h
        count[core.y1 : core.y2, core.x1 : core.x2] += 1
    assert (count == 1).all()


@given(masks_of_rectangles(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))
def test_masks_are_placed_and_cut_to_the_pixel(
    bits: np.ndarray, x: int, y: int, right: int, down: int
) -> None:
    whole = np.pad(bits, ((y, down), (x, right)))
    height, width = bits.shape
    assert masks.placed(masks.encode(bits), x, y, *whole.shape) == masks.encode(whole)
    assert masks.cut(masks.encode(whole), x, y, x + width, y + height) == masks.encode(bits)


@pytest.mark.parametrize(
    ("left", "right", "whole", "expected"),
    [
        pytest.param([(85, 10, 95, 20)], [(85, 10, 95, 20)], [], [(85, 10, 95, 20)], id="both see it whole"),
        pytest.param([(50, 10, 100, 20)], [(80, 10, 150, 20)], [], [(50, 10, 150, 20)], id="two pieces"),
        pytest.param([(50, 10, 100, 20)], [(80, 11, 150, 21)], [], [(50, 10, 150, 21)], id="ragged pieces"),
        pytest.param([(50, 10, 100, 20)], [(80, 15.5, 150, 30)], [], None, id="two that hardly touch"),
        pytest.param(
            [(50, 10, 100, 20)], [], [(49, 9, 151, 21)], [(49, 9, 151, 21)], id="whole once, a piece"
        ),
        pytest.param([(90, 10, 100, 20)], [(90, 10, 110, 20)], [], [(90, 10, 110, 20)], id="a sliver"),
        pytest.param([(20, 0, 100, 90)], [(85, 10, 95, 20)], [], None, id="a small one before a large piece"),
        pytest.param([], [(85, 10, 95, 20)], [(20, 0, 120, 90)], None, id="a small one before a large one"),
        pytest.param([(10, 10, 40, 40), (12, 10, 40, 40)], [], [], None, id="two of one window"),
        pytest.param([(20, 10, 60, 20)], [(120, 10, 150, 20)], [], None, id="apart"),
    ],
)
def test_boxes_are_merged_where_they_are_of_one_object(
    left: list[Place], right: list[Place], whole: list[Place], expected: list[Place] | None
) -> None:
    found = merged(*([box(place) for place in places] for places in (left, right, whole)))
    assert sorted(a.box for a in found if a.box) == sorted(expected or [*left, *right, *whole])


def test_labels_merge_across_classes_where_a_place_has_one() -> None:
    sides = ([box((85, 10, 95, 20), "a", 0.5)], [box((85, 10, 95, 20), "b", 0.8)], [])
    assert [(a.label, a.score) for a in merged(*sides)] == [("b", 0.8), ("a", 0.5)]
    assert [(a.label, a.score) for a in merged(*sides, across=True)] == [("b", 0.8)]


def test_the_score_is_the_best_of_all_and_none_where_nobody_gave_any() -> None:
    piece, whole = box((50, 10, 100, 20), score=0.9), box((50, 10, 150, 20), score=0.4)
    assert merged([piece], [], [whole]) == [replace(whole, score=0.9)]
    unsure = [replace(a, score=None) for a in (piece, whole)]
    assert merged(unsure[:1], [], unsure[1:]) == [unsure[1]]


def test_pieces_that_one_piece_joins_are_one() -> None:
    """What is a fork to the left is two pieces there, and one object with what joins them to the right."""
    fork = [box((50, 10, 100, 20)), box((50, 40, 100, 50))]
    bits = np.zeros((100, 100), dtype=bool)
    bits[10:20, :50] = bits[40:50, :50] = bits[10:50, 30:50] = True
    right = Annotation("a", ME, mask=masks.encode(bits), score=0.6)
    left = [
        Annotation("a", ME, mask=masks.from_polygons([rectangle(a.box)], 100, 100), score=0.7)
        for a in fork
        if a.box
    ]
    (whole,) = merged(left, [right], [])
    expected = np.zeros((100, 180), dtype=bool)
    expected[:, 80:] = bits
    expected[10:20, 50:100] = expected[40:50, 50:100] = True
    assert whole.mask == masks.encode(expected)
    assert whole.score == 0.7


def rectangle(place: Place) -> list[tuple[float, float]]:
    x1, y1, x2, y2 = place
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def test_outlines_are_joined_and_a_mask_where_that_leaves_a_hole() -> None:
    def outlined(*places: Place, window: Window) -> list[Annotation]:
        moved = [tuple(rectangle(shifted(place, -window.x1))) for place in places]
        return [Annotation("a", ME, polygons=tuple(moved), score=0.5)]

    left = outlined((50, 10, 100, 20), window=LEFT)
    (one,) = merged(left, outlined((80, 10, 150, 20), window=RIGHT), [])
    assert one.polygons is not None
    assert [set(part) for part in one.polygons] == [
        {(50, 10), (80, 10), (100, 10), (150, 10), (150, 20), (100, 20), (80, 20), (50, 20)}
    ] or [set(part) for part in one.polygons] == [set(rectangle((50, 10, 150, 20)))]
    frame = outlined((50, 10, 100, 20), (50, 20, 60, 40), (50, 40, 100, 50), window=LEFT)
    closed = outlined((80, 10, 150, 20), (140, 20, 150, 40), (80, 40, 150, 50), window=RIGHT)
    (ring,) = merged(frame, closed, [])
    expected = np.zeros((100, 180), dtype=bool)
    expected[10:50, 50:150] = True
    expected[20:40, 60:140] = False
    assert ring.mask == masks.encode(expected)
    assert ring.polygons is None


def test_turned_boxes_are_joined_at_the_angle_of_the_best() -> None:
    """Two pieces of a strip of 60 x 10 pixels round (90, 50), turned by 30 degrees."""
    along = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    centres = [np.array([90, 50]) - 8 * along, np.array([90, 50]) + 10 * along]
    left, right = (
        RotatedBox(float(x), float(y), w, 10, 30) for (x, y), w in zip(centres, (44, 40), strict=True)
    )
    views = [
        [
            seen(
                Annotation("a", ME, rotated_box=replace(turned, cx=turned.cx - window.x1), score=0.5),
                window,
                100,
                180,
            )
        ]
        for turned, window in ((left, LEFT), (right, RIGHT))
    ]
    assert likeness(*views)[0, 0] > 0.9
    ((one, other),) = same_objects(views)
    whole = united([one, other], 100, 180).rotated_box
    assert whole is not None
    assert (whole.cx, whole.cy, whole.width, whole.height, whole.angle) == pytest.approx((90, 50, 60, 10, 30))

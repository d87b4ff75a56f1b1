from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing import SHAPES, masks_of_rectangles
from workflow.records import Mask
from workflow.shapes import masks


@given(masks_of_rectangles())
def test_masks_survive_bit_by_bit(pixels: np.ndarray) -> None:
    mask = masks.encode(pixels)
    assert (mask.height, mask.width) == pixels.shape
    assert (masks.decode(mask) == pixels).all()
    assert masks.area(mask) == pixels.sum()


@pytest.mark.parametrize("pixels", SHAPES.values(), ids=SHAPES)
def test_area_and_box_are_those_of_the_pixels(pixels: np.ndarray) -> None:
    mask = masks.encode(pixels)
    rows, columns = np.nonzero(pixels)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
    assert masks.box(mask) == box
    assert masks.area(mask) == len(rows)


def test_the_runs_are_those_of_pycocotools() -> None:
    # From the reference implementation's own documentation of its counts: down the columns, zeros first.
    assert masks.encode(np.array([[0, 1], [0, 1]])) == Mask(2, 2, "22")
    assert masks.encode(np.ones((2, 2))) == Mask(2, 2, "04")


@given(masks_of_rectangles(), st.integers(0, 3))
def test_overlaps_are_those_of_the_pixels(pixels: np.ndarray, shift: int) -> None:
    other = np.roll(pixels, shift, axis=1)
    found = masks.iou([masks.encode(pixels)], [masks.encode(other), masks.encode(pixels)])
    union = (pixels | other).sum()
    assert found[0, 0] == pytest.approx((pixels & other).sum() / union if union else 0)
    assert masks.iou([], [masks.encode(pixels)]).shape == (0, 1)


def test_polygons_fill_the_pixels_they_cover() -> None:
    square, far = [(1, 1), (4, 1), (4, 3), (1, 3)], [(6, 0), (8, 0), (8, 1), (6, 1)]
    pixels = masks.decode(masks.from_polygons([square, far], 5, 8))
    expected = np.zeros((5, 8), bool)
    expected[1:3, 1:4] = expected[0:1, 6:8] = True
    assert (pixels == expected).all()


def test_polygons_are_cut_to_the_image() -> None:
    huge = [(-1e12, -1e12), (1e12, -1e12), (1e12, 1e12), (-1e12, 1e12)]
    assert masks.from_polygons([huge], 5, 8) == masks.encode(np.ones((5, 8)))
    assert masks.from_polygons([[(10, 0), (20, 0), (20, 3)]], 5, 8) == masks.encode(np.zeros((5, 8)))


@pytest.mark.parametrize("counts", ["", "zz0", "~~~~~", "9999999999999"])
def test_runs_that_are_none_are_refused(counts: str) -> None:
    with pytest.raises(ValueError):
        masks.decode(Mask(5, 7, counts))


@given(masks_of_rectangles())
def test_outlines_give_the_pixels_back_and_fill_holes(pixels: np.ndarray) -> None:
    parts, holes = masks.outlines(masks.encode(pixels))
    found = masks.decode(masks.from_polygons(parts, *pixels.shape))
    assert (found >= pixels).all()
    assert (found == pixels).all() == (holes == 0)


@pytest.mark.parametrize(
    ("name", "corners", "holes"),
    [
        ("empty", [], 0),
        ("full", [4], 0),
        ("one pixel", [4], 0),
        ("hole", [4], 1),
        # What lies in the hole is within the outline that fills it.
        ("part in the hole", [4], 1),
        ("parts", [4, 4, 4], 0),
        ("frame", [4], 1),
    ],
)
def test_an_outline_has_the_corners_of_its_pixels(name: str, corners: list[int], holes: int) -> None:
    parts, filled = masks.outlines(masks.encode(SHAPES[name]))
    assert ([len(part) for part in parts], filled) == (corners, holes)

from __future__ import annotations

import numpy as np
import pytest

from workflow.records import RotatedBox
from workflow.shapes import geometry


def test_iou_by_hand() -> None:
    found = geometry.box_iou([(0, 0, 10, 10), (20, 20, 30, 30)], [(5, 0, 15, 10), (0, 0, 10, 10)])
    assert found == pytest.approx(np.array([[1 / 3, 1.0], [0, 0]]))


def test_iou_of_nothing_has_the_right_shape() -> None:
    assert geometry.box_iou([], [(0, 0, 1, 1)]).shape == (0, 1)


def test_clip_leaves_what_is_inside_alone() -> None:
    boxes = [(1.5, 2.5, 3.5, 4.5), (-5, -5, 20, 20)]
    assert geometry.clip_boxes(boxes, 10, 8).tolist() == [[1.5, 2.5, 3.5, 4.5], [0, 0, 10, 8]]


def test_an_outline_is_cut_to_the_image() -> None:
    diamond = [(5, -5), (15, 5), (5, 15), (-5, 5)]
    assert geometry.polygon_area(diamond) == 200
    assert geometry.polygon_area(geometry.clip_polygon(diamond, 10, 10)) == 100
    inside = [(1.5, 1.5), (3, 2), (2, 7)]
    assert geometry.clip_polygon(inside, 10, 8).tolist() == [list(p) for p in inside]
    assert len(geometry.clip_polygon([(20, 1), (30, 1), (30, 3)], 10, 8)) == 0


def test_xywh_and_back() -> None:
    boxes = np.array([(1.0, 2.0, 4.0, 8.0)])
    assert geometry.xyxy_to_xywh(boxes).tolist() == [[1, 2, 3, 6]]
    assert (geometry.xywh_to_xyxy(geometry.xyxy_to_xywh(boxes)) == boxes).all()


def test_a_quarter_turn_swaps_the_sides() -> None:
    assert geometry.enclosing_box(RotatedBox(10, 10, 8, 2, 90)) == pytest.approx((9, 6, 11, 14))

from __future__ import annotations

import math

import pytest

from workflow.records import Annotation, ImageRecord, Provenance, RotatedBox, Sample

ME = Provenance("person", "me")
A_CAT = Annotation("cat", ME)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Annotation("", ME), "an annotation needs a label"),
        (
            lambda: Annotation("a", ME, box=(5, 0, 5, 9)),
            "box (5, 0, 5, 9) has no area: x2 > x1 and y2 > y1 are needed",
        ),
        (lambda: Annotation("a", ME, box=(0, 0, math.nan, 9)), "box (0, 0, nan, 9) is not finite"),
        (lambda: Annotation("a", ME, score=1.5), "score 1.5 is not in [0, 1]"),
        (
            lambda: Annotation("a", ME, box=(0, 0, 1, 1), keypoints=((0, 0),)),
            "annotation 'a' has more than one geometry",
        ),
        (
            lambda: Annotation("a", ME, polygons=(((0, 0), (1, 1)),)),
            "annotation 'a': a polygon needs three points or more",
        ),
        (lambda: Annotation("a", ME, polygons=()), "annotation 'a': a polygon needs three points or more"),
        (lambda: Annotation("a", ME, keypoints=((0, math.inf),)), "keypoints (0, inf) is not finite"),
        (lambda: RotatedBox(0, 0, 0, 1, 0), "rotated box of 0 x 1 pixels has no area"),
        (lambda: ImageRecord("i", "a.jpg", 0, 5, "train"), "image a.jpg: size 0x5 is not positive"),
        (
            lambda: ImageRecord("i", "a.jpg", 5, 5, "dev"),
            "image a.jpg: split 'dev' is none of ('train', 'validation', 'test')",
        ),
        (lambda: Sample("i", "skipped", (A_CAT,)), "image i is skipped, yet has annotations"),
        (lambda: Sample("i", "unlabeled", (A_CAT,)), "image i is unlabeled, yet has annotations"),
    ],
)
def test_what_is_wrong_cannot_exist(make, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("box", "inside"), [((0, 0, 10, 20), True), ((-0.1, 0, 5, 5), False), ((0, 0, 10.1, 5), False)]
)
def test_within(box: tuple, inside: bool) -> None:
    assert Annotation("a", ME, box=box).within(10, 20) is inside
    corners = ((box[0], box[1]), (box[2], box[3]))
    assert Annotation("a", ME, keypoints=corners).within(10, 20) is inside
    assert Annotation("a", ME, polygons=((*corners, (1, 1)),)).within(10, 20) is inside


def test_the_whole_image_is_within() -> None:
    assert A_CAT.within(1, 1)

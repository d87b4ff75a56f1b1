"""What every foreign format holds comes out as it went in: masks by the pixel, outlines to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.drawing import SHAPES, masks_of_rectangles
from tests.foreign import there_and_back
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks
from workflow.shapes.geometry import rotated_corners

ME = Provenance("person", "me")


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat"])
@pytest.mark.parametrize("pixels", SHAPES.values(), ids=SHAPES)
def test_masks_survive_with_holes_and_parts(pixels: np.ndarray, name: str, tmp_path: Path) -> None:
    _same_pixels(pixels, name, tmp_path)


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pixels=masks_of_rectangles())
def test_any_mask_survives(pixels: np.ndarray, name: str, tmp_path: Path) -> None:
    _same_pixels(pixels, name, tmp_path)


def _same_pixels(pixels: np.ndarray, name: str, folder: Path) -> None:
    mask = Annotation("dog", ME, mask=masks.encode(pixels))
    found, written, read = there_and_back(name, "instance-segmentation", [mask], pixels.shape[::-1], folder)
    assert not read
    if not pixels.any():
        assert (found, written) == ([], {"masks without pixels": 1})
        return
    assert not written
    assert [(a.label, a.mask) for a in found] == [("dog", mask.mask)]


corner = st.tuples(st.floats(0, 99), st.floats(0, 79))
PARTS = (((10.0, 10.0), (30.5, 12.25), (20.0, 40.0)), ((60.0, 60.0), (90.1, 60.0), (75.0, 1 / 3)))


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat"])
@pytest.mark.parametrize("parts", [PARTS, PARTS[:1]], ids=["parts", "one"])
def test_outlines_survive_to_the_last_bit(name: str, parts: tuple, tmp_path: Path) -> None:
    both = [Annotation("cat", ME, polygons=parts), Annotation("cat", ME, polygons=PARTS[1:])]
    found, written, read = there_and_back(name, "instance-segmentation", both, (100, 80), tmp_path)
    assert not written
    assert not read
    assert sorted(a.polygons or () for a in found) == sorted(a.polygons or () for a in both)


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat", "voc", "yolo", "label-studio"])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corners=st.lists(st.tuples(corner, st.floats(0.5, 1), st.floats(0.5, 1)), max_size=4))
def test_any_boxes_survive(name: str, corners: list, tmp_path: Path) -> None:
    boxes = [Annotation("cat", ME, box=(x, y, x + w, y + h)) for (x, y), w, h in corners]
    found, written, read = there_and_back(name, "detection", boxes, (100, 80), tmp_path)
    assert not written
    assert not read
    assert [a.box for a in found] == [pytest.approx(a.box, abs=_slack(name)) for a in boxes]


def _slack(name: str) -> float:
    """Pixels by which a number may be off in an image of 100 pixels: YOLO's have six digits."""
    return 1e-4 if name == "yolo" else 1e-6


@pytest.mark.parametrize("name", ["cvat", "yolo", "label-studio"])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(angle=st.floats(-720, 720), side=st.floats(1, 30))
def test_any_rotated_box_survives(name: str, angle: float, side: float, tmp_path: Path) -> None:
    box = RotatedBox(50, 40, 25, side, angle)
    boxes = [Annotation("cat", ME, rotated_box=box)]
    (found,), written, read = there_and_back(name, "oriented-detection", boxes, (100, 80), tmp_path)
    assert not written
    assert not read
    turned = found.rotated_box
    if turned is None:
        assert angle % 360 == pytest.approx(0, abs=1e-9) or angle % 360 == pytest.approx(360, abs=1e-9)
        return
    assert rotated_corners(turned) == pytest.approx(rotated_corners(box), abs=_slack(name))


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat", "yolo", "label-studio"])
def test_points_survive_with_their_boxes(name: str, tmp_path: Path) -> None:
    pose = [
        Annotation("cat", ME, box=(10, 10, 50, 60), id="1"),
        Annotation("tip", ME, keypoints=((30.0, 12.5),), id="2", parent="1"),
        Annotation("tail", ME, keypoints=((50.0, 60.0),), id="3", parent="1"),
        Annotation("dog", ME, box=(0, 0, 100, 80), id="4"),
        Annotation("tail", ME, keypoints=((99.0, 1 / 3),), id="5", parent="4"),
    ]
    found, written, read = there_and_back(name, "keypoints", pose, (100, 80), tmp_path, ("tip", "tail"))
    assert not written
    assert not read
    owners = {a.id: a.label for a in found if a.box}
    told = sorted((a.label, owners.get(a.parent, ""), a.box or a.keypoints) for a in found)
    wanted = [
        ("cat", "", (10, 10, 50, 60)),
        ("dog", "", (0, 0, 100, 80)),
        ("tail", "cat", ((50, 60),)),
        ("tail", "dog", ((99, 1 / 3),)),
        ("tip", "cat", ((30, 12.5),)),
    ]
    for (label, owner, numbers), (label_2, owner_2, numbers_2) in zip(told, wanted, strict=True):
        assert (label, owner) == (label_2, owner_2)
        assert np.ravel(numbers) == pytest.approx(np.ravel(numbers_2), abs=_slack(name))


@pytest.mark.parametrize("name", ["coco", "labelme", "cvat", "yolo", "label-studio", "voc"])
def test_an_image_without_objects_is_still_one(name: str, tmp_path: Path) -> None:
    assert there_and_back(name, "detection", [], (100, 80), tmp_path) == ([], {}, {})


def test_label_studio_keeps_outlines_as_outlines_or_paints_them(tmp_path: Path) -> None:
    one = Annotation("cat", ME, polygons=PARTS)
    for way, geometry in (("polygon", "polygons"), ("brush", "mask")):
        found, written, read = there_and_back(
            "label-studio",
            "instance-segmentation",
            [one],
            (100, 80),
            tmp_path,
            (),
            way,  # type: ignore[arg-type]
        )
        assert (written, read) == ({}, {})
        assert [a.geometry for a in found] == [geometry]
    assert [a.mask for a in found] == [masks.from_polygons(PARTS, 80, 100)]

"""LabelMe: shapes by type and group, flags as labels, and what it has that we have not is counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.foreign import look_up, there_and_back
from workflow.formats.page import Page, Reading
from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.tasks import TaskName

ME = Provenance("person", "me")


def _read(folder: Path, task: TaskName, *shapes: dict, **more: object) -> tuple[dict[str, Page], Reading]:
    rows = [{"label": "cat", "group_id": None, "flags": {}} | shape for shape in shapes]
    content = {"shapes": rows, "flags": {}, "imagePath": "a.png", "imageHeight": 30, "imageWidth": 40}
    (folder / "a.json").write_text(json.dumps(content | more))
    return look_up("labelme", folder, task, {"a.png": (40, 30), "x/b.png": (40, 30)})


def test_a_rectangle_has_any_two_opposite_corners(tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, "detection", {"shape_type": "rectangle", "points": [[20, 2.5], [5, 9]]})
    assert [a.box for a in pages["a.png"].annotations] == [(5, 2.5, 20, 9)]
    assert reading.losses == {}


def test_a_mask_lies_within_both_its_corners(tmp_path: Path) -> None:
    """As labelme's own shape_to_mask puts it: mask[y1 : y2 + 1, x1 : x2 + 1]."""
    pixels = np.zeros((30, 40), dtype=bool)
    pixels[4:9, 7:12], pixels[5, 8] = True, False
    there_and_back("labelme", "instance-segmentation", [_mask(pixels)], (40, 30), tmp_path)
    (shape,) = json.loads((tmp_path / "out" / "x.json").read_text())["shapes"]
    assert (shape["shape_type"], shape["points"]) == ("mask", [[7, 4], [11, 8]])
    shape["points"] = [[8.0, 5.0], [12.0, 9.0]]
    pages, _ = _read(tmp_path, "instance-segmentation", shape)
    assert pages["a.png"].annotations[0].mask == masks.encode(np.roll(pixels, (1, 1), (0, 1)))


def _mask(pixels: np.ndarray) -> Annotation:
    return Annotation("cat", ME, mask=masks.encode(pixels))


TRIANGLE, OTHER = [[1, 1], [9, 1], [9, 9]], [[21, 1], [29, 1], [29, 9]]


def test_a_group_is_one_object(tmp_path: Path) -> None:
    shapes = [{"points": points, "group_id": 4} for points in (TRIANGLE, OTHER)]
    pages, _ = _read(tmp_path, "instance-segmentation", *shapes, {"points": TRIANGLE, "group_id": 5})
    assert [len(a.polygons or ()) for a in pages["a.png"].annotations] == [2, 1]


def test_flags_are_labels_of_the_image(tmp_path: Path) -> None:
    pages, _ = _read(tmp_path, "multilabel-classification", flags={"cat": True, "dog": False})
    assert [a.label for a in pages["a.png"].annotations] == ["cat"]
    there_and_back("labelme", "multilabel-classification", [Annotation("dog", ME)], (40, 30), tmp_path)
    assert json.loads((tmp_path / "out" / "x.json").read_text())["flags"] == {"cat": False, "dog": True}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ({"shape_type": "circle", "points": [[9, 9], [12, 9]]}, "shapes of the type circle"),
        ({"shape_type": "linestrip", "points": TRIANGLE}, "shapes of the type linestrip"),
        ({"points": [[1, 1], [9, 1], [5, 1]]}, "outlines without an area"),
        ({"shape_type": "rectangle", "points": [[1, 1], [1, 9]]}, "boxes without an area"),
    ],
)
def test_what_cannot_be_carried_is_counted(shape: dict, reason: str, tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, "detection", shape)
    assert pages["a.png"].annotations == []
    assert reading.losses == {reason: 1}


def test_the_image_is_told_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()
    shape = {"shape_type": "rectangle", "points": [[1, 1], [9, 9]]}
    pages, _ = _read(tmp_path / "json", "detection", shape, imagePath="..\\x\\b.png")
    assert pages == {}
    (tmp_path / "json" / "a.json").rename(tmp_path / "json" / "b.json")
    pages, _ = look_up("labelme", tmp_path, "detection", {"x/b.png": (40, 30)})
    assert list(pages) == ["x/b.png"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ('{"images": []}', "has no shapes, so it is no LabelMe file"),
        ('{"shapes": [], "imageWidth": 4, "imageHeight": 3}', "has no imagePath"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    _, reading = look_up("labelme", tmp_path, "detection", {"a.png": (40, 30)})
    assert reading.problems == [f"{tmp_path / 'a.json'}: {problem}"]


def test_a_mask_outside_its_image_is_a_problem(tmp_path: Path) -> None:
    there_and_back("labelme", "instance-segmentation", [_mask(np.ones((30, 40)))], (40, 30), tmp_path)
    (shape,) = json.loads((tmp_path / "out" / "x.json").read_text())["shapes"]
    _, reading = _read(tmp_path, "instance-segmentation", shape | {"points": [[1, 0], [40, 29]]})
    assert "mask 'cat' leaves its image" in reading.problems[0]

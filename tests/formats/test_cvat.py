"""CVAT for images 1.1: every shape, groups, masks by rows, and what is no part of a label is counted."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.foreign import look_up, there_and_back
from workflow.formats.page import Page, Reading
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.shapes import masks
from workflow.tasks import TaskName

ME = Provenance("person", "me")


def _read(folder: Path, task: TaskName, body: str) -> tuple[Page | None, Reading]:
    source = folder / "annotations.xml"
    source.write_text(
        '<?xml version="1.0"?><annotations><version>1.1</version>'
        f'<image id="0" name="a.png" subset="Test" width="40" height="30">{body}</image></annotations>'
    )
    pages, reading = look_up("cvat", source, task, {"a.png": (40, 30)})
    return pages.get("a.png"), reading


def _only(folder: Path, task: TaskName, body: str) -> Annotation:
    page, reading = _read(folder, task, body)
    assert page is not None
    assert (reading.losses, reading.problems, page.split) == ({}, [], "test")
    (annotation,) = page.annotations
    return annotation


CORNERS = 'label="cat" source="manual" occluded="0" xtl="10" ytl="5.5" xbr="20" ybr="9.5" z_order="0"'


def test_boxes_turn_about_their_centre(tmp_path: Path) -> None:
    assert _only(tmp_path, "detection", f"<box {CORNERS}></box>").box == (10, 5.5, 20, 9.5)
    turned = _only(tmp_path, "oriented-detection", f'<box {CORNERS} rotation="30.5"/>')
    assert turned.rotated_box == RotatedBox(15, 7.5, 10, 4, 30.5)


def test_outlines_points_and_tags(tmp_path: Path) -> None:
    outline = '<polygon label="cat" points="1.5,2;20,2;20,25.25"/>'
    assert _only(tmp_path, "instance-segmentation", outline).polygons == (((1.5, 2), (20, 2), (20, 25.25)),)
    assert _only(tmp_path, "classification", '<tag label="dog"/>').label == "dog"
    page, _ = _read(
        tmp_path,
        "keypoints",
        f'<box {CORNERS} group_id="3"/><points label="tip" points="12,6" group_id="3"/>',
    )
    assert page is not None
    box, point = page.annotations
    assert (point.keypoints, point.parent) == (((12, 6),), box.id)


def test_a_mask_is_runs_along_the_rows_of_its_rectangle(tmp_path: Path) -> None:
    found = _only(
        tmp_path,
        "instance-segmentation",
        '<mask label="cat" rle="1, 2, 1, 2" left="5" top="3" width="3" height="2"/>',
    )
    pixels = np.zeros((30, 40), dtype=bool)
    pixels[3:5, 5:8] = [[0, 1, 1], [0, 1, 1]]
    assert found.mask == masks.encode(pixels)
    there_and_back("cvat", "instance-segmentation", [found], (40, 30), tmp_path)
    mask = ElementTree.parse(tmp_path / "out").find("image/mask")
    assert mask is not None
    assert {k: mask.attrib[k] for k in ("rle", "left", "top", "width", "height")} == {
        "rle": "0, 4",
        "left": "6",
        "top": "3",
        "width": "2",
        "height": "2",
    }


def test_layers_are_read_from_the_lowest_up(tmp_path: Path) -> None:
    above = '<polygon label="cat" points="0,0;9,0;9,9" z_order="2"/>'
    page, _ = _read(
        tmp_path, "semantic-segmentation", above + '<polygon label="dog" points="0,0;9,0;9,9" z_order="1"/>'
    )
    assert page is not None
    assert [a.label for a in page.annotations] == ["dog", "cat"]


def test_what_cannot_be_carried_is_counted(tmp_path: Path) -> None:
    marked = f"<box {CORNERS.replace('occluded=' + chr(34) + '0', 'occluded=' + chr(34) + '1')}>"
    body = marked + '<attribute name="age">3</attribute></box>'
    body += '<skeleton label="cat" z_order="0"><points label="tip" points="1,1"/></skeleton>'
    body += '<polyline label="cat" points="1,1;2,2"/><box label="cat" xtl="5" ytl="5" xbr="5" ybr="9"/>'
    page, reading = _read(tmp_path, "detection", body)
    assert page is not None
    assert len(page.annotations) == 1
    assert reading.losses == {
        "attributes": 1,
        "marks that an object is occluded": 1,
        "shapes of the type skeleton": 1,
        "shapes of the type polyline": 1,
        "boxes without an area": 1,
    }


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<box label="cat" xtl="a" ytl="1" xbr="2" ybr="2"/>', "xtl of <box> is 'a', not a number"),
        ('<box xtl="1" ytl="1" xbr="2" ybr="2"/>', "<box> has no label"),
        (
            '<mask label="cat" rle="1, 9" left="5" top="3" width="3" height="2"/>',
            "the runs of a mask do not add up to 3x2",
        ),
        (
            '<mask label="cat" rle="0, 6" left="39" top="3" width="3" height="2"/>',
            "a mask leaves its image",
        ),
    ],
)
def test_what_is_wrong_is_named(body: str, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, "detection", body)
    assert len(reading.problems) == 1
    assert reading.problems[0].startswith(f"{tmp_path / 'annotations.xml'}: image a.png: {problem}")


@pytest.mark.parametrize("text", ["<annotations><track/></annotations>", "<annotation/>"])
def test_a_video_is_no_set_of_images(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    _, reading = look_up("cvat", tmp_path / "a.xml", "detection", {})
    assert reading.problems == [
        f"{tmp_path / 'a.xml'}: no `CVAT for images 1.1` file: export the task as that"
    ]

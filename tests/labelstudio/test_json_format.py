"""Label Studio's JSON export: which annotation counts, whose image it is, and what nobody labeled."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.foreign import look_up, there_and_back
from workflow.errors import FormatError
from workflow.formats.fit import fit
from workflow.formats.page import Page, Reading
from workflow.records import Annotation, Kind, Provenance

ME = Provenance("person", "me")
SIZES = {"a.png": (200, 100)}


def _region(label: str, x: float = 10) -> dict:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    return {"id": label, "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}


def _done(label: str, at: str = "2026-01-01T00:00:00Z", **more: object) -> dict:
    return {"id": 1, "result": [_region(label)], "was_cancelled": False, "updated_at": at} | more


def _read(folder: Path, *tasks: dict, kind: Kind = "import") -> tuple[dict[str, Page], Reading]:
    source = folder / "export.json"
    source.write_text(json.dumps([{"id": 1, "data": {"image": "a.png"}} | task for task in tasks]))
    return look_up("label-studio", source, "detection", SIZES, kind=kind)


def test_a_region_is_in_percent_of_the_upright_image(tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, {"annotations": [_done("cat")]})
    assert [(a.label, a.box) for a in pages["a.png"].annotations] == [("cat", (20, 10, 60, 30))]
    assert (reading.losses, reading.problems) == ({}, [])


@pytest.mark.parametrize(
    "data",
    [
        {"image": "https://images.example/some/a.png?sig=1", "title": "a"},
        {"image": "/data/upload/18/0a1b2c3d-a.png"},
        {"photo": "/data/local-files/?d=pets/a.png"},
        {"image": "s3://bucket/x.png", "file": "a.png"},
    ],
)
def test_the_image_is_told_by_its_address(data: dict, tmp_path: Path) -> None:
    source = tmp_path / "export.json"
    source.write_text(json.dumps([{"data": data, "annotations": [_done("cat")]}]))
    sizes = {"some/a.png": (200, 100), "pets/a.png": (200, 100), "a.png": (200, 100)}
    pages, _ = look_up("label-studio", source, "detection", sizes)
    assert [Path(name).name for name in pages] == ["a.png"]


def test_the_latest_annotation_counts_and_the_others_are_counted(tmp_path: Path) -> None:
    older, latest = _done("dog", "2026-01-01"), _done("cat", "2026-02-01")
    pages, reading = _read(
        tmp_path, {"annotations": [latest, older, _done("dog", "2026-03-01", was_cancelled=True)]}
    )
    assert [a.label for a in pages["a.png"].annotations] == ["cat"]
    assert reading.losses == {"annotations older than an image's latest": 1}


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"annotations": []}, "images that nobody labeled"),
        ({"annotations": [_done("cat", was_cancelled=True)]}, "images that were skipped"),
        ({"data": {"image": "z.png"}, "annotations": [_done("cat")]}, "images that are not there"),
    ],
)
def test_what_is_no_label_is_counted(task: dict, reason: str, tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, task)
    assert pages == {}
    assert reading.losses == {reason: 1}


def test_predictions_are_the_latest_with_their_scores(tmp_path: Path) -> None:
    new = {"id": 2, "result": [_region("cat") | {"score": 0.75}]}
    pages, reading = _read(
        tmp_path, {"predictions": [{"id": 1, "result": []}, new]}, {"predictions": [7]}, kind="model"
    )
    assert [(a.label, a.score) for a in pages["a.png"].annotations] == [("cat", 0.75)]
    assert reading.losses == {"predictions older than an image's latest": 1, "images without predictions": 1}


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"data": None}, "task 1: has no data; export as JSON, not as JSON_MIN"),
        ({"data": {"text": "a"}}, "task 1: names no image"),
    ],
)
def test_what_is_no_task_of_images_is_named(task: dict, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, task)
    assert reading.problems == [f"{tmp_path / 'export.json'}: {problem}"]


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("[")
    with pytest.raises(FormatError, match="not JSON"):
        look_up("label-studio", tmp_path / "export.json", "detection", SIZES)


def test_what_is_written_can_be_imported_by_label_studio(tmp_path: Path) -> None:
    there_and_back("label-studio", "classification", [Annotation("cat", ME)], (40, 30), tmp_path)
    (task,) = json.loads((tmp_path / "out").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=pets/x.png"
    (annotation,) = task["annotations"]
    assert [r["value"] for r in annotation["result"]] == [{"choices": ["cat"]}]


CASES = SHARED / "label-studio-cases" / "sdk_converter" / "data"


@pytest.mark.skipif(not CASES.is_dir(), reason="no Label Studio cases here")
def test_a_real_export_of_poses() -> None:
    """Case 5: a rectangle without a label and three points that belong to it, and five relations."""
    source = CASES / "test_export_yolo" / "data_keypoints.json"
    pages, reading = look_up("label-studio", source, "keypoints", {"image1.jpg": (640, 480)})
    (page,) = pages.values()
    assert Counter(a.label for a in page.annotations if a.keypoints) == Counter(
        ["nose", "left_eye", "right_eye"]
    )
    assert len(page.relations) == 5


@pytest.mark.skipif(not CASES.is_dir(), reason="no Label Studio cases here")
def test_a_real_export_of_several_shapes_fits_detection() -> None:
    """Case 1: a rectangle, a polygon and two points; the box is the golden COCO file's."""
    source = CASES / "test_export_coco" / "data.json"
    pages, reading = look_up("label-studio", source, "detection", {"test_image1.jpg": (500, 320)})
    boxes = [a.box for a in fit(pages["test_image1.jpg"], ()) if a.label == "rectangle_label"]
    x, y, w, h = 159.70961887477313, 13.163120567375884, 31.76043557168784, 31.773049645390074
    assert boxes == [pytest.approx((x, y, x + w, y + h))]
    assert reading.losses == {
        "outlines, now the boxes round them": 1,
        "points, which detection has none of": 2,
    }

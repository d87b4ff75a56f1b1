"""Results that others wrote, read and written again: the shared Label Studio cases, by their numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SHARED
from workflow.formats import coco
from workflow.formats.page import Picture, Writing
from workflow.formats.yolo.lines import from_lines
from workflow.labelstudio.interface import read_interface
from workflow.labelstudio.regions import EVERYTHING, Reading, from_result, submitted, to_result
from workflow.project.rows import relation_to_row
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.shapes.geometry import rotated_corners
from workflow.tasks import TaskName

CASES = SHARED / "label-studio-cases"
CONVERTER = CASES / "sdk_converter" / "data"
BACKEND = CASES / "ml_backend_yolo"
ME = Provenance("person", "me")
MODEL = Provenance("model", "yolo")
# Every kind of annotation we write, for the control the rest of the region does not depend on.
WRITTEN = dict.fromkeys([k for k in EVERYTHING if k not in ("labels", "ellipselabels")], "label")

pytestmark = pytest.mark.skipif(
    not CASES.exists(), reason="the shared cases are not beside this checkout (../shared)"
)


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _results(path: Path) -> list[list[dict]]:
    return [a["result"] for task in _json(path) for a in submitted(task["annotations"])]


def _read(result: list[dict], provenance: Provenance = ME) -> Reading:
    sized = next((r for r in result if "original_width" in r), {})
    width, height = sized.get("original_width", 768), sized.get("original_height", 576)
    reading = from_result(result, width, height, provenance, controls=EVERYTHING)
    _check_round_trip(reading, width, height)
    return reading


def _check_round_trip(reading: Reading, width: int, height: int) -> None:
    """What was read is written, and read again, as the same."""
    result = to_result(reading.annotations, width, height, controls=WRITTEN, relations=reading.relations)
    again = from_result(result, width, height, MODEL, controls=EVERYTHING)
    assert (again.lost, again.relations) == ({}, reading.relations)
    for was, now in zip(reading.annotations, again.annotations, strict=True):
        assert (was.label, was.score, was.parent, was.mask) == (now.label, now.score, now.parent, now.mask)
        assert _numbers(now) == pytest.approx(_numbers(was), abs=1e-6)


def _numbers(a: Annotation) -> list[float]:
    if a.rotated_box is not None:
        return rotated_corners(a.rotated_box).reshape(-1).tolist()
    shape = a.box or a.polygons or a.keypoints or ()
    return np.array([number for part in shape for number in np.array(part).reshape(-1)]).tolist()


def test_case_1_rectangle_polygon_and_keypoints() -> None:
    expected = _json(CASES / "sdk_expected.json")["files"][
        "data/test_export_coco/data.json + label_config.xml"
    ]
    (result,) = _results(CONVERTER / "test_export_coco" / "data.json")
    reading = _read(result)
    assert reading.lost == {}
    box, polygon, *points = reading.annotations
    x, y, w, h = expected["rect_bbox"]
    assert box.box == pytest.approx((x, y, x + w, y + h), abs=1e-6)
    assert 2 * len(polygon.polygons[0]) == expected["polygon_points_flat"]
    assert {box.label, polygon.label} == set(expected["categories_must_include"])
    assert [a.label for a in points] == ["keypoint_label1", "keypoint_label2"]
    assert points[0].keypoints[0] == pytest.approx((112.976406533575, 101.673758865248))


def test_case_2_two_annotators_are_kept_apart() -> None:
    results = _results(CONVERTER / "test_export_yolo" / "data.json")
    assert [len(_read(result).annotations) for result in results] == [2, 2, 2]


def test_case_3_rotated_boxes() -> None:
    results = _results(CONVERTER / "test_export_yolo" / "data_obb.json")
    readings = [_read(result) for result in results]
    assert [len(r.annotations) for r in readings] == [23, 1, 1]
    assert all(a.rotated_box for r in readings for a in r.annotations)
    assert all(r.lost == {} for r in readings)


def test_case_6_boxes_by_their_corners_and_what_is_none() -> None:
    cases = _json(CASES / "sdk_expected.json")
    for case in cases["yolo_bbox_value"]:
        (found,) = _read([_rectangle(case["value"])]).annotations
        x1, y1, x2, y2 = np.array(found.box) / (768, 576, 768, 576)
        assert [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1] == pytest.approx(case["expected_cxcywh"])
    for value in cases["yolo_bbox_invalid_must_be_refused"]:
        assert _read([_rectangle(value)]) == Reading([], {"box without coordinates": 1})


def test_case_7_rotated_boxes_by_their_corners() -> None:
    for case in _json(CASES / "sdk_expected.json")["yolo_obb_value"]:
        width, height = case["value"]["original_width"], case["value"]["original_height"]
        reading = from_result([_rectangle(case["value"])], width, height, ME)
        corners = rotated_corners(reading.annotations[0].rotated_box) / (width, height)
        assert corners == pytest.approx(np.array(case["expected_corners_tl_tr_br_bl"]), abs=1e-9)


def test_case_7_what_is_no_rotated_box() -> None:
    """Sizes come from the catalog, and no rotation is none; a box without a corner or side is refused."""
    readings = [
        from_result([_rectangle(value)], 597, 768, ME)
        for value in _json(CASES / "sdk_expected.json")["yolo_obb_invalid_must_be_refused"]
    ]
    unsized, *_ = readings
    assert [len(r.annotations) for r in readings] == [1, 1, 0, 0, 0, 0, 1, 0]
    assert readings[1] == unsized and unsized.annotations[0].rotated_box is not None
    assert readings[6].annotations[0].box is not None
    assert all(r.lost == {"box without coordinates": 1} for r in readings if not r.annotations)


def test_case_7_round_trips() -> None:
    cases = _json(CASES / "sdk_expected.json")
    value = cases["yolo_obb_roundtrip_2"]
    (found,) = _read([_rectangle(value) | value]).annotations
    (region,) = to_result([found], 1024, 768)
    for key in ("x", "y", "width", "height", "rotation"):
        assert region["value"][key] == pytest.approx(value[key], abs=1e-9)
    case = cases["yolo_obb_roundtrip"]
    flat = np.array(case["corners_flat"]) / 100
    (found,), _ = from_lines(f"0 {' '.join(map(str, flat))}", *case["size"], ["a"], ME, "obb")  # type: ignore[call-arg]
    regions = to_result([found], *case["size"])
    (again,) = from_result(regions, *case["size"], ME).annotations
    corners = rotated_corners(again.rotated_box).reshape(-1)
    assert np.abs(corners - flat * 10).max() <= case["tolerance_px"]


def test_a_shape_whose_list_of_labels_is_empty() -> None:
    shapes = [
        {
            "type": "rectanglelabels",
            "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": []},
        },
        {"type": "keypointlabels", "value": {"x": 1, "y": 1, "width": 0.5, "keypointlabels": []}},
    ]
    assert _read(shapes) == Reading([], {"box without a label": 1, "keypoint without a label": 1})


def test_case_8_a_label_keeps_the_number_of_its_category(tmp_path: Path) -> None:
    case = _json(CASES / "sdk_expected.json")["coco_explicit_category_ids"]
    classes = ("car", "person", "truck")
    interface = read_interface(case["config"], "label_config.xml", Schema.of("detection", classes))
    assert interface.categories == case["expected_category_ids"]
    boxes = tuple(Annotation(label, ME, box=(1, 1, 5, 5)) for label in case["result_labels"])
    picture = Picture(ImageRecord("a", "a.png", 10, 10, "train"), tmp_path / "a.png", boxes)
    writing = Writing("cars", Schema.of("detection", classes), categories=interface.categories)
    coco.write(tmp_path / "out.json", [picture], writing)
    written = _json(tmp_path / "out.json")
    assert {c["name"]: c["id"] for c in written["categories"]} == case["expected_category_ids"]
    assert [a["category_id"] for a in written["annotations"]] == [10, 7]


def _rectangle(value: dict, labels: Sequence[str] = ("a",)) -> dict:
    return {"type": "rectanglelabels", "value": value | {"rectanglelabels": list(labels)}}


def test_case_4_a_polygon_of_37_points() -> None:
    (result,) = _results(CONVERTER / "test_export_yolo" / "data_polygons.json")
    reading = _read(result)
    assert reading.lost == {}
    (found,) = reading.annotations
    assert (found.label, len(found.polygons), len(found.polygons[0])) == ("Airplane", 1, 37)
    assert found.polygons[0][0] == pytest.approx((384, 426 * 0.1955922865013774), abs=1e-6)


def test_case_5_keypoints_name_the_box_they_belong_to() -> None:
    (result,) = _results(CONVERTER / "test_export_yolo" / "data_keypoints.json")
    reading = _read(result)
    *points, person = reading.annotations
    assert [a.label for a in points] == ["nose", "left_eye", "right_eye"]
    assert person.box is not None
    assert {a.parent for a in points} == {person.id} == {"hplPm0Szvc"}
    assert reading.lost == {}
    assert [relation_to_row(r) for r in reading.relations] == [r for r in result if r["type"] == "relation"]
    assert len(reading.relations) == 5


@pytest.mark.parametrize("case", ["data", "data_repeater"])
def test_case_9_a_taxonomy_of_a_region_is_counted(case: str) -> None:
    (result,) = _results(CONVERTER / "test_export_json_min" / f"{case}.json")
    reading = _read(result)
    assert reading.lost == ({} if case == "data" else {"taxonomy of a region": 1})
    assert len(reading.annotations) == 1


def test_case_12_what_was_skipped_is_no_answer() -> None:
    results = _results(CONVERTER / "test_export_doclang" / "data.json")
    assert len(results) == 2
    readings = [_read(result) for result in results]
    assert [[a.label for a in r.annotations] for r in readings] == [["Section-header"], ["Text"]]
    assert [r.lost for r in readings] == [{"textarea region": 1}, {}]


def test_case_14_brush_masks() -> None:
    (prediction,) = _json(BACKEND / "test_brush_labels.json")
    reading = _read(prediction["result"], MODEL)
    expected = _json(CASES / "brush_expected.json")["masks"][:3]
    assert reading.lost == {}
    assert [a.id for a in reading.annotations] == [e["id"] for e in expected]
    assert [masks.area(a.mask) for a in reading.annotations] == [12104, 5716, 11709]
    assert [masks.box(a.mask) for a in reading.annotations] == [tuple(e["bbox_xyxy"]) for e in expected]
    again = to_result(reading.annotations, 768, 576, controls=WRITTEN)
    assert [r["value"]["rle"] for r in again] == [r["value"]["rle"] for r in prediction["result"]]


def test_case_19_predicted_polygons() -> None:
    (prediction,) = _json(BACKEND / "test_polygon_labels.json")
    reading = _read(prediction["result"], MODEL)
    assert reading.lost == {}
    assert [len(a.polygons[0]) for a in reading.annotations] == [133, 121, 179]
    assert [a.score for a in reading.annotations] == [r["score"] for r in prediction["result"]]


@pytest.mark.parametrize("number", [1, 2])
def test_case_19_predicted_keypoints(number: int) -> None:
    (prediction,) = _json(BACKEND / f"test_keypoint_labels_{number}.json")
    reading = _read(prediction["result"], MODEL)
    points = [a for a in reading.annotations if a.keypoints]
    assert [a.label for a in points] == [
        f"{side}_{joint}" for joint in ("shoulder", "hip", "knee") for side in ("left", "right")
    ]
    assert {a.parent for a in points} == ({"bbox-0"} if number == 1 else {""})
    assert len(reading.annotations) - len(points) == (1 if number == 1 else 0)
    assert reading.lost == {"note on a region": len(reading.annotations)}


FIFTYONE = {"Classification": 1, "Classifications": 2, "Detection": 1, "Polyline": 1, "Keypoint": 4}


def test_case_21_regions_that_fiftyone_maps() -> None:
    for case in _json(CASES / "fiftyone_labelstudio_cases.json")["label_mappings"]:
        regions, wanted = case["labelstudio"], case["fiftyone"]
        regions = regions if isinstance(regions, list) else [regions]
        reading = from_result(regions, 600, 403, ME, controls=EVERYTHING)
        found = reading.annotations
        kind = wanted["_cls"]
        if kind == "Regression":
            assert (found, reading.lost) == ([], {"number region": 1})
            continue
        assert reading.lost == {}
        places = [np.array(_numbers(a)).reshape(-1, 2) / (600, 403) for a in found]
        if kind == "Detection":
            x, y, w, h = wanted["bounding_box"]
            assert places[0].reshape(-1) == pytest.approx([x, y, x + w, y + h], abs=1e-9)
        elif kind in ("Polyline", "Keypoint"):
            points = np.concatenate(places)
            expected = wanted["points"][0] if kind == "Polyline" else wanted["points"]
            assert points == pytest.approx(np.array(expected), abs=1e-9)
        elif kind == "Keypoints":
            said = [(a.label, *place[0]) for a, place in zip(found, places, strict=True)]
            named = [(k["label"], *point) for k in wanted["keypoints"] for point in k["points"]]
            assert [name for name, *_ in said] == [name for name, *_ in named]
            assert [at for _, *at in said] == pytest.approx(np.array([at for _, *at in named]), abs=1e-9)
        labels = {wanted["label"]} if "label" in wanted else {*wanted.get("labels", ())}
        assert not labels or {a.label for a in found} == labels


TASK_OF: dict[str, TaskName] = {
    "classification": "classification",
    "classifications": "multilabel-classification",
    "detections": "detection",
    "instances": "instance-segmentation",
    "polygons": "instance-segmentation",
    "segmentation": "semantic-segmentation",
}


def test_case_21_interfaces_that_fiftyone_makes() -> None:
    """Each is a project's own interface as it is, or is refused for what the task needs besides."""
    taken = 0
    for case in _json(CASES / "fiftyone_labelstudio_cases.json")["label_configs"]:
        ((name, schema),) = case["label_schema"].items()
        task = TASK_OF.get(schema["type"])
        if task is None or "classes" not in schema:
            continue
        interface = read_interface(case["expected_xml"], "theirs.xml", Schema.of(task, schema["classes"]))
        assert set(interface.controls.values()) == {name}
        assert (interface.image, interface.data_key) == ("image", "image")
        taken += 1
    assert taken == 6

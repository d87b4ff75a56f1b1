"""Detection metrics against hand-computed numbers, published COCO values and properties."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import FormatError, StageError
from workflow.metrics.coco import RECALLS, sweep_records
from workflow.metrics.detection import detection_metrics
from workflow.metrics.detection_record import DetectionMetrics
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.schema import Schema
from workflow.shapes.matching import count_errors, match

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "evaluation-reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the published COCO values are not here")
PERSON, MODEL = Provenance("person", "ann"), Provenance("model", "m")
SIZE = {"a": (100, 100), "b": (100, 100)}


def true(label, *box):
    return Annotation(label, PERSON, box=box)


def guess(label, score, *box):
    return Annotation(label, MODEL, box=box, score=score)


def of_boxes(images, truth, predicted, classes):
    return detection_metrics(Schema.of("detection", classes), images, truth, predicted)


def reference(folder, truth_file, predicted_file):
    """A published set as images, truth, predictions and classes of our own vocabulary."""
    gt = json.loads((REFERENCE / folder / truth_file).read_text())
    dt = json.loads((REFERENCE / folder / predicted_file).read_text())
    names = {c["id"]: c["name"] for c in gt["categories"]}
    # Ids of one length sort as the numbers do, so equal scores keep the reference's order.
    images = {f"{i['id']:012}": (i["width"], i["height"]) for i in gt["images"]}
    sides = ({}, {})
    for side, records in zip(sides, (gt["annotations"], dt), strict=True):
        for r in records:
            x, y, w, h = r["bbox"]
            side.setdefault(f"{r['image_id']:012}", []).append(
                Annotation(names[r["category_id"]], MODEL, box=(x, y, x + w, y + h), score=r.get("score"))
            )
    return images, *sides, list(names.values())


def test_every_number_by_hand():
    truth = {
        "a": [true("cat", 0, 0, 10, 10), true("dog", 50, 50, 60, 60)],
        "b": [true("cat", 20, 20, 30, 30)],
    }
    predicted = {
        "a": [guess("cat", 0.9, 0, 0, 10, 10), guess("cat", 0.8, 50, 50, 60, 60)],
        # 10 x 6 of 10 x 10: IoU .6, right up to and including the IoU threshold .60
        "b": [guess("cat", 0.7, 20, 20, 30, 26), guess("dog", 0.1, 80, 80, 90, 90)],
    }
    m = of_boxes(SIZE, truth, predicted, ["cat", "dog", "eel"])
    # cat at IoU .5: right, wrong, right. Precision 1 for recall 0 to .5 (51 points), then 2/3 (50 points).
    cat50 = (51 + 50 * 2 / 3) / 101
    # at .65 and above only the first is right
    cat = (3 * cat50 + 7 * 51 / 101) / 10
    assert m.per_class["cat"] == {
        "truths": 2,
        "predictions": 3,
        "precision": 2 / 3,
        "recall": 1.0,
        "best_threshold": 0.7,
        "best_f1": 0.8,
        "ap50": pytest.approx(cat50, abs=1e-12),
        "ap50_95": pytest.approx(cat, abs=1e-12),
    }
    assert m.per_class["dog"] == {
        "truths": 1,
        "predictions": 0,
        "precision": None,
        "recall": 0.0,
        "best_threshold": 0.0,
        "best_f1": 0.0,
        "ap50": 0.0,
        "ap50_95": 0.0,
    }
    absent = m.per_class["eel"]
    assert (absent["ap50"], absent["ap50_95"], absent["recall"], absent["truths"]) == (None, None, None, 0)
    # a class without truths does not enter the mean
    assert m.map50 == pytest.approx(cat50 / 2, abs=1e-12)
    assert m.map50_95 == pytest.approx(cat / 2, abs=1e-12)
    # F1 after each cut: 2/4, 2/5, 4/6, 4/7
    assert (m.threshold, m.f1) == (0.7, pytest.approx(2 / 3))
    assert m.confusion == ((2, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert m.curves["cat"] == pytest.approx([1.0] * 51 + [2 / 3] * 50)
    assert m.curves["eel"] is None
    assert m.curve == pytest.approx([0.5] * 51 + [1 / 3] * 50)
    assert len(RECALLS) == 101
    assert m.images == 2
    assert list(m.per_class) == ["cat", "dog", "eel"]


def test_confusion_counts_missed_false_and_mislabelled():
    truth = {"a": [true("cat", 0, 0, 10, 10), true("dog", 50, 50, 60, 60), true("dog", 70, 0, 80, 10)]}
    predicted = {"a": [guess("dog", 0.9, 70, 0, 80, 10), guess("dog", 0.9, 0, 0, 10, 10)]}
    predicted["b"] = [guess("cat", 0.9, 0, 0, 5, 5)]
    m = of_boxes(SIZE, truth, predicted, ["cat", "dog"])
    assert m.confusion == ((0, 1, 0), (0, 1, 1), (1, 0, 0))
    errors = count_errors(truth["a"], predicted["a"])
    assert (errors.missed, errors.false, errors.mislabelled, errors.total) == (1, 0, 1, 2)
    assert count_errors([], predicted["b"]).false == 1


def test_coco_tie_rule_equal_scores_keep_their_order():
    """Both score .5: the wrong one costs precision where it comes first, and not where it comes last."""
    right, wrong = guess("cat", 0.5, 0, 0, 10, 10), guess("cat", 0.5, 50, 50, 60, 60)
    truth = {"a": [true("cat", 0, 0, 10, 10)]}
    size = {"a": (100, 100)}
    assert of_boxes(size, truth, {"a": [wrong, right]}, ["cat"]).map50 == pytest.approx(0.5)
    assert of_boxes(size, truth, {"a": [right, wrong]}, ["cat"]).map50 == pytest.approx(1.0)
    # across images, ids in order: the wrong one of image a comes before the right one of image b
    crossed = of_boxes(SIZE, {"b": truth["a"]}, {"b": [right], "a": [wrong]}, ["cat"])
    assert crossed.map50 == pytest.approx(0.5)


def test_matching_takes_the_best_scored_first_and_the_later_of_equals():
    truth = [true("cat", 0, 0, 10, 10), true("cat", 0, 0, 10, 10), true("dog", 40, 0, 50, 10)]
    predicted = [
        guess("cat", 0.3, 0, 0, 10, 9),
        guess("cat", 0.6, 0, 0, 10, 10),
        guess("cat", 0.5, 40, 0, 50, 10),
    ]
    assert match(truth, predicted) == [
        (1, 1, 1.0),
        (None, 2, None),
        (0, 0, pytest.approx(0.9)),
        (2, None, None),
    ]
    assert match(truth, predicted, class_agnostic=True) == [
        (1, 1, 1.0),
        (2, 2, 1.0),
        (0, 0, pytest.approx(0.9)),
    ]
    assert match([true("cat", 0, 0, 10, 10)], [guess("cat", 1, 0, 0, 10, 5)]) == [(0, 0, 0.5)]
    assert match([], []) == []
    assert match([], predicted[:1]) == [(None, 0, None)]
    assert match(truth[:1], []) == [(0, None, None)]


def test_nothing_predicted_is_zero_and_nothing_true_is_none():
    truth = {"a": [true("cat", 0, 0, 10, 10)]}
    none_predicted = of_boxes(SIZE, truth, {}, ["cat"])
    assert (none_predicted.map50, none_predicted.map50_95, none_predicted.f1) == (0.0, 0.0, 0.0)
    assert none_predicted.confusion == ((0, 1), (0, 0))
    assert none_predicted.per_class["cat"]["precision"] is None
    none_true = of_boxes(SIZE, {}, {"a": [guess("cat", 0.2, 0, 0, 10, 10)]}, ["cat"])
    assert (none_true.map50, none_true.map50_95, none_true.f1, none_true.curve) == (None, None, None, None)
    assert (none_true.threshold, none_true.confusion) == (0.0, ((0, 0), (1, 0)))
    for size in ({}, SIZE):
        empty = of_boxes(size, {}, {}, ["cat"])
        assert (empty.map50, empty.images, empty.confusion) == (None, len(size), ((0, 0), (0, 0)))


def test_without_a_score_means_certain():
    truth = {"a": [true("cat", 0, 0, 10, 10)]}
    m = of_boxes(SIZE, truth, truth, ["cat"])
    assert (m.map50, m.threshold) == (pytest.approx(1.0), 1.0)


def test_refusals():
    with pytest.raises(StageError) as stray:
        of_boxes(SIZE, {}, {"z": []}, ["cat"])
    assert str(stray.value) == (
        "predictions: image z is not among the 2 evaluated (1 such)"
        " -> evaluate with the catalog the labels were made from"
    )
    with pytest.raises(FormatError) as label:
        of_boxes(SIZE, {"a": [true("fox", 0, 0, 1, 1)]}, {}, ["cat"])
    assert str(label.value) == "truth: image a has the label 'fox', none of ['cat']"
    turned = Annotation("cat", MODEL, rotated_box=RotatedBox(5, 5, 2, 2, 30))
    with pytest.raises(FormatError) as shape:
        of_boxes(SIZE, {}, {"a": [turned]}, ["cat"])
    assert str(shape.value) == "predictions: image a has a 'cat' that is not a box"


# COCO's names of its figures, and the names they have in the published files.
PUBLISHED = {
    **{name: name for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")},
    **{f"{kind} {size}": f"{kind}{size}" for kind in ("AP", "AR") for size in ("small", "medium", "large")},
}


@needs_reference
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize(
    ("folder", "values"), [("coco100", "faster_coco_eval_test_values"), ("detectron2_mini", "")]
)
def test_every_published_figure(folder: str, values: str, kind: str) -> None:
    """COCO's own records go in: the official images have crowds, and areas of their own."""
    expected = json.loads((REFERENCE / "expected.json").read_text())[folder]
    case = expected[kind]
    names = case if values else expected
    gt, dt = (
        json.loads((REFERENCE / _published_path(folder, names[side])).read_text()) for side in ("gt", "dt")
    )
    number = {c["id"]: n for n, c in enumerate(sorted(gt["categories"], key=lambda c: c["id"]), 1)}
    for n, record in enumerate(dt, 1):
        record |= {"id": n, "area": _area_of(record, kind), "iscrowd": 0}
    for record in gt["annotations"] + dt:
        record["category_id"] = number[record["category_id"]]
    sweep = sweep_records(gt["images"], gt["annotations"], dt, len(number), kind)
    published = case[values] if values else case
    for ours, theirs in PUBLISHED.items():
        value = sweep.figures[ours]
        # -1 is COCO's word for no truth.
        assert (-1 if value is None else value) == pytest.approx(published[theirs], abs=1e-12), ours


def _published_path(folder: str, name: str) -> str:
    return name if name.startswith(folder) else f"{folder}/{name}"


def _area_of(record: dict[str, Any], kind: str) -> float:
    """As COCO's loadRes has it."""
    from pycocotools import mask

    if kind == "segm":
        return float(mask.area(record["segmentation"]))
    return record["bbox"][2] * record["bbox"][3]


@needs_reference
def test_published_values_through_our_records():
    expected = json.loads((REFERENCE / "expected.json").read_text())["detectron2_mini"]["bbox"]
    m = of_boxes(*reference("detectron2_mini", "gt.json", "dt.json"))
    for ours, theirs in PUBLISHED.items():
        value = m.figures[ours]
        # Its truths state an area by their masks, ours by their boxes.
        if ours[3:] not in ("small", "medium", "large"):
            assert (-1 if value is None else value) == pytest.approx(expected[theirs], abs=1e-12), ours
    assert (m.map50_95, m.map50) == (m.figures["AP"], m.figures["AP50"])


@st.composite
def scenes(draw):
    corner, side = st.integers(0, 60), st.integers(3, 40)
    boxes = st.tuples(st.sampled_from(["cat", "dog"]), corner, corner, side, side)
    found = st.lists(boxes, max_size=6)
    return {i: [true(label, x, y, x + w, y + h) for label, x, y, w, h in draw(found)] for i in SIZE}


@given(scenes(), scenes(), st.randoms())
def test_numbers_hold_together(truth, other, random):
    predicted = {
        i: [guess(a.label, round(random.random(), 1), *a.box) for a in boxes] for i, boxes in other.items()
    }
    m = of_boxes(SIZE, truth, predicted, ["cat", "dog"])
    assert DetectionMetrics.from_json(orjson.loads(orjson.dumps(m.to_json()))) == m
    assert DetectionMetrics.from_json(m.to_json()) == m
    for label, row in zip(m.classes, m.confusion, strict=False):
        assert (
            sum(row)
            == m.per_class[label]["truths"]
            == sum(a.label == label for b in truth.values() for a in b)
        )
        assert sum(r[m.classes.index(label)] for r in m.confusion) == m.per_class[label]["predictions"]
    assert m.confusion[-1][-1] == 0
    if any(truth.values()):
        assert 0 <= m.map50_95 <= m.map50 + 1e-12 <= 1 + 1e-9


@given(scenes())
def test_a_perfect_prediction_is_one(truth):
    m = of_boxes(SIZE, truth, truth, ["cat", "dog"])
    if any(truth.values()):
        assert (m.map50, m.map50_95, m.f1) == (pytest.approx(1.0), pytest.approx(1.0), 1.0)
    else:
        assert m.map50 is None

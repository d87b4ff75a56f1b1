"""The numbers of every task, by hand, against published values and scikit-learn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.scenes import scene
from workflow.errors import FormatError
from workflow.metrics import from_json, measure
from workflow.records import Annotation, Mask, Provenance, RotatedBox
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.tasks import TASKS

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "evaluation-reference"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the published values are not here")
MODEL = Provenance("model", "m")


TURNED = Schema.of("oriented-detection", ["cat"])
BEAKS = Schema.of("keypoints", ["bird"], ["beak"])


def label(name, score=None):
    return Annotation(name, MODEL, score=score)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_its_numbers_and_they_survive_json(task):
    drawn = scene(task)
    worse, better, perfect = (
        measure(Schema.of(task, drawn.classes, drawn.keypoints), drawn.sizes, drawn.truth, said)
        for said in (drawn.base, drawn.tuned, drawn.truth)
    )
    assert worse.score < better.score < perfect.score == pytest.approx(1.0)
    for numbers in (worse, better, perfect):
        assert numbers.task == task
        assert from_json(orjson.loads(orjson.dumps(numbers.to_json()))) == numbers
        assert numbers.headlines[0].value == numbers.score
        assert numbers.headlines[0].name == numbers.metric
        assert set(numbers.per_class) == set(numbers.classes)
        for row in numbers.per_class.values():
            assert {column.key for column in numbers.columns} <= set(row)
        keys = {column.key for column in numbers.columns if column.kind == "change"}
        assert keys <= set(numbers.means)
        assert len(numbers.confusion) == len(numbers.classes) + 1
    for image, truth in drawn.truth.items():
        assert perfect.errors(truth, truth).total == 0
        assert (better.errors(truth, drawn.tuned[image]).total > 0) == (
            better.errors(truth, drawn.tuned[image]).weight > 0
        )


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_labelled_and_nothing_is_said(task):
    sizes = {"a": (10, 10)}
    points = ("tip",) if task == "keypoints" else ()
    numbers = measure(Schema.of(task, ["cat"], points), sizes, {}, {})
    assert numbers.score is None
    assert from_json(orjson.loads(orjson.dumps(numbers.to_json()))) == numbers


def test_classification_by_hand():
    sizes = dict.fromkeys("abcd", (10, 10))
    truth = {"a": [label("cat")], "b": [label("cat")], "c": [label("dog")]}
    said = {
        "a": [label("dog", 0.1), label("cat", 0.9)],
        "b": [label("dog", 0.8), label("cat", 0.2)],
        "c": [label("dog", 0.7), label("eel", 0.3)],
        "d": [label("eel", 1.0)],
    }
    m = measure(Schema.of("classification", ["cat", "dog", "eel"]), sizes, truth, said)
    # d has no true label, and is no image to measure on
    assert (m.images, m.accuracy, m.top5, m.metric, m.score) == (3, 2 / 3, None, "accuracy", 2 / 3)
    cat = {"truths": 2, "predictions": 1, "precision": 1.0, "recall": 0.5, "f1": 2 / 3}
    assert m.per_class["cat"] == cat | {"ap": 1.0, "auroc": 1.0, "best_threshold": 0.2, "best_f1": 1.0}
    dog = {"truths": 1, "predictions": 2, "precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    # .8 wrong, .7 right, .1 wrong
    assert m.per_class["dog"] == dog | {"ap": 0.5, "auroc": 0.5, "best_threshold": 0.7, "best_f1": 2 / 3}
    assert m.per_class["eel"] == {
        "truths": 0,
        "predictions": 0,
        "precision": None,
        "recall": None,
        "f1": None,
        "ap": None,
        "auroc": None,
        "best_threshold": 0.0,
        "best_f1": None,
    }
    assert (m.micro_precision, m.micro_recall, m.micro_f1) == (2 / 3, 2 / 3, 2 / 3)
    assert (m.macro_precision, m.macro_recall, m.map, m.auroc) == (0.75, 0.75, 0.75, 0.75)
    assert m.macro_f1 == pytest.approx(2 / 3)
    assert m.confusion == ((1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    # .9 right, .8 wrong and .7 right lie in three of 15 bins
    assert m.calibration_error == pytest.approx((0.1 + 0.8 + 0.3) / 3)
    assert [a.label for a in m.shown(said["a"])] == ["cat"]
    assert (m.errors(truth["b"], said["b"]).mislabelled, m.errors(truth["b"], said["b"]).total) == (1, 1)
    silent = measure(Schema.of("classification", ["cat", "dog", "eel"]), sizes, truth, {})
    assert (silent.accuracy, silent.confusion[0][-1]) == (0.0, 2)


def test_top5_is_of_six_classes_or_more():
    classes = list("abcdef")
    said = {"x": [label(name, 0.6 - n / 10) for n, name in enumerate(classes)]}
    for true, top5 in (("e", 1.0), ("f", 0.0)):
        m = measure(Schema.of("classification", classes), {"x": (1, 1)}, {"x": [label(true)]}, said)
        assert (m.accuracy, m.top5) == (0.0, top5)


def test_multilabel_by_hand():
    sizes = dict.fromkeys("abc", (10, 10))
    truth = {"a": [label("cat"), label("dog")], "b": [label("cat")]}
    said = {
        "a": [label("cat", 0.9), label("dog", 0.3)],
        "b": [label("cat", 0.6), label("dog", 0.5)],
        "c": [label("cat", 0.7), label("dog", 0.1)],
    }
    m = measure(Schema.of("multilabel-classification", ["cat", "dog", "eel"]), sizes, truth, said)
    # cat: right, wrong, right; dog: wrong, right
    assert m.per_class["cat"]["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert m.per_class["dog"]["ap"] == pytest.approx(1 / 2)
    assert m.per_class["eel"]["ap"] is None
    assert m.score == m.map == pytest.approx((5 / 6 + 1 / 2) / 2)
    # F1 after each cut: 2/4, 2/5, 4/6, 4/7, 6/8: everything down to .3 counts
    assert (m.threshold, m.f1) == (0.3, pytest.approx(3 / 4))
    assert m.accuracy == pytest.approx(1 / 3)
    assert m.confusion == ((2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (1, 1, 0, 0))
    assert (m.errors(truth["b"], said["b"]).false, m.errors(truth["b"], said["b"]).missed) == (1, 0)


@settings(max_examples=25)
@given(st.data())
def test_classification_is_scikit_learns(data):
    """Of any number of labels and of one, from the same random scores, few of them distinct or all."""
    from sklearn import metrics as theirs
    from sklearn.calibration import calibration_curve

    classes = [f"c{n}" for n in range(data.draw(st.sampled_from([2, 3, 7])))]
    count, seed = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    scores = chance.random((count, len(classes)))
    if data.draw(st.booleans()):
        scores = np.ceil(scores * 4) / 4
    images = [f"{n:02}" for n in range(count)]
    said = {
        i: [label(c, s) for c, s in zip(classes, row, strict=True)]
        for i, row in zip(images, scores.tolist(), strict=True)
    }
    sizes = dict.fromkeys(images, (1, 1))
    close = {"abs": 1e-9}

    true = chance.random((count, len(classes))) < 0.4
    truth = {
        i: [label(c) for c, yes in zip(classes, row, strict=True) if yes]
        for i, row in zip(images, true, strict=True)
    }
    m = measure(Schema.of("multilabel-classification", classes), sizes, truth, said)
    chosen = scores >= m.threshold
    for n, name in enumerate(classes):
        row, both = m.per_class[name], 0 < true[:, n].sum() < count
        wanted = theirs.average_precision_score(true[:, n], scores[:, n]) if true[:, n].any() else None
        assert row["ap"] == (None if wanted is None else pytest.approx(wanted, **close))
        wanted = theirs.roc_auc_score(true[:, n], scores[:, n]) if both else None
        assert row["auroc"] == (None if wanted is None else pytest.approx(wanted, **close))
        if row["best_f1"] is not None:
            precision, recall, cuts = theirs.precision_recall_curve(true[:, n], scores[:, n])
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
            assert row["best_f1"] == pytest.approx(f1.max(), **close)
            assert f1[cuts.tolist().index(row["best_threshold"])] == pytest.approx(f1.max(), **close)
            at = theirs.f1_score(true[:, n], scores[:, n] >= 0.3, zero_division=0)
            assert m.f1_curves[name][30] == pytest.approx(at, **close)
    seen = np.flatnonzero((true | chosen).any(axis=0)).tolist()
    for average in ("macro", "micro"):
        three = (
            theirs.precision_recall_fscore_support(
                true, chosen, labels=seen, average=average, zero_division=0
            )[:3]
            if seen
            else (None,) * 3
        )
        ours = [getattr(m, f"{average}_{word}") for word in ("precision", "recall", "f1")]
        for one, other in zip(ours, three, strict=True):
            assert (one or 0.0) == pytest.approx(other or 0.0, **close), average

    one = chance.integers(0, len(classes), count)
    truth = {i: [label(classes[n])] for i, n in zip(images, one.tolist(), strict=True)}
    m = measure(Schema.of("classification", classes), sizes, truth, said)
    best = scores.argmax(axis=1)
    assert m.accuracy == pytest.approx(theirs.accuracy_score(one, best), **close)
    labels = sorted({*one.tolist(), *best.tolist()})
    three = theirs.precision_recall_fscore_support(one, best, labels=labels, average="macro", zero_division=0)
    assert [m.macro_precision, m.macro_recall, m.macro_f1] == pytest.approx(three[:3], **close)
    assert [m.micro_precision, m.micro_recall, m.micro_f1] == pytest.approx([m.accuracy] * 3, **close)
    if len(np.unique(scores)) < scores.size:
        return
    if len(classes) > 5:
        top5 = theirs.top_k_accuracy_score(one, scores, k=5, labels=range(len(classes)))
        assert m.top5 == pytest.approx(top5, **close)
    sure = scores.max(axis=1)
    shares, means = calibration_curve(one == best, sure, n_bins=15)
    curve = np.array(m.calibration["curve"])
    assert np.allclose(curve[:, :2], np.stack([means, shares], axis=1), rtol=0, atol=1e-9)
    counts = np.histogram(sure, bins=15, range=(0, 1))[0]
    assert curve[:, 2].tolist() == counts[counts > 0].tolist()
    off = np.average(abs(shares - means), weights=counts[counts > 0])
    assert m.calibration_error == pytest.approx(off, **close)


def test_an_image_without_a_score_ranks_last():
    from sklearn.metrics import roc_auc_score

    truth = {"a": [label("cat")], "b": [label("cat")], "c": [], "d": []}
    said = {"a": [label("cat", 0.5)], "c": [label("cat", 0.5)]}
    m = measure(Schema.of("multilabel-classification", ["cat"]), dict.fromkeys("abcd", (1, 1)), truth, said)
    assert m.per_class["cat"]["auroc"] == roc_auc_score([1, 1, 0, 0], [0.5, -1, 0.5, -1])
    assert m.curves["cat"] == (0.5,) * 51 + (0.0,) * 50
    twice = {"a": [label("cat", 0.2), label("cat", 0.9)]}
    m = measure(Schema.of("multilabel-classification", ["cat"]), dict.fromkeys("abcd", (1, 1)), truth, twice)
    assert (m.per_class["cat"]["ap"], m.per_class["cat"]["best_threshold"]) == (0.5, 0.9)


def painted(pixels, classes):
    return [
        Annotation(name, MODEL, mask=masks.encode(pixels == n))
        for n, name in enumerate(classes, 1)
        if (pixels == n).any()
    ]


def test_semantic_by_hand():
    true = np.array([[1, 1, 1, 1], [2, 2, 0, 0]])
    told = np.array([[1, 1, 2, 0], [2, 0, 0, 2]])
    truth, said = {"a": painted(true, ["sky", "sea"])}, {"a": painted(told, ["sky", "sea"])}
    m = measure(Schema.of("semantic-segmentation", ["sky", "sea", "fog"]), {"a": (4, 2)}, truth, said)
    assert m.per_class["sky"] == {
        "truths": 4,
        "predictions": 2,
        "iou": 0.5,
        "dice": 2 / 3,
        # In so small an image every pixel is near an edge.
        "boundary_iou": 0.5,
        "precision": 1.0,
        "recall": 0.5,
    }
    assert m.per_class["sea"]["iou"] == 1 / 4
    assert m.per_class["fog"]["iou"] is None
    assert (m.miou, m.pixel_accuracy, m.background_iou) == (3 / 8, 4 / 8, 1 / 4)
    assert m.confusion == ((2, 1, 0, 1), (0, 1, 0, 1), (0, 0, 0, 0), (0, 1, 0, 1))
    errors = m.errors(truth["a"], said["a"])
    assert (errors.missed, errors.false, errors.mislabelled, errors.weight) == (2, 1, 1, 0.5)


@given(st.data())
def test_semantic_is_scikit_learns(data):
    from sklearn.metrics import confusion_matrix, jaccard_score

    shapes = data.draw(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=3))
    classes = ["a", "b", "c"]
    true, told = (
        [data.draw(arrays(np.uint8, shape, elements=st.integers(0, 3))) for shape in shapes] for _ in range(2)
    )
    sizes = {str(n): (shape[1], shape[0]) for n, shape in enumerate(shapes)}
    sides = [{str(n): painted(pixels, classes) for n, pixels in enumerate(side)} for side in (true, told)]
    m = measure(Schema.of("semantic-segmentation", classes), sizes, *sides)
    flat = [np.concatenate([pixels.ravel() for pixels in side]) for side in (true, told)]
    theirs = confusion_matrix(*flat, labels=[1, 2, 3, 0])
    assert m.confusion == tuple(tuple(row) for row in theirs.tolist())
    assert m.pixel_accuracy == (flat[0] == flat[1]).mean()
    seen = sorted(set(np.concatenate(flat).tolist()) - {0})
    if seen:
        theirs = jaccard_score(*flat, labels=seen, average="macro")
        assert m.miou == pytest.approx(theirs, abs=1e-12)
    else:
        assert m.miou is None


def test_boundary_iou_is_the_authors():
    """As their `mask_to_boundary` has it, a class at a time."""
    import cv2

    def near_the_outline(mask):
        reach = max(1, round(0.02 * np.hypot(*mask.shape)))
        framed = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inner = cv2.erode(framed, np.ones((3, 3), dtype=np.uint8), iterations=reach)[1:-1, 1:-1]
        return mask & ~inner.astype(bool)

    chance, classes = np.random.default_rng(0), ["a", "b", "c"]
    sizes, sides = {}, ({}, {})
    counts = np.zeros((3, 2))
    for n in range(12):
        height, width = chance.integers(8, 130, 2).tolist()
        sizes[str(n)] = (width, height)
        pictures = []
        for side in sides:
            pixels = np.zeros((height, width), dtype=np.uint8)
            for k in (1, 2, 3, 1, 2):
                x, y = chance.integers(0, width), chance.integers(0, height)
                pixels[y : y + chance.integers(1, height), x : x + chance.integers(1, width)] = k
            side[str(n)] = painted(pixels, classes)
            pictures.append(pixels)
        known = np.ones((height, width), dtype=bool)
        if n % 2:
            known[: height // 3] = False
            void = Annotation("void", MODEL, mask=masks.encode(~known), ignored=True)
            sides[0][str(n)].append(void)
            pictures[0][~known] = 255
        for k in (1, 2, 3):
            true, told = (near_the_outline(pixels == k) & known for pixels in pictures)
            counts[k - 1] += (true & told).sum(), (true | told).sum()
    m = measure(Schema.of("semantic-segmentation", classes), sizes, *sides)
    wanted = counts[:, 0] / counts[:, 1]
    assert [m.per_class[c]["boundary_iou"] for c in classes] == pytest.approx(wanted.tolist(), abs=1e-12)
    assert m.boundary_iou == pytest.approx(wanted.mean())
    assert 0 < m.boundary_iou < m.miou


@needs_reference
def test_published_mask_values():
    cases = json.loads((REFERENCE / "mask_metrics.json").read_text())["cases"]
    checked = 0
    for case in cases:
        if "check" not in case or "iou_fg" not in case["check"]:
            continue
        true, told = (np.array(case[key]) > 0 for key in ("gt_mask", "pred_mask"))
        sides = [{"a": painted(side.astype(int), ["object"])} for side in (true, told)]
        m = measure(Schema.of("semantic-segmentation", ["object"]), {"a": true.shape[::-1]}, *sides)
        assert m.miou == pytest.approx(case["check"]["iou_fg"], abs=1e-9)
        assert m.dice == pytest.approx(case["check"]["dice_fg"], abs=1e-9)
        checked += 1
    assert checked >= 3


def of_masks(sizes, truth, said, classes):
    return measure(Schema.of("instance-segmentation", classes), sizes, truth, said)


def published_masks(folder):
    """A published set as images, truth, predictions and classes: truths as outlines, guesses as masks."""
    gt, dt = (json.loads((REFERENCE / folder / name).read_text()) for name in ("gt.json", "dt.json"))
    names = {c["id"]: c["name"] for c in gt["categories"]}
    sizes = {f"{i['id']:012}": (i["width"], i["height"]) for i in gt["images"]}
    sides = ({}, {})
    for side, records in zip(sides, (gt["annotations"], dt), strict=True):
        for r in records:
            shape, image = r["segmentation"], f"{r['image_id']:012}"
            if isinstance(shape, list):
                parts = tuple(tuple(zip(p[::2], p[1::2], strict=True)) for p in shape)
                geometry = {"polygons": parts}
            else:
                geometry = {"mask": Mask(*shape["size"], shape["counts"])}  # type: ignore[call-arg]
            found = Annotation(names[r["category_id"]], MODEL, score=r.get("score"), **geometry)
            side.setdefault(image, []).append(found)
    return sizes, *sides, list(names.values())


@needs_reference
def test_published_values_of_masks():
    expected = json.loads((REFERENCE / "expected.json").read_text())
    small = expected["detectron2_mini"]["segm"]
    m = of_masks(*published_masks("detectron2_mini"))
    assert (m.map50_95, m.map50) == (pytest.approx(small["AP"], abs=1e-12), pytest.approx(small["AP50"]))


def turned(name, score, *numbers):
    return Annotation(name, MODEL, rotated_box=RotatedBox(*numbers), score=score)


def test_rotated_boxes_are_compared_by_their_outlines():
    truth = {"a": [turned("cat", None, 50, 50, 40, 20, 30)]}
    size = {"a": (100, 100)}
    # the same upright box round it, and an outline that shares a third
    across = {"a": [turned("cat", 0.9, 50, 50, 40, 20, 120)]}
    assert measure(TURNED, size, truth, across).map50 == 0.0
    # a little over half of the length is so of the area: right at IoU .5 alone
    half = {"a": [turned("cat", 0.9, 50, 50, 21, 20, 30)]}
    m = measure(TURNED, size, truth, half)
    assert (m.map50, m.map50_95) == (1.0, pytest.approx(0.1))
    # a half turn is the same box, and so is an upright one of no angle
    same = {"a": [turned("cat", 0.9, 50, 50, 40, 20, 210)]}
    assert measure(TURNED, size, truth, same).map50_95 == pytest.approx(1.0)
    upright = {"a": [Annotation("cat", MODEL, box=(30, 40, 70, 60))]}
    level = {"a": [turned("cat", 0.9, 50, 50, 40, 20, 0)]}
    assert measure(TURNED, size, upright, level).map50_95 == pytest.approx(1.0)


def test_outlines_and_masks_of_one_object_are_the_same():
    square = ((10.0, 10.0), (30.0, 10.0), (30.0, 20.0), (10.0, 20.0))
    truth = {"a": [Annotation("cat", MODEL, polygons=(square,))]}
    pixels = np.zeros((40, 50), dtype=bool)
    pixels[10:20, 10:30] = True
    said = {"a": [Annotation("cat", MODEL, mask=masks.encode(pixels), score=0.9)]}
    m = measure(Schema.of("instance-segmentation", ["cat"]), {"a": (50, 40)}, truth, said)
    assert m.map50_95 == pytest.approx(1.0)
    pixels[10:20, 20:30] = False
    said = {"a": [Annotation("cat", MODEL, mask=masks.encode(pixels), score=0.9)]}
    m = measure(Schema.of("instance-segmentation", ["cat"]), {"a": (50, 40)}, truth, said)
    assert (m.map50, m.map50_95) == (1.0, pytest.approx(0.1))


def person(name, score, points, box=(0, 0, 100, 100)):
    found = [Annotation("bird", MODEL, box=box, score=score, id=name)]
    for point, place in points.items():
        found.append(Annotation(point, MODEL, keypoints=(place,), score=score, parent=name, id=name + point))
    return found


def test_keypoints_by_hand():
    size = {"a": (200, 200)}
    truth = {"a": person("t", None, {"beak": (10, 10), "tail": (90, 90)})}
    # tolerance 1/2 and area 5300: a point 73 pixels off is right to exp(-5329 / 10600) = 0.605
    far = {"a": person("p", 0.9, {"beak": (10, 10), "tail": (90, 163)})}
    m = measure(Schema.of("keypoints", ["bird"], ["beak", "tail"]), size, truth, far)
    oks = (1 + np.exp(-(73**2) / (2 * 5300))) / 2
    assert 0.80 < oks < 0.85
    assert m.oks50_95 == pytest.approx(0.7)
    assert (m.oks50, m.map50_95, m.score) == (1.0, pytest.approx(1.0), m.oks50_95)
    assert m.points == {"beak": {"truths": 1, "near": 1.0}, "tail": {"truths": 1, "near": 0.0}}
    # a point that is not given is not right at all
    lacking = {"a": person("p", 0.9, {"beak": (10, 10)})}
    m = measure(Schema.of("keypoints", ["bird"], ["beak", "tail"]), size, truth, lacking)
    assert (m.oks50, m.oks50_95) == (1.0, pytest.approx(0.1))
    # ten pixels are a tenth of the box
    near = {"a": person("p", 0.9, {"beak": (20, 10), "tail": (101, 90)})}
    m = measure(Schema.of("keypoints", ["bird"], ["beak", "tail"]), size, truth, near)
    assert [row["near"] for row in m.points.values()] == [1.0, 0.0]
    assert len(m.shown(near["a"])) == 3
    assert m.shown([replace(a, score=0.1) for a in near["a"]]) == []


def test_an_object_without_labelled_points_is_no_miss_and_no_error():
    size = {"a": (400, 200)}
    bare = person("u", None, {}, box=(200, 0, 300, 100))
    truth = {"a": person("t", None, {"beak": (10, 10)}) + bare}
    said = person("p", 0.9, {"beak": (10, 10)})
    other = person("q", 0.95, {"beak": (210, 10)}, box=(200, 0, 300, 100))
    for found in (said, said + other):
        m = measure(BEAKS, size, truth, {"a": found})
        assert m.oks50_95 == pytest.approx(1.0)
    assert m.per_class["bird"]["truths"] == 2
    assert measure(BEAKS, size, truth, {"a": said}).map50 == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("task", "truth", "message"),
    [
        ("classification", [label("cat"), label("dog")], "image a has 2 labels, and one is wanted"),
        ("classification", [label("fox")], "image a has the label 'fox', none of ['cat', 'dog']"),
        (
            "classification",
            [Annotation("cat", MODEL, box=(0, 0, 1, 1))],
            "image a has a 'cat' that is not a label of the whole image",
        ),
        ("semantic-segmentation", [label("cat")], "image a has a 'cat' that is not a mask"),
        ("oriented-detection", [label("cat")], "image a has a 'cat' that is not a rotated box or box"),
        (
            "keypoints",
            [Annotation("tip", MODEL, keypoints=((1, 1),))],
            "image a has a 'tip' that belongs to no box",
        ),
        (
            "keypoints",
            [Annotation("cat", MODEL, keypoints=((1, 1),))],
            "image a has the label 'cat', none of ['tip']",
        ),
    ],
)
def test_refusals(task, truth, message):
    with pytest.raises(FormatError) as error:
        measure(Schema.of(task, ["cat", "dog"], ["tip"]), {"a": (10, 10)}, {"a": truth}, {})
    assert str(error.value) == f"truth: {message}"

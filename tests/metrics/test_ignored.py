"""What is ignored is neither hit nor miss: by hand, and as COCO's own evaluation has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow.metrics import measure
from workflow.metrics.coco import IOUS, RECALLS, coco_sweep
from workflow.metrics.detection import detection_metrics
from workflow.metrics.semantic import semantic_metrics
from workflow.records import Annotation, Provenance, RotatedBox
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.shapes.matching import Errors, count_errors, match

ME, MODEL = Provenance("person", "me"), Provenance("model", "m")
SIZE = {"a": (100, 100)}


def true(label: str, *box: float, ignored: bool = False) -> Annotation:
    return Annotation(label, ME, box=box, ignored=ignored)


def guess(label: str, score: float, *box: float) -> Annotation:
    return Annotation(label, MODEL, box=box, score=score)


TRUTH = [true("cat", 0, 0, 10, 10), true("cat", 40, 40, 100, 100, ignored=True)]
GUESSES = [
    guess("cat", 0.9, 0, 0, 10, 10),
    # Two within the crowd, one of another class there, one that lies in it by two fifths.
    guess("cat", 0.8, 40, 40, 60, 60),
    guess("cat", 0.7, 80, 80, 100, 100),
    guess("dog", 0.6, 60, 60, 80, 80),
    guess("cat", 0.5, 20, 50, 53, 60),
]


def test_by_hand():
    assert match(TRUTH, GUESSES) == [(0, 0, 1.0), (None, 3, None), (None, 4, None)]
    assert count_errors(TRUTH, GUESSES) == Errors(0, 2, 0)
    metrics = detection_metrics(Schema.of("detection", ["cat", "dog"]), SIZE, {"a": TRUTH}, {"a": GUESSES})
    assert (metrics.map50_95, metrics.threshold, metrics.f1) == (1.0, 0.9, 1.0)
    assert metrics.per_class["cat"]["truths"] == 1
    assert metrics.per_class["cat"]["predictions"] == 1
    assert metrics.confusion == ((1, 0, 0), (0, 0, 0), (0, 0, 0))


def test_a_truth_that_counts_goes_before_one_that_is_ignored():
    truth = [true("cat", 0, 0, 100, 100, ignored=True), true("cat", 0, 0, 10, 10)]
    assert match(truth, [guess("cat", 0.9, 0, 0, 10, 9)]) == [(1, 0, 0.9)]


def test_only_what_is_ignored_makes_no_number():
    metrics = detection_metrics(Schema.of("detection", ["cat"]), SIZE, {"a": TRUTH[1:]}, {"a": GUESSES[1:3]})
    assert (metrics.map50_95, metrics.f1) == (None, None)
    assert metrics.errors(TRUTH[1:], GUESSES[1:3]) == Errors(0, 0, 0)


@pytest.mark.parametrize("task", ["oriented-detection", "keypoints", "instance-segmentation"])
def test_every_kind_of_object(task):
    """One truth found, and two guesses within what is ignored, of another shape than that."""

    def shape(x: float, y: float, side: float, name: str = "") -> dict:
        if task == "oriented-detection":
            return {"rotated_box": RotatedBox(x + side / 2, y + side / 2, side, side, 90.0)}
        if task == "keypoints":
            return {"box": (x, y, x + side, y + side), "id": name}
        pixels = np.zeros((100, 100), dtype=bool)
        pixels[int(y) : int(y + side), int(x) : int(x + side)] = True
        return {"mask": masks.encode(pixels)}

    def some(who: Provenance, *places: tuple[float, float, float], **more) -> list[Annotation]:
        made = [Annotation("cat", who, **shape(*p, f"o{n}"), **more) for n, p in enumerate(places)]
        if task == "keypoints" and not more.get("ignored"):
            middles = ((a, (a.box[0] + 5, a.box[1] + 5)) for a in list(made))
            made += [Annotation("eye", who, keypoints=(xy,), parent=a.id) for a, xy in middles]
        return made

    truth = some(ME, (0, 0, 10)) + [
        Annotation("cat", ME, ignored=True, **shape(40, 40, 50, "crowd")),
    ]
    found = some(MODEL, (0, 0, 10), (40, 40, 10), (70, 70, 10), score=0.5)
    metrics = measure(
        Schema.of(task, ["cat"], ["eye"] if task == "keypoints" else []), SIZE, {"a": truth}, {"a": found}
    )
    assert metrics.score == 1.0
    assert metrics.map50_95 == 1.0
    assert metrics.f1 == 1.0
    assert metrics.errors(truth, found) == Errors(0, 0, 0)


def test_void_pixels_are_counted_nowhere():
    pixels = np.zeros((4, 10), dtype=bool)
    top, void = pixels.copy(), pixels.copy()
    top[0], void[2:] = True, True
    truth = [
        Annotation("cat", ME, mask=masks.encode(top)),
        Annotation("void", ME, mask=masks.encode(void), ignored=True),
    ]
    everywhere = [Annotation("cat", MODEL, mask=masks.encode(~pixels))]
    metrics = semantic_metrics(
        Schema.of("semantic-segmentation", ["cat"]), {"a": (10, 4)}, {"a": truth}, {"a": everywhere}
    )
    # 10 pixels are right, 10 false; the 20 that are void are neither.
    assert metrics.per_class["cat"]["iou"] == 0.5
    assert metrics.pixel_accuracy == 0.5
    assert metrics.confusion == ((10, 0), (10, 0))
    assert metrics.errors(truth, everywhere) == Errors(0, 10, 0, 20)


places = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)
labelled = st.tuples(st.sampled_from("xy"), places)


@settings(max_examples=60, deadline=None)
@given(
    truth=st.lists(st.tuples(labelled, st.booleans()), max_size=6),
    found=st.lists(labelled, max_size=8),
    segments=st.booleans(),
)
def test_random_crowds_are_judged_as_pycocotools_does(truth, found, segments):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def pixels(place):
        x, y, w, h = place
        bits = np.zeros((20, 20), dtype=bool)
        bits[y : y + h, x : x + w] = True
        return masks.encode(bits)

    def shape(place):
        x, y, w, h = place
        return {"mask": pixels(place)} if segments else {"box": (x, y, x + w, y + h)}

    def record(n, label, place, **more):
        x, y, w, h = place
        mask = pixels(place)
        runs = {"size": [20, 20], "counts": mask.counts}
        body = {"bbox": [x, y, w, h], "area": w * h, "segmentation": runs, "iscrowd": 0}
        return body | {"id": n, "image_id": 1, "category_id": 1 + "xy".index(label)} | more

    ours = coco_sweep(
        {"a": (20, 20)},
        {"a": [Annotation(label, ME, **shape(p), ignored=crowd) for (label, p), crowd in truth]},
        {"a": [Annotation(label, MODEL, **shape(p), score=1 - n / 10) for n, (label, p) in enumerate(found)]},
        "xy",
    )
    sides = (
        [record(n, label, p, iscrowd=int(crowd)) for n, ((label, p), crowd) in enumerate(truth, 1)],
        [record(n, label, p, score=1 - (n - 1) / 10) for n, (label, p) in enumerate(found, 1)],
    )
    made = []
    for records in sides:
        one = COCO()
        one.dataset = {
            "images": [{"id": 1, "width": 20, "height": 20}],
            "annotations": records,
            "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}],
        }
        one.createIndex()
        made.append(one)
    run = COCOeval(*made, "segm" if segments else "bbox")
    run.params.maxDets, run.params.areaRng, run.params.areaRngLbl = [100], [[0, 1e10]], ["all"]
    assert (tuple(run.params.iouThrs), tuple(run.params.recThrs)) == (IOUS, RECALLS)
    run.evaluate()
    run.accumulate()
    theirs = run.eval["precision"][:, :, :, 0, 0].transpose(0, 2, 1)
    np.testing.assert_allclose(ours.precision, theirs, rtol=0, atol=1e-12)

"""What a project may choose: how many guesses count, Pascal VOC's average precision, tolerances of points."""

from dataclasses import replace

import numpy as np
import pytest

from tests.crowds import crowd
from workflow.metrics import Rules, measure
from workflow.metrics.voc import voc_precision
from workflow.records import Annotation, Provenance
from workflow.schema import Schema
from workflow.shown.report import ReportData, render

MODEL = Provenance("model", "m")


def test_three_hundred_perfect_guesses():
    truth = {"a": [Annotation("c", MODEL, box=(n * 10.0, 0, n * 10.0 + 9, 9)) for n in range(300)]}
    said = {"a": [replace(a, score=0.5) for a in truth["a"]]}
    given = (Schema.of("detection", ["c"]), {"a": (3000, 10)}, truth, said)
    few, all_ = measure(*given), measure(*given, Rules(max_guesses=300))
    # 100 of 300: recalls up to .33 are reached, 34 points of 101
    assert few.score == pytest.approx(34 / 101)
    assert few.uncounted == {"max_guesses": 100, "places": 1, "guesses": 200, "truths": 200}
    assert (all_.score, all_.figures["AR300"]) == (pytest.approx(1.0), 1.0)
    assert all_.uncounted == {"max_guesses": 300, "places": 0, "guesses": 0, "truths": 0}
    assert all_.error_split["missed"]["count"] == 0
    html = render(ReportData(title="t", tuned=few))
    assert (
        "Of an image and class the best 100 guesses count. 200 were not counted, in 1 pair of image and"
        " class. 200 labels are beyond 100 of their class on one image: so many are taken for missed whatever"
        " the model says. evaluate.max_guesses raises the limit."
    ) in html
    assert "were not counted" not in render(ReportData(title="t", tuned=all_))


def devkit(truth, predicted, label, iou):
    """VOCevaldet.m of 2012, its loop, without the pixel that it adds to each side."""
    rows = [(a.score, i, a.box) for i in sorted(predicted) for a in predicted[i] if a.label == label]
    rows.sort(key=lambda row: -row[0])
    taken, hits = set(), []
    for _, image, (x1, y1, x2, y2) in rows:
        best, which = -1.0, None
        for n, t in enumerate(truth.get(image, ())):
            if t.label != label:
                continue
            a1, b1, a2, b2 = t.box
            w, h = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
            if w > 0 and h > 0:
                share = w * h / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - w * h)
                if share > best:
                    best, which = share, (image, n)
        if best >= iou:
            if truth[which[0]][which[1]].ignored:
                continue
            hits.append(which not in taken)
            taken.add(which)
        else:
            hits.append(False)
    count = sum(t.label == label and not t.ignored for some in truth.values() for t in some)
    if not count:
        return None
    right = np.cumsum(hits)
    recall = np.concatenate([[0], right / count, [1]])
    precision = np.concatenate([[0], right / np.arange(1, len(hits) + 1), [0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


def test_vocs_average_precision_is_the_devkits():
    checked = 0
    for seed in range(60):
        drawn, chance = crowd(seed), np.random.default_rng(seed)
        truth = {
            i: [replace(a, ignored=bool(seed % 2) and chance.random() < 0.3) for a in some]
            for i, some in drawn.truth.items()
        }
        said = {i: [replace(a, score=float(chance.random())) for a in s] for i, s in drawn.predicted.items()}
        told = voc_precision(list(drawn.sizes), truth, said, drawn.classes, (0.3, 0.5))
        for iou, row in told.items():
            for label in drawn.classes:
                wanted = devkit(truth, said, label, float(iou))
                assert row["per_class"][label] == (
                    wanted if wanted is None else pytest.approx(wanted, abs=1e-9)
                )
                checked += wanted is not None and wanted > 0
    assert checked > 100
    drawn = crowd(2)
    schema = Schema.of("detection", drawn.classes)
    numbers = measure(schema, drawn.sizes, drawn.truth, drawn.predicted, Rules(voc_iou=(0.5,)))
    html = render(ReportData(title="t", tuned=numbers))
    assert f"<td>{numbers.voc['0.5']['map']:.3f}</td>" in html
    assert "The area under the curve of all points" in html


def test_points_have_tolerances_of_their_own():
    def bird(far, name):
        box = Annotation("bird", MODEL, box=(0, 0, 100, 100), score=0.9, id=name)
        places = {"beak": (10.0, 10.0), "tail": (50.0 + far, 50.0)}
        return [box] + [
            Annotation(point, MODEL, keypoints=(place,), parent=name) for point, place in places.items()
        ]

    schema = Schema.of("keypoints", ["bird"], ["beak", "tail"])
    given = (schema, {"a": (200, 200)}, {"a": bird(0, "t")}, {"a": bird(20, "p")})
    # area 5300: d² / (2 s² k²) with k twice the tolerance
    for sigmas, tail in (((), 0.5), ((0.5, 0.05), 0.05), ((0.01, 0.1), 0.1)):
        oks = (1 + np.exp(-400 / (2 * 5300 * (2 * tail) ** 2))) / 2
        reached = sum(oks >= iou for iou in np.linspace(0.5, 0.95, 10)) / 10
        assert measure(*given, Rules(sigmas=sigmas)).oks50_95 == pytest.approx(reached), sigmas

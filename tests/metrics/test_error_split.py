"""TIDE's error split against the authors' own code, and by hand."""

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.crowds import SIDE, crowd
from workflow.metrics.error_split import split_errors
from workflow.records import Annotation, Provenance
from workflow.shapes import masks

PERSON, MODEL = Provenance("person", "ann"), Provenance("model", "m")
THEIR_NAMES = {
    "class": "Cls",
    "place": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
    "false": "FalsePos",
    "not found": "FalseNeg",
}


def true(label, *box, ignored=False):
    return Annotation(label, PERSON, box=box, ignored=ignored)


def guess(label, score, *box):
    return Annotation(label, MODEL, box=box, score=score)


def of_tide(images, truth, predicted, classes, as_masks):
    """Their costs by our names, from 0 to 1, and their counts."""
    from tidecv import TIDE, Data

    def shape(a):
        if a.mask is not None:
            return {"mask": {"size": [a.mask.height, a.mask.width], "counts": a.mask.counts}}
        x1, y1, x2, y2 = a.box
        return {"box": [x1, y1, x2 - x1, y2 - y1]}

    gt, dt = Data("gt"), Data("dt")
    for n, image in enumerate(sorted(images)):
        gt.add_image(n, image)
        for a in truth.get(image, ()):
            add = gt.add_ignore_region if a.ignored else gt.add_ground_truth
            add(n, classes.index(a.label), **shape(a))
        for a in predicted.get(image, ()):
            dt.add_detection(n, classes.index(a.label), a.score, **shape(a))
    tide = TIDE(mode=TIDE.MASK if as_masks else TIDE.BOX)
    run = tide.evaluate(gt, dt, name="ours")
    costs = tide.get_main_errors()["ours"] | tide.get_special_errors()["ours"]
    counts = {error.short_name: count for error, count in run.count_errors().items()}
    return run.ap / 100, {k: costs[v] / 100 for k, v in THEIR_NAMES.items()}, counts


def as_mask(a):
    pixels = np.zeros((SIDE, SIDE), dtype=bool)
    x1, y1, x2, y2 = (max(0, round(v)) for v in a.box)
    pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return replace(a, box=None, mask=masks.encode(pixels))


@pytest.mark.parametrize("as_masks", [False, True])
def test_it_is_the_authors(as_masks):
    """Of equal scores theirs puts errors before hits, so that a mended error costs more than nothing."""
    pytest.importorskip("tidecv", reason="the authors' code is not installed: pip install tidecv")
    checked, seen = 0, dict.fromkeys(THEIR_NAMES, 0.0)
    for seed in range(20 if as_masks else 120):
        drawn, chance = crowd(seed, images=5 if as_masks else None), random.Random(seed)
        form = as_mask if as_masks else (lambda a: a)
        truth = {
            i: [form(replace(a, ignored=seed % 3 == 0 and chance.random() < 0.2)) for a in some]
            for i, some in drawn.truth.items()
        }
        said = {i: [form(replace(a, score=chance.random())) for a in s] for i, s in drawn.predicted.items()}
        if not any(said.values()) or not any(truth.values()):
            continue
        ours = split_errors(list(drawn.sizes), truth, said, drawn.classes)
        ap, costs, counts = of_tide(drawn.sizes, truth, said, drawn.classes, as_masks)
        assert ours.ap == pytest.approx(ap, abs=1e-9), seed
        assert ours.costs == pytest.approx(costs, abs=1e-9), seed
        for kind, theirs in THEIR_NAMES.items():
            # Theirs count what is hidden by an ignored truth, too.
            assert seed % 3 == 0 or ours.counts[kind] == counts.get(theirs, ours.counts[kind]), (seed, kind)
            seen[kind] += ours.costs[kind]
        checked += 1
    assert checked >= (15 if as_masks else 80)
    assert all(seen.values())


def test_every_kind_by_hand():
    truth = {
        "a": [true("cat", 0, 0, 10, 10), true("cat", 20, 0, 30, 10), true("dog", 40, 0, 50, 10)],
        "b": [true("cat", 0, 0, 10, 10), true("cat", 50, 50, 90, 90, ignored=True)],
    }
    said = {
        "a": [
            guess("cat", 0.9, 0, 0, 10, 10),
            guess("cat", 0.8, 0, 0, 10, 9),
            # 10 x 3 of 10 x 10: IoU .3
            guess("cat", 0.7, 20, 0, 30, 3),
            guess("cat", 0.6, 40, 0, 50, 10),
            guess("dog", 0.5, 20, 0, 30, 3),
            guess("dog", 0.4, 80, 80, 90, 90),
        ],
        "b": [guess("cat", 0.3, 60, 60, 70, 70)],
        "c": [guess("dog", 0.2, 0, 0, 5, 5)],
    }
    split = split_errors(["c", "a", "b"], truth, said, ["cat", "dog"])
    assert split.kinds == {
        "a": ["right", "duplicate", "place", "class", "both", "background"],
        "b": [""],
        "c": ["background"],
    }
    assert split.counts == {
        "class": 1,
        "place": 1,
        "both": 1,
        "duplicate": 1,
        "background": 2,
        "missed": 1,
        "false": 6,
        "not found": 3,
    }
    # of three cats the first guess finds one (34 points of recall), of dogs none
    assert split.ap == pytest.approx(34 / 101 / 2)
    # well placed, the third of four guesses is right as well: precision 2/3 up to recall 2/3
    assert split.costs["place"] == pytest.approx((34 + 33 * 2 / 3) / 101 / 2 - split.ap)
    # and, as a dog, the fourth is the best of the dogs
    assert split.costs["class"] == pytest.approx(1 / 2)
    assert split.costs["missed"] == pytest.approx(51 / 101 / 2 - split.ap)
    assert split.costs["background"] == 0
    assert split_errors([], {}, {}, ["cat"]).to_json() == {}
    assert split_errors(["a"], {}, {}, ["cat"]).to_json() == {}
    assert split_errors(["a"], truth | {"b": []}, {}, ["cat", "dog"]).costs["missed"] == 0

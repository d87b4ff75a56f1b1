"""The average precision of plain boxes against the library's, bit for bit."""

import random

import numpy as np
import pytest

from tests.crowds import crowd
from workflow.metrics.box_sweep import are_plain
from workflow.metrics.coco import coco_sweep, quick_sweep
from workflow.records import Annotation, Provenance


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_librarys(seed):
    drawn = crowd(seed)
    given = (drawn.sizes, drawn.truth, drawn.predicted, drawn.classes)
    ours, theirs = quick_sweep(*given), coco_sweep(*given)
    for name in ("precision", "scores", "recall"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name


def test_of_more_than_a_hundred_the_best_count_the_earlier_of_equals():
    model = Provenance("model", "m")
    truth = {"a": [Annotation("c", model, box=(n * 10.0, 0, n * 10.0 + 9, 9)) for n in range(120)]}
    predicted = {"a": [Annotation("c", model, box=a.box, score=0.5) for a in truth["a"]]}
    given = ({"a": (1200, 10)}, truth, predicted, ["c"])
    ours, theirs = quick_sweep(*given), coco_sweep(*given)
    assert ours.recall[0, 0] == 100 / 120
    assert np.array_equal(ours.precision, theirs.precision)


def test_what_is_ignored_or_no_box_goes_to_the_library():
    box = Annotation("c", Provenance("person", "ann"), box=(0, 0, 9, 9))
    crowded = Annotation("c", Provenance("person", "ann"), box=(0, 0, 9, 9), ignored=True)
    whole = Annotation("c", Provenance("person", "ann"))
    assert are_plain({"a": [box]}, {"a": [box], "b": []})
    assert not are_plain({"a": [box, crowded]}, {})
    assert not are_plain({}, {"a": [whole]})


def test_an_unsorted_number_of_images_makes_no_difference():
    drawn = crowd(3)
    shuffled = list(drawn.sizes.items())
    random.Random(0).shuffle(shuffled)
    rest = (drawn.truth, drawn.predicted, drawn.classes)
    one, other = quick_sweep(drawn.sizes, *rest), quick_sweep(dict(shuffled), *rest)
    assert np.array_equal(one.precision, other.precision)

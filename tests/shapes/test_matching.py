"""Matching many images at once is matching each."""

from dataclasses import replace

import pytest

from tests.crowds import crowd
from workflow.shapes import matching
from workflow.shapes.matching import Matching, match, near_pairs, score_of
from workflow.shapes.overlap import as_mask, iou


def one_by_one(truth, predicted, threshold, class_agnostic):
    kept = [n for n, a in enumerate(predicted) if score_of(a) >= threshold]
    triples = match(truth, [predicted[n] for n in kept], 0.5, class_agnostic)
    return [(t, None if p is None else kept[p], share) for t, p, share in triples]


def assert_alike(drawn):
    many = Matching(drawn.sizes, drawn.truth, drawn.predicted)
    for image in drawn.sizes:
        sides = drawn.truth.get(image, []), drawn.predicted.get(image, [])
        for threshold in (0.0, 0.5):
            for agnostic in (False, True):
                assert many.match(image, threshold, agnostic) == one_by_one(*sides, threshold, agnostic)


@pytest.mark.parametrize("seed", range(40))
def test_boxes(seed):
    assert_alike(crowd(seed))


@pytest.mark.parametrize("seed", range(10))
def test_boxes_in_many_batches(seed, monkeypatch):
    monkeypatch.setattr(matching, "PAIRS", 20)
    assert_alike(crowd(seed, images=30))


@pytest.mark.parametrize("seed", range(4))
def test_images_with_something_ignored(seed):
    drawn = crowd(seed, images=12)
    for image in list(drawn.truth)[::2]:
        drawn.truth[image] = [replace(a, ignored=n == 0) for n, a in enumerate(drawn.truth[image])]
    assert_alike(drawn)


def test_masks_among_boxes():
    drawn = crowd(5, images=6)
    for labels in (drawn.truth, drawn.predicted):
        for image in list(labels)[::2]:
            labels[image] = [replace(a, box=None, mask=as_mask(a, 200, 200)) for a in labels[image]]
    assert_alike(drawn)


def test_near_pairs_are_numbered_through_all_images(monkeypatch):
    monkeypatch.setattr(matching, "PAIRS", 30)
    drawn = crowd(7, images=20)
    pairs = near_pairs(list(drawn.sizes), drawn.truth, drawn.predicted, 0.3)
    expected, guesses, true = [], 0, 0
    for image in drawn.sizes:
        sides = drawn.predicted.get(image, []), drawn.truth.get(image, [])
        for p, row in enumerate(iou(*sides)):
            expected += [
                (guesses + p, true + t, share) for t, share in enumerate(row.tolist()) if share >= 0.3
            ]
        guesses, true = guesses + len(sides[0]), true + len(sides[1])
    columns = (pairs.predicted.tolist(), pairs.truth.tolist(), pairs.share.tolist())
    assert list(zip(*columns, strict=True)) == expected
    assert expected


def test_no_images():
    assert near_pairs([], {}, {}, 0.5).share.tolist() == []

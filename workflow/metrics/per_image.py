"""The average precision of each image by itself, from objects that were matched once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workflow.metrics.coco import RECALLS, Floats, Ranks


def image_precision(ranks: Sequence[Ranks], images: int) -> Floats:
    """COCO's average precision of each image alone, (images,) in the order of their ids; nan without truths.

    It is the mean over the classes that the image has truths of, and over the IoUs.
    """
    total, classes = np.zeros(images), np.zeros(images)
    for one in ranks:
        total += _of_class(one, images)
        classes += one.truths > 0
    return np.divide(total, classes, out=np.full(images, np.nan), where=classes > 0)


def _of_class(ranks: Ranks, images: int) -> Floats:
    """The mean over the IoUs of the precision at COCO's recalls, 0 of an image without truths."""
    order = np.argsort(ranks.images, kind="stable")
    image = ranks.images[order]
    first = np.searchsorted(image, image, side="left")
    truths = np.maximum(ranks.truths, 1)[image]
    total = np.zeros(images)
    for hits, counted in zip(ranks.hits[:, order], ranks.counted[:, order], strict=True):
        right = _within(hits, first)
        precision = right / np.maximum(_within(counted, first), 1)
        # The best precision from here on, of the same image: each image is lifted above those after it.
        lifted = (precision - 2.0 * image)[::-1]
        best = np.maximum.accumulate(lifted)[::-1] + 2.0 * image
        # How many of the recalls this hit is the first to reach.
        reached = [np.searchsorted(RECALLS, n / truths, side="right") for n in (right, right - 1)]
        gain = reached[0] - np.where(right > 1, reached[1], 0)
        total += np.bincount(image, weights=np.where(hits, best * gain, 0), minlength=images)
    return np.where(ranks.truths > 0, total, 0) / (len(RECALLS) * len(ranks.hits))


def _within(flags: np.ndarray, first: np.ndarray) -> np.ndarray:
    """How many are set up to each place, from the `first` of its image on."""
    counts = np.concatenate([[0], np.cumsum(flags)])
    return counts[1:] - counts[first]

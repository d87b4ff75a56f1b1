"""What a model's score is made of, image by image: as objects were matched, labels named, pixels counted.

From it the score of other images than those that happened to be there can be made: of some drawn again
(resampling.py), of a slice, without asking the model or matching its guesses again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workflow.metrics.coco import AREAS, Floats, Ranks
from workflow.metrics.resampling import Weights, average_precision

Chosen = NDArray[np.bool_]


class Evidence(Protocol):
    """What one model's number is made of; images stand in the order of their ids."""

    def scores(self, weights: Weights) -> tuple[Floats, Floats]:
        """The score of each draw, (draws,), and that of each class, (draws, classes).

        `weights` (draws, images) says how often each image was drawn. nan is a number that does not exist.
        """
        ...

    def others(self, weights: Weights, threshold: float) -> Mapping[str, Floats]:
        """Draws of other numbers, (draws,), by the field of the metrics; of guesses that reach `threshold`.

        A number that these cannot make is left out, or is another one than the metrics hold.
        """
        ...

    def within(self, chosen: Chosen) -> Evidence:
        """That of some images alone, of which weights then speak."""
        ...

    def holding(self) -> Chosen:
        """Which image has a truth of which class, (images, classes): only those can tell of it."""
        ...

    def parts(self) -> Mapping[str, Evidence]:
        """That of some of what there is on all images, such as the small objects, by a name for it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects as they were matched, one `ranks` a class: mean average precision over COCO's ten IoUs.

    `by_size` makes the ranks of one of COCO's sizes of objects.
    """

    ranks: Sequence[Ranks]
    by_size: Callable[[str], Sequence[Ranks]] | None = None

    def scores(self, weights: Weights) -> tuple[Floats, Floats]:
        columns = [average_precision(ranks, weights) for ranks in self.ranks]
        per_class = np.stack(columns, axis=1) if columns else np.zeros((len(weights), 0))
        return mean_of_classes(per_class), per_class

    def others(self, weights: Weights, threshold: float) -> Mapping[str, Floats]:
        halves = [replace(r, hits=r.hits[:1], counted=r.counted[:1]) for r in self.ranks]
        columns = [average_precision(ranks, weights) for ranks in halves]
        half = mean_of_classes(np.stack(columns, axis=1)) if columns else np.full(len(weights), np.nan)
        return {"map50": half, "oks50": half, "f1": _f1(*_counted(self.ranks, weights, threshold), axis=1)}

    def within(self, chosen: Chosen) -> Objects:
        return Objects([ranks.within(chosen) for ranks in self.ranks])

    def holding(self) -> Chosen:
        return _with_truths(self.ranks)

    def parts(self) -> Mapping[str, Evidence]:
        sizes = [size for size in AREAS if size != "all"] if self.by_size else []
        return {f"{size} objects": Objects(self.by_size(size)) for size in sizes if self.by_size}


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Truths, guesses and hits by image and class, (images, classes) each: of labels, or of pixels.

    A class's number is F1, hits by the mean of truths and guesses, or, of pixels, IoU, hits by the union.
    The score is the mean over the classes that a draw has a truth or a guess of, or, of one label an image,
    accuracy: the share of images whose label is right.
    """

    truths: NDArray[np.int64]
    guesses: NDArray[np.int64]
    hits: NDArray[np.int64]
    pixels: bool = False

    def scores(self, weights: Weights) -> tuple[Floats, Floats]:
        drawn = weights.astype(float)
        truths, guesses, hits = (drawn @ counts for counts in (self.truths, self.guesses, self.hits))
        if self.pixels:
            per_class = _shares(hits, truths + guesses - hits)
            return mean_of_classes(per_class), per_class
        return _shares(hits.sum(axis=1), truths.sum(axis=1)), _shares(2 * hits, truths + guesses)

    def others(self, weights: Weights, threshold: float) -> Mapping[str, Floats]:
        drawn = weights.astype(float)
        per_class = _f1(drawn @ self.truths, drawn @ self.guesses, drawn @ self.hits)
        return {"dice" if self.pixels else "macro_f1": mean_of_classes(per_class)}

    def within(self, chosen: Chosen) -> Counts:
        return Counts(self.truths[chosen], self.guesses[chosen], self.hits[chosen], self.pixels)

    def holding(self) -> Chosen:
        return self.truths > 0

    def parts(self) -> Mapping[str, Evidence]:
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class RankedLabels:
    """Labels of whole images by score, any number an image: mean average precision, as scikit-learn has it.

    `ranks` holds a class's guesses by falling score, of which only the first IoU is looked at.
    """

    ranks: Sequence[Ranks]

    def scores(self, weights: Weights) -> tuple[Floats, Floats]:
        columns = [_step_precision(ranks, weights) for ranks in self.ranks]
        per_class = np.stack(columns, axis=1) if columns else np.zeros((len(weights), 0))
        return mean_of_classes(per_class), per_class

    def others(self, weights: Weights, threshold: float) -> Mapping[str, Floats]:
        counts = _counted(self.ranks, weights, threshold)
        return {"f1": _f1(*counts, axis=1), "macro_f1": mean_of_classes(_f1(*counts))}

    def within(self, chosen: Chosen) -> RankedLabels:
        return RankedLabels([ranks.within(chosen) for ranks in self.ranks])

    def holding(self) -> Chosen:
        return _with_truths(self.ranks)

    def parts(self) -> Mapping[str, Evidence]:
        return {}


def _with_truths(ranks: Sequence[Ranks]) -> Chosen:
    return np.stack([r.truths > 0 for r in ranks], axis=1) if ranks else np.zeros((0, 0), dtype=bool)


def mean_of_classes(scores: Floats) -> Floats:
    """The mean over the classes that a draw has the number of, (draws,); nan where it has none."""
    known = ~np.isnan(scores)
    return _shares(np.where(known, scores, 0).sum(axis=1), known.sum(axis=1))


def _counted(ranks: Sequence[Ranks], weights: Weights, threshold: float) -> tuple[Floats, Floats, Floats]:
    """Truths, guesses that reach a score, and hits among these at the first IoU, (draws, classes) each."""
    drawn, sides = weights.astype(float), []
    for r in ranks:
        kept = (r.scores >= threshold) & r.counted[0]
        per_image = [np.bincount(r.images[k], minlength=len(r.truths)) for k in (kept, kept & r.hits[0])]
        sides.append([drawn @ counts for counts in (r.truths, *per_image)])
    truths, guesses, hits = (np.stack(side, axis=1) for side in zip(*sides, strict=True))
    return truths, guesses, hits


def _f1(truths: Floats, guesses: Floats, hits: Floats, axis: int | None = None) -> Floats:
    """F1 of each class, or of all together along an axis; nan where there is neither truth nor guess."""
    if axis is not None:
        truths, guesses, hits = (side.sum(axis=axis) for side in (truths, guesses, hits))
    return _shares(2 * hits, truths + guesses)


def _shares(parts: NDArray[Any], wholes: NDArray[Any]) -> Floats:
    """A part of a whole; nan of nothing."""
    return np.divide(parts, wholes, out=np.full(np.shape(parts), np.nan), where=wholes > 0)


def _step_precision(ranks: Ranks, weights: Weights) -> Floats:
    """The sum of precision times gain of recall, over the distinct scores from the highest down, (draws,)."""
    truths = weights.astype(float) @ ranks.truths
    if not len(ranks.images):
        return np.where(truths > 0, 0.0, np.nan)
    drawn = weights[:, ranks.images]
    ends = np.flatnonzero(np.append(ranks.scores[1:] != ranks.scores[:-1], True))
    right = np.cumsum(drawn * ranks.hits[0], axis=1)[:, ends]
    precision = _shares(right, np.cumsum(drawn, axis=1)[:, ends])
    gain = np.diff(right, axis=1, prepend=0)
    return _shares((np.nan_to_num(precision) * gain).sum(axis=1), truths)

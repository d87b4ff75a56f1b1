"""From a segmenter's rasters to masks over the whole upright image, in the project's words.

A raster is what a network gives, smaller than the image: a channel a class. Scaling it up to a photograph's
size at once may take gigabytes, so it goes strip by strip, on the device; what comes to the host is a
number a pixel, once a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workflow.models import Guesses
from workflow.models.boxes import SAME_PLACE
from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.shapes.overlap import iou
from workflow.tasks import BACKGROUND

if TYPE_CHECKING:
    from torch import Tensor

# How many numbers a strip may have: 256 MB.
AT_ONCE = 2**26
# Scores are added as whole numbers of this part, so that the sum is the same in whatever order a GPU adds.
UNIT = 2**16

Shares = Callable[["Tensor"], "Tensor"]


def without_background(names: Mapping[int, str], class_map: Mapping[str, str]) -> dict[int, str]:
    """A model's own names without that of what is nothing, unless the class map makes a class of it."""
    return {i: n for i, n in names.items() if class_map.get(n, n).casefold() != BACKGROUND}


def softmax(raster: Tensor) -> Tensor:
    """Logits (channel, rows, width) to each pixel's probabilities."""
    return raster.softmax(dim=0)


def class_masks(
    rasters: Iterable[Tensor],
    sizes: Sequence[tuple[int, ...]],
    labels: Mapping[int, str],
    shares: Shares,
    threshold: float,
    provenance: Provenance,
) -> list[Guesses]:
    """One mask a class of each image, best first, of the pixels where no other class is likelier.

    `rasters` are (channel, h, w) each, `sizes` the images' (height, width); `labels` says which channels
    mean a class of the project, and where several mean one, their shares add up. The other channels compete
    for the pixels too. `shares` turns scaled-up channels into probabilities. A mask's score is its pixels'
    mean probability; only those above `threshold` come back.
    """
    import torch

    names = list(dict.fromkeys(labels.values()))
    members = [[index for index, label in labels.items() if label == name] for name in names]
    maps = [_class_map(raster, size, members, shares) for raster, size in zip(rasters, sizes, strict=True)]
    pixels = torch.cat([painted.flatten() for painted, _ in maps]).cpu().numpy()
    totals = torch.stack([sums for _, sums in maps]).cpu().numpy() / UNIT
    ends = np.cumsum([height * width for height, width in sizes])[:-1]
    guesses = []
    for flat, size, total in zip(np.split(pixels, ends), sizes, totals, strict=True):
        painted = flat.reshape(size)
        areas = np.bincount(flat, minlength=len(names) + 1)
        scores = {k: float(total[k] / areas[k]) for k in range(1, len(names) + 1) if areas[k]}
        guesses.append(
            tuple(
                Annotation(names[k - 1], provenance, mask=masks.encode(painted == k), score=score)
                for k, score in sorted(scores.items(), key=lambda one: -one[1])
                if score > threshold
            )
        )
    return guesses


def best_of_each_place(guesses: Sequence[Annotation]) -> Guesses:
    """Without those that share most of their pixels with one before them, whatever their labels."""
    kept: list[Annotation] = []
    for guess in guesses:
        if not kept or iou([guess], kept).max() <= SAME_PLACE:
            kept.append(guess)
    return tuple(kept)


def _class_map(
    raster: Tensor, size: tuple[int, ...], members: list[list[int]], shares: Shares
) -> tuple[Tensor, Tensor]:
    """Each pixel's class (height, width), k for the k-th of `members`, else 0; and each class's score sum."""
    import torch

    kind = torch.zeros(len(raster), dtype=torch.int16)
    for number, some in enumerate(members, 1):
        kind[some] = number
    kind = kind.to(raster.device)
    sums = torch.zeros(len(members) + 1, dtype=torch.int64, device=raster.device)
    rows = []
    for strip in strips(raster, *size):
        likely = shares(strip)
        for first, *others in members:
            if others:
                likely[first] += likely[others].sum(dim=0)
                likely[others] = -1
        best, channel = likely.max(dim=0)
        rows.append(kind[channel])
        sums.index_add_(0, rows[-1].flatten().long(), (best * UNIT).round().long().flatten())
    return torch.cat(rows), sums


def strips(raster: Tensor, height: int, width: int) -> Iterator[Tensor]:
    """A raster (channel, h, w) scaled bilinearly to (channel, height, width), some rows at a time.

    The same as torch's interpolate with align_corners=False, which would take the whole at once.
    """
    import torch
    from torch.nn.functional import interpolate

    channels, h, _ = raster.shape
    wide = interpolate(raster[None], (h, width), mode="bilinear", align_corners=False)[0]
    at = ((torch.arange(height, device=raster.device) + 0.5) * (h / height) - 0.5).clamp(0, h - 1)
    above = at.long()
    below = (above + 1).clamp(max=h - 1)
    rows = max(1, AT_ONCE // (channels * width))
    for first in range(0, height, rows):
        some = slice(first, first + rows)
        yield wide[:, above[some]].lerp(wide[:, below[some]], (at - above)[some, None])

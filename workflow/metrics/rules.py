"""By which rules objects are counted, where a project may choose."""

from __future__ import annotations

from dataclasses import dataclass

MAX_GUESSES = 100


@dataclass(frozen=True, slots=True)
class Rules:
    """`max_guesses` is how many guesses of an image and class count, the best; COCO's number is 100.

    At each IoU of `voc_iou` Pascal VOC's average precision is told, too. `sigmas` are the tolerances of the
    keypoints, in their order, as COCO has them (k = 2 sigma); without them each of n points has 1/n.
    """

    max_guesses: int = MAX_GUESSES
    voc_iou: tuple[float, ...] = ()
    sigmas: tuple[float, ...] = ()


# COCO's.
RULES = Rules()

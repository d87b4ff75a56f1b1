"""What people see first: the images the model is least sure of, and on an image what one reads first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from workflow.labels.blind import chance
from workflow.records import Annotation
from workflow.shapes import overlap

Scores = Mapping[str, float]


def sureness(scores: Iterable[float | None]) -> float | None:
    """How sure a model is of an image, by its guesses' `scores`: of the least sure one; None of none."""
    return min((score for score in scores if score is not None), default=None)


def spread(images: list[str], known: Scores) -> Scores:
    """A score for every image: the model's where `known`, else one of those, by chance.

    Images without a guess, the blind ones above all, so come evenly between the others; at the end of the
    line, where people are tired or never get to, they would measure something else. The chance follows from
    the image's id.
    """
    ranked = sorted(known.values()) or [0.5]
    return {
        image: known[image] if image in known else ranked[int(chance(image, "order") * len(ranked))]
        for image in images
    }


def as_read(annotations: Sequence[Annotation]) -> list[Annotation]:
    """In the order in which a page is read: line by line from the top, a line from the left; points last.

    A line begins with the topmost object not yet read; others are in it whose middle is above the lower edge
    of all that are.
    What is painted keeps its order: it lies over what came before.
    """
    if any(a.geometry in ("mask", "polygons") for a in annotations):
        return list(annotations)
    boxes = {id(a): box for a in annotations if a.geometry != "keypoints" and (box := overlap.as_box(a))}
    rest = [a for a in annotations if id(a) not in boxes]
    waiting = sorted((a for a in annotations if id(a) in boxes), key=lambda a: boxes[id(a)][1])
    read: list[Annotation] = []
    while waiting:
        line, below, bottom = [], [], math.inf
        for a in waiting:
            if _middle(boxes[id(a)]) < bottom:
                line.append(a)
                bottom = min(bottom, boxes[id(a)][3])
            else:
                below.append(a)
        read += sorted(line, key=lambda a: boxes[id(a)][0])
        waiting = below
    return read + rest


def _middle(box: Sequence[float]) -> float:
    return (box[1] + box[3]) / 2

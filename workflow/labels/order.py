"""What people get to see first: the images the model is least sure of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workflow.labels.blind import chance

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

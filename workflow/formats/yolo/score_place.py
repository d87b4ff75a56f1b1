"""Where a score stands in the lines of outlines: nothing but their geometry tells.

An outline is an even number of coordinates, so an odd one has a score before or behind it. Read the wrong way
it is an outline too: its mirror image, but for the point in which the score stands. So each line is asked

- whether only one way leaves a score from 0 to 1, else
- whether only one makes an outline that does not cross itself, and else, of many points,
- whether only one makes a first (or last) point that is as near to its neighbours as others are to theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from workflow.shapes.geometry import Floats

Order = Literal["last", "second"]
# Points from which on the neighbours of one say where it must be.
MANY = 8
# How much further than the longest other step a point may be from its neighbours.
FAR = 2.0
# Of the lines that say anything so many at least, and more than that share of them, must say the same. Of
# random outlines one vote in thirty is wrong.
ENOUGH, CLEAR = 3, 0.8


def order_of(lines: Iterable[Sequence[float]]) -> tuple[Order | None, dict[Order, int]]:
    """Where the scores stand in lines of an odd count of numbers, and how many lines say so each way.

    None where too few agree.
    """
    votes: dict[Order, int] = {"last": 0, "second": 0}
    for numbers in lines:
        vote = _vote(np.asarray(numbers, dtype=float))
        if vote:
            votes[vote] += 1
    winner: Order = "last" if votes["last"] >= votes["second"] else "second"
    clear = votes[winner] >= ENOUGH and votes[winner] > CLEAR * sum(votes.values())
    return winner if clear else None, votes


def _vote(numbers: Floats) -> Order | None:
    scores: dict[Order, float] = {"last": numbers[-1], "second": numbers[0]}
    inside: dict[Order, bool] = {way: bool(0 <= score <= 1) for way, score in scores.items()}
    for test in (inside, _simple(numbers), _smooth(numbers)):
        if test.get("last") != test.get("second"):
            return "last" if test["last"] else "second"
    return None


def _outlines(numbers: Floats) -> dict[Order, Floats]:
    return {"last": numbers[:-1].reshape(-1, 2), "second": numbers[1:].reshape(-1, 2)}


def _simple(numbers: Floats) -> dict[Order, bool]:
    """Whether each outline does not cross itself; nothing where a point is there twice.

    So outlines with holes have it, which are joined to their edges by a line there and back.
    """
    import shapely

    both = _outlines(numbers)
    if any(len(np.unique(points, axis=0)) < len(points) for points in both.values()):
        return {}
    return {way: bool(shapely.LinearRing(points).is_simple) for way, points in both.items()}


def _smooth(numbers: Floats) -> dict[Order, bool]:
    """Whether the first number, or the last, is near to those two places on, as coordinates of a kind are."""
    own = numbers[::2]
    if len(own) <= MANY:
        return {}
    reach = FAR * np.abs(np.diff(own[1:-1])).max()
    ends: dict[Order, float] = {"last": own[0], "second": own[-1]}
    return {way: bool(max(abs(end - own[1]), abs(end - own[-2])) <= reach) for way, end in ends.items()}

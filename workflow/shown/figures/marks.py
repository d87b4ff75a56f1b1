"""Marks on a picture: a letter each, beside what it speaks of, and none on another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Side of a mark, in pixels of a picture that is shown at half its size or less.
SIDE = 34
GAP = 3

# xyxy, in pixels of the picture.
Box = tuple[float, float, float, float]
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A letter in a square of `SIDE`, whose top left corner is at `x`, `y` pixels of the picture."""

    letter: str
    x: float
    y: float
    of: str


def place(wanted: Sequence[tuple[str, Box, str]], size: tuple[int, int]) -> list[Mark]:
    """A mark for each letter: at a corner of its box or, where others are, at the nearest free place.

    `wanted` are letters, boxes, and whose they are; `size` is (width, height). What a full picture has no
    room for is left out.
    """
    marks: list[Mark] = []
    for letter, box, of in wanted:
        for x, y in _places(box, size):
            if all(abs(x - m.x) >= SIDE + GAP or abs(y - m.y) >= SIDE + GAP for m in marks):
                marks.append(Mark(letter, round(x, 1), round(y, 1), of))
                break
    return marks


def _places(box: Box, size: tuple[int, int]) -> Iterator[Place]:
    """Corners outside, then inside the box, then all places of a grid, the nearest first; in the picture."""
    x1, y1, x2, y2 = box
    right, bottom = max(size[0] - SIDE, 0), max(size[1] - SIDE, 0)
    outside = [(x, y) for y in (y1 - SIDE - GAP, y2 + GAP) for x in (x1, x2 - SIDE)]
    beside = [(x, y1) for x in (x1 - SIDE - GAP, x2 + GAP)]
    for x, y in (*outside, *beside):
        if 0 <= x <= right and 0 <= y <= bottom:
            yield x, y
    for x, y in ((x1 + GAP, y1 + GAP), (x2 - SIDE - GAP, y2 - SIDE - GAP)):
        yield min(max(x, 0.0), right), min(max(y, 0.0), bottom)
    step = SIDE + GAP
    grid = [
        (float(x), float(y)) for y in range(0, int(bottom) + 1, step) for x in range(0, int(right) + 1, step)
    ]
    yield from sorted(grid, key=lambda at: (at[0] - x1) ** 2 + (at[1] - y1) ** 2)

"""Parts of an image that overlap, and how much of one object two guesses are that were made in two of them.

Windows lie as the slices of `sahi` do (MIT, github.com/obss/sahi): all of one size, the last of a row and of
a column moved back to the image's edge. What sahi compares whole is compared within what both windows show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow.records import Annotation
from workflow.shapes import masks
from workflow.shapes.geometry import Floats, box_area
from workflow.shapes.move import moved
from workflow.shapes.overlap import as_area, as_box, as_mask

# An edge of a guess that lies so near to an edge of its window, in shares of the window's side, is cut by it.
AT_EDGE = 0.01


@dataclass(frozen=True, slots=True)
class Window:
    """A part of an image, in whole pixels of it; `x2` and `y2` are the first that it does not show."""

    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A guess in pixels of the whole image, with the window in which it was made.

    `cut` says that an edge of the window cuts it off, which is not the image's own: it may go on there.
    """

    guess: Annotation
    window: Window
    box: tuple[float, float, float, float]
    cut: bool


def windows(height: int, width: int, size: int, overlap: float) -> list[Window]:
    """Windows of `size` pixels a side, row by row; neighbours share `overlap` of a side or more.

    Where the image is smaller they end with it.
    """
    rows, columns = (_starts(side, size, overlap) for side in (height, width))
    return [Window(x, y, min(x + size, width), min(y + size, height)) for y in rows for x in columns]


def cores(height: int, width: int, size: int, overlap: float) -> list[Window]:
    """What each of those windows shows best: the image divided in the middle of what two of them share."""
    rows, columns = (_bounds(_starts(side, size, overlap), side, size) for side in (height, width))
    return [Window(x1, y1, x2, y2) for y1, y2 in rows for x1, x2 in columns]


def _starts(side: int, size: int, overlap: float) -> list[int]:
    step = max(1, size - int(size * overlap))
    last = max(0, side - size)
    return [*range(0, last, step), last]


def _bounds(starts: Sequence[int], side: int, size: int) -> list[tuple[int, int]]:
    middles = [(before + size + after) // 2 for before, after in zip(starts, starts[1:], strict=False)]
    ends = [0, *middles, side]
    return list(zip(ends, ends[1:], strict=False))


def seen(guess: Annotation, window: Window, height: int, width: int) -> Seen:
    """A guess in pixels of its window as one of the whole image of (height, width), moved exactly."""
    if guess.mask is None:
        whole = moved(guess, window.x1, window.y1)
    else:
        whole = replace(guess, mask=masks.placed(guess.mask, window.x1, window.y1, height, width))
    box = as_box(whole)
    if box is None:
        # Without an area nothing is cut, nor is it the same as anything.
        return Seen(whole, window, (0.0, 0.0, 0.0, 0.0), cut=False)
    near = AT_EDGE * np.array([window.x2 - window.x1, window.y2 - window.y1])
    low = (box[:2] <= np.array([window.x1, window.y1]) + near) & [window.x1 > 0, window.y1 > 0]
    high = (box[2:] >= np.array([window.x2, window.y2]) - near) & [window.x2 < width, window.y2 < height]
    return Seen(whole, window, box, cut=bool(low.any() or high.any()))


def likeness(a: Sequence[Seen], b: Sequence[Seen]) -> Floats:
    """How much every guess of one window is like every one of another: (n, m), in [0, 1].

    Only what both windows show counts, as neither has a word on the rest. That is intersection over union;
    where one of the two is cut off, the share of it that lies in the other; where both are, of the smaller.
    """
    like = np.zeros((len(a), len(b)))
    common = _common(a[0].window, b[0].window) if a and b else None
    if common is None:
        return like
    shared, first, second = _areas(a, b, common)
    one, other = (np.array([s.cut for s in side]) for side in (a, b))
    first, second = np.broadcast_arrays(first[:, None], second[None])
    whole = np.where(one[:, None], np.where(other, np.minimum(first, second), first), second)
    whole = np.where(one[:, None] | other, whole, first + second - shared)
    return np.divide(shared, whole, out=like, where=(shared > 0) & (whole > 0))


def _common(a: Window, b: Window) -> Window | None:
    x1, y1, x2, y2 = max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2)
    return Window(x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _areas(a: Sequence[Seen], b: Sequence[Seen], common: Window) -> tuple[Floats, Floats, Floats]:
    """Within a window: what each two guesses share (n, m), and what there is of those (n,) and of these (m,).

    Boxes and outlines exactly; pixels where any is a mask.
    """
    edges = np.array([common.x1, common.y1] * 2), np.array([common.x2, common.y2] * 2)
    one, other = (np.clip([s.box for s in side], *edges) for side in (a, b))
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    if all(s.guess.box is not None for s in (*a, *b)):
        return shared, box_area(one), box_area(other)
    # Only what may touch another is looked at closely.
    rows, columns = np.flatnonzero(shared.any(axis=1)), np.flatnonzero(shared.any(axis=0))
    near, others = [a[k].guess for k in rows], [b[k].guess for k in columns]
    exactly = _pixels_within if any(x.mask for x in (*near, *others)) else _outlines_within
    areas = np.zeros_like(shared), np.zeros(len(a)), np.zeros(len(b))
    if len(rows):
        areas[0][np.ix_(rows, columns)], areas[1][rows], areas[2][columns] = exactly(near, others, common)
    return areas


def _pixels_within(
    a: Sequence[Annotation], b: Sequence[Annotation], common: Window
) -> tuple[Floats, Floats, Floats]:
    size = next(x.mask for x in (*a, *b) if x.mask)
    edges = (common.x1, common.y1, common.x2, common.y2)
    one, other = ([masks.cut(as_mask(x, size.height, size.width), *edges) for x in side] for side in (a, b))
    first, second = (np.array([masks.area(mask) for mask in some], dtype=float) for some in (one, other))
    return masks.coverage(one, other) * first[:, None], first, second


def _outlines_within(
    a: Sequence[Annotation], b: Sequence[Annotation], common: Window
) -> tuple[Floats, Floats, Floats]:
    import shapely

    ground = shapely.box(common.x1, common.y1, common.x2, common.y2)
    one, other = (
        shapely.intersection(np.array([as_area(x) for x in side], dtype=object), ground) for side in (a, b)
    )
    shared = shapely.area(shapely.intersection(one[:, None], other[None]))
    return shared, shapely.area(one), shapely.area(other)

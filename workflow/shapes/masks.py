"""Masks as COCO's compressed RLE: to pixels and back, from polygons, areas, boxes, overlaps.

The runs go down the columns, as pycocotools writes them; faster-coco-eval's compiled mask functions do
the work, and refuse runs that do not add up to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workflow.records import Mask, Point
from workflow.shapes.geometry import clip_polygon

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# COCO's text: five bits a letter, the lowest first, and one that says that more follow.
FIRST, MORE = 48, 32
# Letters of one run: more pixels than 2^35 are in no image.
LONGEST = 7


def encode(pixels: ArrayLike) -> Mask:
    """Pixels (height, width), where whatever is not zero belongs to the mask."""
    from faster_coco_eval.core import mask as library

    pixels = np.asarray(pixels)
    height, width = pixels.shape
    return _mask(library.encode(np.asfortranarray(pixels != 0).view(np.uint8)), height, width)


def decode(mask: Mask) -> Bits:
    """The mask's pixels (height, width). ValueError where its runs are not those of an image of its size."""
    from faster_coco_eval.core import mask as library

    check(mask)
    return library.decode(_coco(mask)).astype(bool)


def check(mask: Mask) -> None:
    """ValueError where a mask's runs are not those of an image of its size; nothing of that size is made."""
    check_runs(_runs(mask), mask.height, mask.width)


def _runs(mask: Mask) -> Ints:
    """The lengths of a mask's runs, the first being outside. ValueError where they are no text of COCO's."""
    codes = np.frombuffer(mask.counts.encode("ascii", "replace"), dtype=np.uint8).astype(np.int64) - FIRST
    if len(codes) and (codes.min() < 0 or codes.max() >= 64 or codes[-1] & MORE):
        raise ValueError("the runs of a mask are no text of COCO's")
    starts = np.flatnonzero(np.concatenate([[True], codes[:-1] & MORE == 0])) if len(codes) else codes
    lengths = np.diff(starts, append=len(codes))
    if len(lengths) and lengths.max() > LONGEST:
        raise ValueError("the runs of a mask are longer than any image")
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 31) << 5 * place, starts) if len(codes) else codes
    # The last code's sign is that of the run, which is told as the difference to the one before the last.
    runs -= (codes[starts + lengths - 1] & 16 != 0) * (1 << 5 * lengths)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs


def check_runs(runs: Any, height: int, width: int) -> None:
    """ValueError where lengths of runs do not add up to an image of that size, be it by wrapping round."""
    most = height * width
    try:
        values = np.array(runs, dtype=np.int64)
    except OverflowError:
        values = np.array([-1])
    if not len(values) or min(height, width, values.min()) < 0 or values.max() > most:
        raise ValueError(f"a run of a mask is no part of {width} x {height} pixels")
    # Nothing wraps round 64 bits, as no run is longer than the image.
    if len(values) * most >= 1 << 63 or values.sum() != most:
        raise ValueError(f"the runs of a mask do not add up to {width} x {height} pixels")


def from_runs(runs: Sequence[int], height: int, width: int) -> Bits:
    """The pixels (height, width) of runs down the columns, the first being outside. ValueError as above."""
    check_runs(runs, height, width)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(width, height).T


def from_polygons(parts: Sequence[Sequence[Point]], height: int, width: int) -> Mask:
    """The pixels within any of the closed outlines, by COCO's rule of what lies inside."""
    from faster_coco_eval.core import mask as library

    # Cut first: the library walks along every line, however far outside the image it runs.
    flat = [cut.reshape(-1).tolist() for part in parts if len(cut := clip_polygon(part, width, height)) > 2]
    if not flat:
        return encode(np.zeros((height, width), dtype=bool))
    return _mask(library.merge(library.frPyObjects(flat, height, width)), height, width)


def placed(mask: Mask, x: int, y: int, height: int, width: int) -> Mask:
    """A part of an image of (height, width), whose first pixel is at `x`, `y`, as a mask of all of it."""
    return joined([(mask, x, y)], height, width)


def joined(parts: Sequence[tuple[Mask, int, int]], height: int, width: int) -> Mask:
    """The same of parts (mask, x, y) that have no pixel in common."""
    lines = [np.stack(_segments(mask)) + np.array([[x], [y], [y]]) for mask, x, y in parts]
    columns, tops, bottoms = np.concatenate(lines, axis=1)
    order = np.lexsort((tops, columns))
    return _from_segments(columns[order], tops[order], bottoms[order], height, width)


def cut(mask: Mask, x1: int, y1: int, x2: int, y2: int) -> Mask:
    """What of a mask lies from `x1` to `x2` and from `y1` to `y2`, as a mask of that part."""
    columns, tops, bottoms = _segments(mask)
    tops, bottoms = np.maximum(tops, y1), np.minimum(bottoms, y2)
    kept = (columns >= x1) & (columns < x2) & (tops < bottoms)
    return _from_segments(columns[kept] - x1, tops[kept] - y1, bottoms[kept] - y1, y2 - y1, x2 - x1)


def _segments(mask: Mask) -> tuple[Ints, Ints, Ints]:
    """A mask as upright lines, in order: the column of each, its first row, and the one after its last."""
    ends = np.cumsum(_runs(mask))
    starts, ends = ends[:-1:2], ends[1::2]
    starts, ends = starts[starts < ends], ends[starts < ends]
    first, last = starts // mask.height, (ends - 1) // mask.height
    several = last - first + 1
    number = np.arange(several.sum()) - np.repeat(np.cumsum(several) - several, several)
    columns = np.repeat(first, several) + number
    tops = np.maximum(np.repeat(starts, several) - columns * mask.height, 0)
    bottoms = np.minimum(np.repeat(ends, several) - columns * mask.height, mask.height)
    return columns, tops, bottoms


def _from_segments(columns: Ints, tops: Ints, bottoms: Ints, height: int, width: int) -> Mask:
    from faster_coco_eval.core import mask as library

    starts, ends = columns * height + tops, columns * height + bottoms
    # What reaches from the foot of one column to the head of the next is one run.
    apart = starts[1:] != ends[:-1]
    starts = starts[np.append(True, apart)[: len(starts)]]
    ends = ends[np.append(apart, True)[: len(ends)]]
    bounds = np.stack([starts, ends])
    runs = np.diff(bounds.T.reshape(-1), prepend=0, append=height * width)
    runs = runs[:-1] if runs[-1] == 0 else runs
    coco = library.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
    return _mask(coco, height, width)


def outlines(mask: Mask) -> tuple[list[list[Point]], int]:
    """Closed outlines of the mask's parts, along the edges of its pixels, and how many holes they fill.

    Parts that touch by a corner only are apart. Without holes, `from_polygons` gives the mask back.
    """
    import shapely

    steps = np.diff(decode(mask).astype(np.int8), axis=0, prepend=0, append=0)
    (columns, starts), (_, ends) = (np.nonzero((steps == step).T) for step in (1, -1))
    whole = shapely.union_all(shapely.box(columns, starts, columns + 1, ends))
    parts = shapely.get_parts(whole)
    holes = int(shapely.get_num_interior_rings(parts).sum())
    # Once more, as what lay in a hole is now within the part round it.
    filled = shapely.get_parts(shapely.union_all(shapely.polygons(shapely.get_exterior_ring(parts))))
    return [_corners(shapely.get_coordinates(part)[:-1]) for part in filled], holes


def _corners(ring: Floats) -> list[Point]:
    """The points at which an outline of upright and level lines turns."""
    turns = ((np.roll(ring, 1, axis=0) != ring) != (np.roll(ring, -1, axis=0) != ring)).any(axis=1)
    return [(float(x), float(y)) for x, y in ring[turns]]


def union(some: Sequence[Mask]) -> Mask:
    """All pixels of one mask or more, of one size."""
    from faster_coco_eval.core import mask as library

    first = some[0]
    return _mask(library.merge([_coco(m) for m in some]), first.height, first.width)


def area(mask: Mask) -> int:
    """How many pixels the mask has."""
    from faster_coco_eval.core import mask as library

    return int(library.area(_coco(mask)))


def box(mask: Mask) -> tuple[float, float, float, float] | None:
    """The smallest xyxy box round the mask; None where it is empty."""
    from faster_coco_eval.core import mask as library

    x, y, w, h = map(float, library.toBbox(_coco(mask)))
    return (x, y, x + w, y + h) if w and h else None


def iou(a: Sequence[Mask], b: Sequence[Mask]) -> Floats:
    """Intersection over union of every mask of `a` with every one of `b`, all of one size: (n, m)."""
    from faster_coco_eval.core import mask as library

    if not a or not b:
        return np.zeros((len(a), len(b)))
    shares = library.iou([_coco(m) for m in a], [_coco(m) for m in b], [0] * len(b))
    return np.asarray(shares, dtype=float).reshape(len(a), len(b))


def coverage(a: Sequence[Mask], b: Sequence[Mask]) -> Floats:
    """Which share of every mask of `a` lies within every one of `b`, all of one size: (n, m)."""
    from faster_coco_eval.core import mask as library

    if not a or not b:
        return np.zeros((len(a), len(b)))
    shares = library.iou([_coco(m) for m in a], [_coco(m) for m in b], [1] * len(b))
    return np.asarray(shares, dtype=float).reshape(len(a), len(b))


def _coco(mask: Mask) -> dict[str, Any]:
    return {"size": [mask.height, mask.width], "counts": mask.counts}


def _mask(coco: dict[str, Any], height: int, width: int) -> Mask:
    counts = coco["counts"]
    return Mask(height, width, counts.decode() if isinstance(counts, bytes) else counts)

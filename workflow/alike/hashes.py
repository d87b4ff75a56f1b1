"""Near-copies: images that were resized, recompressed, cropped a little, mirrored or tinted, by their hashes.

Two images are near-copies where their hashes, 64 bits across and 64 down, differ in `MOST` bits at most; or
those of one and of the other mirrored. Of 407,253 pairs of different images four are as near, two of them
copies indeed, and at 12 bits it is 36 (docs/evaluation.md says of which images). A hash says the less of its
image the fewer of the 64 neighbours across differ at all: `limits`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 8
# Of fewer neighbours that differ, of flat, dark and empty images, nothing is told, of more than `SURE` all.
LEAST, SURE = 16, 32
# How many pairs are compared at a time: as many as stay near a core.
_ROWS, _COLUMNS = 64, 2048

Bits = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Hashes:
    """The hashes of n images, and of the same mirrored, each (n,); `limits` is how far a near-copy may be.

    A negative limit: the image is so flat that its hash tells nothing.
    """

    across: Bits
    down: Bits
    mirrored_across: Bits
    mirrored_down: Bits
    limits: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.across)


def is_hashed(row: Mapping[str, Any]) -> bool:
    """Whether a line of measures.jsonl has all the hashes: one of before there were three has not."""
    return row.keys() >= {"dhash", "down", "mirrored"}


def hashes_of(rows: Iterable[Mapping[str, Any]]) -> Hashes:
    """Those of lines of measures.jsonl."""
    words = [(row["dhash"], row["down"], row["mirrored"]) for row in rows]
    across, down, mirrored = (
        np.array([int(word[n], 16) for word in words], dtype=np.uint64) for n in range(3)
    )
    differ = np.bitwise_count(across).astype(int) + np.bitwise_count(mirrored)
    limits = np.where(differ < LEAST, -1, np.minimum(MOST, (differ - LEAST) * MOST // (SURE - LEAST)))
    return Hashes(across, down, mirrored, _mirror(down), limits.astype(np.int8))


def _mirror(down: Bits) -> Bits:
    """Each of eight rows of eight bits the other way round."""
    rows = np.unpackbits(down.astype(">u8").view(np.uint8).reshape(-1, 8, 1), axis=2)
    return np.packbits(rows[:, :, ::-1], axis=2).reshape(-1, 8).copy().view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Near-copies: the numbers of two images, first the lower one, and in how many bits they differ."""

    first: Numbers
    second: Numbers
    bits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def pairs(
    hashes: Hashes, others: Hashes | None = None, advance: Callable[[int], Any] = lambda _: None
) -> Pairs:
    """All near-copies among the images, or, of images and `others`, those of one of each; ordered.

    Every pair is compared, by popcount, in blocks: the memory it takes is that of the pairs that are found.
    `advance` is told of so many images that were compared with all.
    """
    right = hashes if others is None else others
    starts = range(0, len(hashes), _ROWS)

    def compare(start: int) -> tuple[Numbers, Numbers, Numbers]:
        rows = slice(start, start + _ROWS)
        begin = start if others is None else 0
        parts = [_block(hashes, right, rows, c) for c in range(begin, len(right), _COLUMNS)]
        i, j, bits = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _nothing()
        kept = i < j if others is None else np.ones(len(i), dtype=bool)
        return i[kept], j[kept], bits[kept]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = []
        for start, part in zip(starts, pool.map(compare, starts), strict=True):
            found.append(part)
            advance(min(_ROWS, len(hashes) - start))
    i, j, bits = (np.concatenate(part) for part in zip(*found, strict=True)) if found else _nothing()
    order = np.lexsort((j, i))
    return Pairs(i[order], j[order], bits[order])


def _nothing() -> tuple[Numbers, Numbers, Numbers]:
    empty = np.zeros(0, dtype=np.int64)
    return empty, empty, empty


def _block(left: Hashes, right: Hashes, rows: slice, begin: int) -> tuple[Numbers, Numbers, Numbers]:
    """The near-copies of some images and some others: as they are, and either of them mirrored."""
    columns = slice(begin, begin + _COLUMNS)
    near: dict[tuple[int, int], int] = {}
    for one, other in (
        ((left.across, left.down), (right.across, right.down)),
        ((left.across, left.down), (right.mirrored_across, right.mirrored_down)),
        ((left.mirrored_across, left.mirrored_down), (right.across, right.down)),
    ):
        apart = np.bitwise_count(one[0][rows, None] ^ other[0][None, columns])
        # Most pairs are told apart by half of their bits.
        i, j = np.nonzero(apart <= MOST)
        i, j = i + rows.start, j + begin
        bits = np.bitwise_count(one[0][i] ^ other[0][j]).astype(np.int64)
        bits += np.bitwise_count(one[1][i] ^ other[1][j])
        kept = bits <= np.minimum(left.limits[i], right.limits[j])
        for pair in zip(i[kept].tolist(), j[kept].tolist(), bits[kept].tolist(), strict=True):
            near[pair[:2]] = min(pair[2], near.get(pair[:2], MOST))
    if not near:
        return _nothing()
    i, j = np.array(list(near), dtype=np.int64).T
    return i, j, np.array(list(near.values()), dtype=np.int64)


def clusters(count: int, first: Sequence[int] | Numbers, second: Sequence[int] | Numbers) -> Numbers:
    """For each of `count` images the lowest number among those it hangs together with, itself included."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(count, count))
    _, names = connected_components(graph, directed=False)
    lowest = np.full(count, count, dtype=np.int64)
    np.minimum.at(lowest, names, np.arange(count))
    return lowest[names]

"""Label Studio's brush masks: thi.ng's rle-pack over the image's RGBA bytes, as a list of byte values.

The stream: 32 bits, how many values; 5 bits, the bits of a value less one; four times 4 bits, the sizes
a count may have, less one. Then, until all values are there: 1 bit, whether a run follows (else single
values); 2 bits, which size the count has; the count less one; and the value, or so many values. Bytes
are equal to those of label_studio_sdk's `encode_rle`, which pads with 1 to 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workflow.errors import FormatError

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

SIZES = (3, 4, 8, 16)
LONGEST = 2 ** SIZES[-1]
HEADER = 32 + 5 + 4 * len(SIZES)
MOST_VALUES = 2**32 - 1


def mask_to_rle(pixels: ArrayLike) -> list[int]:
    """A mask (height, width) as the editor has it: white and opaque, or black and clear."""
    flat = np.asarray(pixels, dtype=bool).reshape(-1)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    return _pack(4 * np.diff(ends, prepend=-1), flat[ends].view(np.uint8) * np.uint8(255), 4 * flat.size)


def encode_rle(values: ArrayLike) -> list[int]:
    """Any bytes, one after the other."""
    flat = np.asarray(values, dtype=np.uint8).reshape(-1)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    return _pack(np.diff(ends, prepend=-1), flat[ends], flat.size)


def rle_to_alpha(rle: Sequence[int], height: int, width: int) -> Bytes:
    """How opaque each pixel is (height, width). FormatError where the stream is broken or of another size."""
    try:
        stream = np.frombuffer(bytes(list(rle)), dtype=np.uint8)
    except (TypeError, ValueError):
        raise FormatError("a brush mask is a list of byte values, and this is none") from None
    head = int.from_bytes(stream[:7].tobytes()) >> (56 - HEADER)
    if len(stream) * 8 < HEADER:
        raise FormatError(f"a brush mask of {len(stream)} bytes has no header")
    if head >> 21 != 4 * height * width:
        raise FormatError(f"a brush mask of {head >> 21} values is none of a {width}x{height} image")
    if head >> 16 & 31 != 7:
        raise FormatError(f"a brush mask has values of 8 bits, not of {(head >> 16 & 31) + 1}")
    lengths, values = _unpack(stream, tuple((head >> shift & 15) + 1 for shift in (12, 8, 4, 0)))
    ends = np.minimum(np.cumsum(lengths), 4 * height * width)
    if not len(ends) or ends[-1] < 4 * height * width:
        raise FormatError("a brush mask ends before its image does")
    # Every fourth value is an alpha, so a run up to `end` has brought end // 4 of them.
    return np.repeat(values, np.diff(ends // 4, prepend=0)).reshape(height, width)


@cache
def _codes() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """For a run of each length: the bits before its value, moved up by 8; how many with the value."""
    lengths = np.arange(LONGEST + 1)
    index = np.searchsorted([2**size for size in SIZES[:-1]], lengths)
    sizes = np.asarray(SIZES)[index]
    codes = ((4 + index) << sizes | np.maximum(lengths - 1, 0)) << 8
    codes[1] = 0
    return codes.astype(np.uint32), (sizes + 11).astype(np.uint8)


def _pack(lengths: Ints, values: Bytes, count: int) -> list[int]:
    if not 0 < count <= MOST_VALUES:
        raise FormatError(f"a brush mask of {count} values does not fit its header")
    table, table_sizes = _codes()
    codes, sizes = table[np.minimum(lengths, LONGEST)], table_sizes[np.minimum(lengths, LONGEST)]
    parts = (lengths - 1) // LONGEST + 1
    if parts.max() > 1:
        # What is left of a run too long for one code has a count of the same size, as the SDK writes it.
        long = parts > 1
        lasts = np.cumsum(parts)[long] - 1
        rest = lengths[long] - (parts[long] - 1) * LONGEST
        codes, sizes, values = (np.repeat(array, parts) for array in (codes, sizes, values))
        codes[lasts] = (7 << SIZES[-1] | rest - 1) << 8
    header = (7 << 16) + sum((size - 1) << shift for size, shift in zip(SIZES, (12, 8, 4, 0), strict=True))
    codes = np.concatenate([np.array([count, header], np.uint32), codes | values])
    return _join(codes, np.concatenate([np.array([32, 21], np.uint8), sizes]))


def _join(codes: NDArray[np.uint32], sizes: NDArray[np.uint8]) -> list[int]:
    """Codes of `sizes` bits, 32 at most, one behind the other."""
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = ends - sizes
    word = starts >> 5
    # Each code in a window of 64 bits that begins with the word of 32 it starts in. As no code is longer
    # than a word, every word has a code that starts in it.
    windows = codes.astype(np.uint64) << (64 - sizes - (starts & 31)).astype(np.uint64)
    firsts = np.flatnonzero(np.diff(word, prepend=-1))
    windows = np.bitwise_or.reduceat(windows, firsts)
    words = np.zeros(len(windows) + 1, dtype=np.uint32)
    words[:-1] = windows >> np.uint64(32)
    words[1:] |= windows.astype(np.uint32)
    return list(words.astype(">u4").tobytes()[: int(ends[-1]) // 8 + 1])


def _unpack(stream: Bytes, sizes: tuple[int, ...]) -> tuple[Ints, Bytes]:
    """The lengths and values of all runs; single values are runs of one."""
    starts = _starts(stream, sizes)
    padded = np.concatenate([stream, np.zeros(8, np.uint8)])
    windows: NDArray[np.uint64] = np.ndarray(len(stream), ">u8", padded.tobytes(), strides=(1,))
    bits = windows[starts >> 3].astype(np.uint64) << (starts & 7).astype(np.uint64)
    width = np.asarray(sizes, np.uint64)[(bits >> np.uint64(61) & np.uint64(3)).astype(np.intp)]
    runs = bits >> np.uint64(63) == 1
    lengths = (bits << np.uint64(3) >> (64 - width)).astype(np.int64) + 1
    values = (bits << (3 + width) >> np.uint64(56)).astype(np.uint8)
    if runs.all():
        return lengths, values
    # Single values: as many runs of one, each read from its own place.
    many = np.where(runs, 1, lengths)
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    places = np.repeat(starts + 3 + width.astype(np.int64), many) + 8 * within
    places = np.minimum(places, 8 * len(stream) - 1)
    read = windows[places >> 3].astype(np.uint64) << (places & 7).astype(np.uint64) >> np.uint64(56)
    return np.repeat(np.where(runs, lengths, 1), many), read.astype(np.uint8)


def _starts(stream: Bytes, sizes: tuple[int, ...]) -> Ints:
    """The bit each code starts at. Where the next one is depends on the one before, so this walks."""
    # The size of a run that would start at each bit; none for single values, which say how many they are.
    heads = np.arange(1024)[:, None] >> (7 - np.arange(8)) & 7
    table = np.array([0, 0, 0, 0, *(size + 11 for size in sizes)], np.uint8)[heads]
    after = np.append(stream[1:], np.uint8(0))
    ten = stream.astype(np.uint16) << 2 | after >> 6
    steps = table.view(np.uint64).reshape(-1)[ten].tobytes()
    content = stream.tobytes() + bytes(8)
    starts: list[int] = []
    take, place, end = starts.append, HEADER, 8 * len(stream) - 11
    while place < end:
        take(place)
        step = steps[place]
        if not step:
            bits = int.from_bytes(content[place >> 3 : (place >> 3) + 4]) << (place & 7)
            size = sizes[bits >> 29 & 3]
            step = 3 + size + 8 * ((bits >> (29 - size) & (2**size - 1)) + 1)
        place += step
    if starts and place > 8 * len(stream):
        starts.pop()
    return np.array(starts, dtype=np.int64)

"""What Pillow does not say of a JPEG: its process, its scans, and whether only its end is missing.

Format: ITU T.81, https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

START, SCAN, END = 0xD8, 0xDA, 0xD9
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The processes that browsers decode: baseline, extended, progressive, all of Huffman codes.
SHOWN = (0xC0, 0xC1, 0xC2)
END_MARKER = b"\xff\xd9"
# An end behind more data, none of which a whole scan would take.
FILLED_END = b"\x55" * 4096 + END_MARKER
# Usual encoders make 10 scans or fewer; each is a pass over the whole image.
MOST_SCANS = 100
# Within compressed data 0xFF is followed by 0, or by a restart.
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class Segment:
    marker: int
    content: bytes


def segments(content: bytes) -> Iterator[Segment]:
    """The marker segments up to the end of the (first) image; compressed data is passed over."""
    place = 2
    while (place := content.find(b"\xff", place)) != -1 and place + 1 < len(content):
        marker = content[place + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= START:
            place += 1 if marker == 0xFF else 2
            continue
        if marker == END:
            yield Segment(END, b"")
            return
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        yield Segment(marker, content[place + 4 : place + 2 + length])
        place += 2 + max(length, 2)
        if marker == SCAN:
            after = AFTER_SCAN.search(content, place)
            if after is None:
                return
            place = after.start()


def process(content: bytes) -> int:
    """The marker of the frame (SOF), which says how the image is coded; 0 where there is none."""
    return next((s.marker for s in segments(content) if s.marker in FRAMES), 0)


def has_too_many_scans(content: bytes) -> bool:
    """Whether decoding it would mean passing over the image more than `MOST_SCANS` times."""
    # Counting bytes is quick, and only what has that many may have as many scans.
    if content.count(b"\xff\xda") <= MOST_SCANS:
        return False
    return sum(s.marker == SCAN for s in segments(content)) > MOST_SCANS


def may_lack_its_end_only(content: bytes) -> bool:
    """Whether every coefficient of the image is begun in some scan, and no end marker follows.

    Whether the last scan is whole, only decoding it tells.
    """
    missing: dict[int, set[int]] = {}
    progressive = False
    for segment in segments(content):
        if segment.marker == END:
            return False
        if segment.marker in FRAMES:
            progressive = segment.marker in (0xC2, 0xC6, 0xCA, 0xCE)
            missing = {part: set(range(64)) for part in segment.content[6::3]}
        elif segment.marker == SCAN and segment.content:
            _take(missing, segment.content, progressive)
    return bool(missing) and not any(missing.values())


def _take(missing: dict[int, set[int]], scan: bytes, progressive: bool) -> None:
    """Strike out the coefficients whose last bit a scan brings."""
    count = scan[0]
    if len(scan) < 4 + 2 * count:
        return
    first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
    for part in scan[1 : 1 + 2 * count : 2]:
        if not progressive:
            missing.get(part, set()).clear()
        elif bits & 15 == 0:
            missing.get(part, set()).difference_update(range(first, last + 1))

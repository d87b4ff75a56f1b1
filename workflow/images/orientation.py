"""Which way up an image is: as browsers have it, since that is what people see when they label.

Chromium reads an orientation from the first EXIF segment of a JPEG, from the first eXIf chunk before a PNG's
pixels, and from an AVIF's own transformations; the tag must be one SHORT. It minds no XMP, no EXIF in a WebP
and no header within a header, where Pillow does (tests/images/test_browser.py asks a real one). What no
browser shows, as TIFF, is turned as its own format says, and shown as a copy.
Formats: https://www.cipa.jp/std/documents/download_e.html?DC-008-Translation-2023-E (EXIF),
https://www.w3.org/TR/png-3/#eXIf.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import IO

from PIL import Image

from workflow.errors import WorkflowError
from workflow.images.file import File

TAG = 0x0112
SHORT = 3
EXIF, HEADER = b"Exif\0", 6
PNG = b"\x89PNG\r\n\x1a\n"
# Orientations that turn an image by a quarter, so that its stored width is its upright height.
QUARTER = (5, 6, 7, 8)
# Orientation -> what Pillow is to do for the image to be upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def header(path: File) -> tuple[int, int, int] | None:
    """Upright width and height in pixels and the orientation, from an image's header; None for no image."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            return upright(image, file)
    except WorkflowError:
        # Where a place does not answer, nothing is known of its images.
        raise
    except Exception:
        # Pillow raises OSError, SyntaxError, ValueError and more; the catalog says what is wrong.
        return None


def upright(image: Image.Image, file: IO[bytes]) -> tuple[int, int, int]:
    """Upright width and height, and the orientation, of an image that Pillow has opened from `file`."""
    turn = orientation(image, file)
    # Pillow turns TIFFs itself and gives their size upright already.
    if turn in QUARTER and image.format != "TIFF":
        return image.height, image.width, turn
    return image.width, image.height, turn


def orientation(image: Image.Image, file: IO[bytes]) -> int:
    """1 to 8, as EXIF numbers them; 1 is upright. `image` must not be loaded yet."""
    match image.format:
        case "JPEG" | "MPO":
            parts = (part for name, part in getattr(image, "applist", ()) if name == "APP1")
            return _of_exif(next((p[HEADER:] for p in parts if p.startswith(EXIF)), b""))
        case "PNG":
            return _of_exif(next((content for name, content in _chunks(file) if name == b"eXIf"), b""))
        case "AVIF":
            # Pillow writes here what the file's own transformations are.
            return _of_exif(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
        case "TIFF":
            turn = image.tag_v2.get(TAG, 1)  # type: ignore[attr-defined]
            return turn if turn in TURNS else 1
        case _:
            return 1


def asked_otherwise(image: Image.Image, turn: int) -> int | None:
    """The orientation that Pillow, and others with it, take from the metadata where browsers take another."""
    if image.format == "TIFF":
        return None
    other = image.getexif().get(TAG, 1)
    other = other if other in TURNS else 1
    return None if other == turn else other


def significant_bits(image: Image.Image, file: IO[bytes]) -> int | None:
    """How many bits of a PNG's gray values count, where its sBIT chunk says so."""
    if image.format != "PNG":
        return None
    return next((content[0] for name, content in _chunks(file) if name == b"sBIT" and content), None)


def _of_exif(exif: bytes) -> int:
    """The orientation in a TIFF header with its first directory; 1 where it states none that counts."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return 1
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for place in range(start + 2, min(start + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHIH", exif, place)
        if tag == TAG and kind == SHORT and number == 1:
            return value if value in TURNS else 1
    return 1


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of a PNG's chunks before its pixels. The file is left where it was."""
    place = file.tell()
    try:
        file.seek(0)
        if file.read(8) != PNG:
            return
        while len(head := file.read(8)) == 8 and (name := head[4:]) != b"IDAT":
            (length,) = struct.unpack(">I", head[:4])
            # Others may be of any size.
            if name in (b"eXIf", b"sBIT"):
                yield name, file.read(min(length, 2**20))
                file.seek(max(0, length - 2**20), io.SEEK_CUR)
            else:
                file.seek(length, io.SEEK_CUR)
            file.seek(4, io.SEEK_CUR)
    finally:
        file.seek(place)

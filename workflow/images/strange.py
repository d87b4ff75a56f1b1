"""What a file is that Pillow cannot read, in words that help: bands and depth, or the format's name."""

from __future__ import annotations

import io
from typing import IO

from PIL.TiffImagePlugin import PREFIXES, ImageFileDirectory_v2

from workflow.errors import ImageError

WIDTH, BITS, BANDS, FORMAT = 256, 258, 277, 339
FORMATS = {1: "unsigned", 2: "signed", 3: "floating", 5: "complex", 6: "complex"}
# How the box "ftyp" of HEIF goes on where the pixels are HEVC's.
HEIC = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def error(file: IO[bytes], name: str) -> ImageError:
    """The ImageError for a file that is no image, or one that is not read here."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(132)
    if not size:
        return ImageError(f"{name}: empty file", "empty-file")
    if head[:4] in PREFIXES and (bands := _tiff(file)):
        what = f"{name}: a TIFF of {bands}, which is not read"
        return ImageError(what, "bands", "make it gray, or RGB of 8 bits")
    if head[4:8] == b"ftyp" and head[8:12] in HEIC:
        return ImageError(f"{name}: HEIC, which is not read", "heic", "convert it to JPEG or PNG")
    if head[128:] == b"DICM":
        return ImageError(f"{name}: DICOM, which is not read", "dicom", "convert it to PNG of 16 bits")
    return ImageError(f"{name}: not an image", "not-an-image")


def _tiff(file: IO[bytes]) -> str:
    """Bands and depth of a TIFF: "5 bands of 16 bits, unsigned"; empty where its tags cannot be read."""
    try:
        file.seek(0)
        head = file.read(8)
        directory = ImageFileDirectory_v2(
            head + file.read(8) if head[2:4] in (b"\x2b\0", b"\0\x2b") else head
        )
        file.seek(directory.next)
        directory.load(file)
        if WIDTH not in directory:
            return ""
        bands = directory.get(BANDS, 1)
        bits = sorted(set(directory.get(BITS, (1,))))
        kinds = {FORMATS.get(kind, "strange") for kind in directory.get(FORMAT, (1,))}
    except Exception:
        # Pillow raises SyntaxError, struct.error, TypeError and more on broken directories.
        return ""
    depth = " and ".join(map(str, bits))
    return f"{bands} band{'s' if bands != 1 else ''} of {depth} bits, {' and '.join(sorted(kinds))}"

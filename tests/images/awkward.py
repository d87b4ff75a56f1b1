"""Files whose metadata say which way up they are, in ways that programs read differently."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

# Four corners, each of a colour that no loss of a JPEG turns into another.
CORNERS = np.zeros((40, 60, 3), np.uint8)
CORNERS[:20, :30] = (200, 30, 30)
CORNERS[:20, 30:] = (30, 200, 30)
CORNERS[20:, :30] = (30, 30, 200)
CORNERS[20:, 30:] = (200, 200, 30)
PICTURE = Image.fromarray(CORNERS)
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"


def tiff(orientation: int, kind: int = 3, count: int = 1, order: str = "<") -> bytes:
    """A TIFF header with one directory that holds the orientation."""
    value = {1: "BBBB", 3: "HH", 4: "I"}[kind]
    number = struct.pack(f"{order}{value}", *([orientation] * count + [0] * (len(value) - count)))
    start = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHI", 0x0112, kind, count) + number
    return start + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)


def xmp(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        f'tiff:Orientation="{orientation}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def saved(kind: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg(*segments: bytes) -> bytes:
    """A JPEG with APP1 segments of that content."""
    plain = saved("JPEG", quality=95, subsampling=0)
    parts = [b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments]
    return plain[:2] + b"".join(parts) + plain[2:]


def png(*before: tuple[bytes, bytes], after: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A PNG with chunks before its pixels, and after them."""
    plain = saved("PNG")
    end = plain.index(b"IEND") - 4
    return plain[:33] + chunks(before) + plain[33:end] + chunks(after) + plain[end:]


def chunks(chunks: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


EXIF = b"Exif\0\0"
RAW_PROFILE = b"\nexif\n%8d\n" % len(EXIF + tiff(6)) + (EXIF + tiff(6)).hex().encode() + b"\n"
# Name -> the file's content, and the orientation in which Chromium shows it.
CASES: dict[str, tuple[bytes, int]] = {
    **{f"exif{turn}.jpg": (jpeg(EXIF + tiff(turn)), turn if turn < 9 else 1) for turn in range(1, 10)},
    "exif-big-endian.jpg": (jpeg(EXIF + tiff(6, order=">")), 6),
    "exif-byte.jpg": (jpeg(EXIF + tiff(6, kind=1)), 1),
    "exif-long.jpg": (jpeg(EXIF + tiff(6, kind=4)), 1),
    "exif-count2.jpg": (jpeg(EXIF + tiff(6, count=2)), 1),
    "exif-count2-big-endian.jpg": (jpeg(EXIF + tiff(3, count=2, order=">")), 1),
    "exif-without-its-end.jpg": (jpeg(EXIF + tiff(6)[:-4]), 6),
    "exif-in-exif.jpg": (jpeg(EXIF + EXIF + tiff(6)), 1),
    "exif-padded-otherwise.jpg": (jpeg(b"Exif\0\xff" + tiff(6)), 6),
    "exif-without-its-name.jpg": (jpeg(tiff(6)), 1),
    "exif-twice-1-6.jpg": (jpeg(EXIF + tiff(1), EXIF + tiff(6)), 1),
    "exif-twice-6-1.jpg": (jpeg(EXIF + tiff(6), EXIF + tiff(1)), 6),
    "xmp3.jpg": (jpeg(XMP_HEAD + xmp(3)), 1),
    "xmp6.jpg": (jpeg(XMP_HEAD + xmp(6)), 1),
    "exif1-xmp6.jpg": (jpeg(EXIF + tiff(1), XMP_HEAD + xmp(6)), 1),
    "exif6-xmp1.jpg": (jpeg(EXIF + tiff(6), XMP_HEAD + xmp(1)), 6),
    "exif6.png": (png((b"eXIf", tiff(6))), 6),
    "exif3.png": (png((b"eXIf", tiff(3))), 3),
    "exif-count2.png": (png((b"eXIf", tiff(6, count=2))), 1),
    "exif-in-exif.png": (png((b"eXIf", EXIF + tiff(6))), 1),
    "exif-twice-1-6.png": (png((b"eXIf", tiff(1)), (b"eXIf", tiff(6))), 1),
    "exif-twice-6-1.png": (png((b"eXIf", tiff(6)), (b"eXIf", tiff(1))), 6),
    "exif-after-pixels.png": (png(after=((b"eXIf", tiff(6)),)), 1),
    "xmp6.png": (png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6))), 1),
    "raw-profile.png": (png((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW_PROFILE))), 1),
    "exif3.webp": (saved("WEBP", lossless=True, exif=EXIF + tiff(3)), 1),
    "exif6.webp": (saved("WEBP", lossless=True, exif=tiff(6)), 1),
    "xmp6.webp": (saved("WEBP", lossless=True, xmp=xmp(6)), 1),
    "exif3.avif": (saved("AVIF", quality=95, exif=EXIF + tiff(3)), 3),
    "exif6.avif": (saved("AVIF", quality=95, exif=EXIF + tiff(6)), 6),
    "plain.gif": (saved("GIF", PICTURE.quantize(16)), 1),
    "plain.bmp": (saved("BMP"), 1),
    "two.mpo": (saved("MPO", save_all=True, append_images=[PICTURE], exif=EXIF + tiff(6)), 6),
}
# What a browser cannot show, or shows otherwise.
COPIED: dict[str, bytes] = {
    "upright.tif": saved("TIFF"),
    "turned.tif": saved("TIFF", tiffinfo={274: 6}),
    "cmyk.tif": saved("TIFF", PICTURE.convert("CMYK")),
    "plain.jp2": saved("JPEG2000"),
    "cmyk.jpg": saved("JPEG", PICTURE.convert("CMYK"), quality=95),
    "moving.gif": saved("GIF", PICTURE.quantize(16), save_all=True, append_images=[PICTURE.rotate(180)]),
    "moving.webp": saved("WEBP", lossless=True, save_all=True, append_images=[PICTURE.rotate(180)]),
    "moving.png": saved("PNG", save_all=True, append_images=[PICTURE.rotate(180)]),
    "other-first.png": saved("PNG", save_all=True, default_image=True, append_images=[PICTURE.rotate(180)]),
    "deep.png": saved("PNG", Image.fromarray(np.linspace(0, 4000, 2400).reshape(40, 60).astype(np.uint16))),
    "deep.tif": saved("TIFF", Image.fromarray(np.linspace(0, 3000, 2400).reshape(40, 60).astype(np.uint16))),
    "without-end.jpg": saved("JPEG", quality=95)[:-2],
}


def upright(orientation: int) -> np.ndarray:
    """The picture as it looks in that orientation (TIFF 6.0, tag 274)."""
    lying = CORNERS.transpose(1, 0, 2)
    return {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: lying,
        6: lying[:, ::-1],
        7: lying[::-1, ::-1],
        8: lying[::-1],
    }[orientation]

"""Gray of more than 8 bits: one decision for a source, by a person, by the file, or by all values."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images.awkward import chunks, saved
from workflow.images import copies, decode, depth
from workflow.images.depth import Gray


@pytest.mark.parametrize(
    ("grays", "levels", "words"),
    [
        ([Gray(0, 200)], (0, 255), "8 bits (0 to 255)"),
        ([Gray(0, 1000), Gray(5, 700)], (0, 1023), "10 bits (0 to 1023)"),
        ([Gray(0, 4095)], (0, 4095), "12 bits (0 to 4095)"),
        ([Gray(0, 4095), Gray(0, 4096)], (0, 16383), "14 bits (0 to 16383)"),
        ([Gray(0, 65535)], (0, 65535), "16 bits (0 to 65535)"),
        ([Gray(0, 100_000)], (0, 2**17 - 1), "17 bits (0 to 131071)"),
        ([Gray(0, 2**32 - 1)], (0, 2**32 - 1), "32 bits (0 to 4294967295)"),
        ([Gray(-1024, 3000)], (-8192, 8191), "14 bits (-8192 to 8191)"),
        ([Gray(-(2**31), 5)], (-(2**31), 2**31 - 1), "32 bits (-2147483648 to 2147483647)"),
        ([Gray(0, 0)], (0, 255), "8 bits (0 to 255)"),
        ([Gray(0, 0.5, True)], (0, 1), "0 to 1"),
        ([Gray(0, 0.5, True), Gray(0, 200, True)], (0, 255), "8 bits (0 to 255)"),
        ([Gray(-0.5, 0.2, True)], (-1, 1), "-1 to 1"),
        ([Gray(0, 1e6, True)], (0, 1e6), "0 to 1000000"),
    ],
)
def test_one_decision_holds_all(grays: list[Gray], levels: depth.Levels, words: str) -> None:
    assert depth.common(grays) == levels
    assert depth.describe(levels) == words


def test_a_person_says_first_then_the_file_then_all_values() -> None:
    grays = {"a": Gray(0, 4095), "b": Gray(0, 4096), "c": Gray(0, 50), "f": Gray(0, 0.5, True)}
    stated = {"c": (0.0, 1023.0)}
    everyone = {"a": (0, 16383), "b": (0, 16383), "c": (0, 1023), "f": (0, 1)}
    assert copies.levels_of(grays, stated, None) == everyone
    assert copies.levels_of(grays, stated, 12) == dict.fromkeys("abc", (0, 4095)) | {"f": (0, 1)}


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.array([[0, 2**20 - 1]], np.int32), 255),
        (np.array([[0, 100_000]], np.int32), round(100_000 / (2**17 - 1) * 255)),
        (np.array([[-(2**15), 2**15 - 1]], np.int32), 255),
        (np.array([[0, 2**15 - 1]], np.int16), round((2**15 - 1) / (2**16 - 1) * 255)),
        (np.array([[-(2**15), 2**15 - 1]], np.int16), 255),
        (np.array([[0, 2**32 - 1]], np.uint32), 255),
        (np.array([[0.0, 1.0]], np.float32), 255),
        (np.array([[np.nan, 1.0]], np.float32), 255),
    ],
    ids=[
        "20 bits",
        "17 bits",
        "signed 32",
        "positive 16",
        "signed 16",
        "unsigned 32",
        "fractions",
        "no number",
    ],
)
def test_no_depth_comes_out_black(tmp_path: Path, values: np.ndarray, white: int) -> None:
    (tmp_path / "a.tif").write_bytes(_tiff(values))
    pixels = decode.from_file(tmp_path / "a.tif")
    assert pixels[0, :, 0].tolist() == [0, white]
    assert (pixels == pixels[:, :, :1]).all()


def test_levels_make_twins_equally_bright(tmp_path: Path) -> None:
    """Two scans, alike but for one pixel that needs a 13th bit."""
    for name, brightest in (("a.png", 4095), ("b.png", 4096)):
        values = np.full((8, 8), 2000, np.uint16)
        values[0, 0] = brightest
        Image.fromarray(values).save(tmp_path / name)
    looks = {name: decode.look(tmp_path / name).gray for name in ("a.png", "b.png")}
    assert looks == {"a.png": Gray(2000, 4095), "b.png": Gray(2000, 4096)}
    levels = copies.levels_of(looks, {}, None)
    pixels = [decode.from_file(tmp_path / name, levels=levels[name]) for name in looks]
    assert (pixels[0][1:] == pixels[1][1:]).all()
    assert pixels[0][1, 1, 0] == round(2000 / 16383 * 255)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 1023, 5], (0, 4095)),
        ([0, 1023 << 4, 5 << 4], (0, 65535)),
        ([0, 1023 << 4 | 1023 >> 8, 5 << 4], (0, 65535)),
        ([0, 60001, 5], None),
    ],
    ids=["at the bottom", "at the top", "at the top, filled", "more than it says"],
)
def test_a_png_says_how_many_bits_are_significant(
    tmp_path: Path, values: list[int], levels: tuple | None
) -> None:
    """PNG has them at the top of 16; writers that do not mind it leave them at the bottom."""
    content = saved("PNG", Image.fromarray(np.array([values], np.uint16)))
    (tmp_path / "a.png").write_bytes(content[:33] + chunks(((b"sBIT", b"\x0c"),)) + content[33:])
    assert decode.look(tmp_path / "a.png").levels == levels
    white = levels[1] if levels else 65535
    assert decode.from_file(tmp_path / "a.png")[0, :, 0].tolist() == [
        min(255, round(value / white * 255)) for value in values
    ]


def test_a_tiff_that_states_fewer_bits_is_believed(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(_twelve_bits([100, 1023]))
    assert decode.look(tmp_path / "a.tif").levels == (0, 4095)
    assert decode.from_file(tmp_path / "a.tif")[0, :, 0].tolist() == [
        round(100 / 4095 * 255),
        round(1023 / 4095 * 255),
    ]


def test_what_is_above_white_is_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 4095, 60000]], np.uint16)).save(tmp_path / "a.png")
    assert decode.from_file(tmp_path / "a.png", levels=(0, 4095))[0, :, 0].tolist() == [0, 255, 255]


def _tiff(values: np.ndarray, bits: int | None = None, content: bytes = b"") -> bytes:
    """One row of gray values as a TIFF of their type."""
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    content = content or values.astype(values.dtype.newbyteorder("<")).tobytes()
    tags = [(256, values.shape[1]), (257, 1), (258, bits or 8 * values.itemsize), (259, 1), (262, 1)]
    tags += [(273, 8), (277, 1), (278, 1), (279, len(content)), (339, kind)]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, v) for tag, v in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory


def _twelve_bits(values: list[int]) -> bytes:
    """Two values of 12 bits, packed into three bytes."""
    a, b = values
    packed = bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    return _tiff(np.array([values], np.uint16), 12, packed)

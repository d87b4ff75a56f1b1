from __future__ import annotations

import csv
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SHARED
from tests.images.awkward import saved
from workflow.errors import ImageError
from workflow.images import decode

# A 3 x 2 picture of distinct pixels, and where each EXIF orientation puts it upright (TIFF 6.0, tag 274).
PIXELS = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10
UPRIGHT = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.transpose(1, 0, 2),
    6: PIXELS.transpose(1, 0, 2)[:, ::-1],
    7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
    8: PIXELS.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_every_exif_orientation_comes_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    assert (decode.from_file(tmp_path / "a.png") == UPRIGHT[orientation]).all()


@pytest.mark.parametrize(
    ("picture", "pixel"),
    [
        (Image.new("L", (2, 2), 100), (100, 100, 100)),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.fromarray(np.full((2, 2), 65535, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((2, 2), 4095, np.uint16)), (255, 255, 255)),
        (Image.fromarray(np.full((2, 2), 200, np.uint16)), (200, 200, 200)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("P", (2, 2), 0), (0, 0, 0)),
    ],
    ids=["gray", "transparent", "opaque", "16-bit", "12-bit", "8 of 16 bits", "bilevel", "palette"],
)
def test_every_mode_becomes_rgb(tmp_path: Path, picture: Image.Image, pixel: tuple) -> None:
    picture.save(tmp_path / "a.png")
    found = decode.from_file(tmp_path / "a.png")
    assert found.shape == (2, 2, 3)
    assert found.dtype == np.uint8
    assert tuple(found[0, 0]) == pixel


def tiff_of(bands: int, bits: int) -> bytes:
    """A TIFF of one pixel, interleaved, as remote sensing has them."""
    tags = [(256, 3, 1), (257, 3, 1), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 8)]
    tags += [(277, 3, bands), (278, 3, 1), (279, 4, bands * bits // 8)]
    pixel = bytes(bands * bits // 8).ljust(bands * 2, b"\0")
    depths = struct.pack(f"<{bands}H", *[bits] * bands)
    start = 8 + len(pixel) + len(depths)
    entries = b""
    for tag, kind, value in tags:
        if tag == 258 and bands > 2:
            entries += struct.pack("<HHII", tag, kind, bands, 8 + len(pixel))
        elif tag == 258:
            entries += struct.pack("<HHI", tag, kind, bands) + depths.ljust(4, b"\0")
        else:
            entries += struct.pack("<HHII", tag, kind, 1, value)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", start) + pixel + depths + directory


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty-file"), (b"hello", "not-an-image"), (_jpeg()[:2000], "truncated")],
    ids=["empty", "text", "truncated"],
)
def test_what_is_no_good_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        decode.from_file(path)
    assert error.value.reason == reason
    assert str(path) in error.value.problem


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=["", "scans", "444"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_good(tmp_path: Path, options: dict) -> None:
    content = saved("JPEG", quality=95, **options)
    assert content[-2:] == b"\xff\xd9"
    (tmp_path / "whole.jpg").write_bytes(content)
    (tmp_path / "a.jpg").write_bytes(content[:-2])
    assert (decode.from_file(tmp_path / "a.jpg") == decode.from_file(tmp_path / "whole.jpg")).all()
    look = decode.look(tmp_path / "a.jpg")
    assert (look.width, look.height) == (60, 40)
    assert look.copy == "it lacks its end marker, without which many readers refuse it"


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["", "scans"])
@pytest.mark.parametrize("cut", [3, 8, 40, 400])
def test_a_jpeg_that_lacks_more_is_truncated(tmp_path: Path, options: dict, cut: int) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", **options)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[: -cut - 2])
    with pytest.raises(ImageError) as error:
        decode.from_file(tmp_path / "a.jpg")
    assert error.value.reason == "truncated"


def test_a_jpeg_without_its_last_scans_is_truncated(tmp_path: Path) -> None:
    """What is there decodes without a fault, but is blurred."""
    content = saved("JPEG", quality=95, progressive=True)
    last = content.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(content[:last])
    with pytest.raises(ImageError, match="truncated"):
        decode.look(tmp_path / "a.jpg")


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path: Path) -> None:
    content = saved("JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(content[:last] + 600 * content[last:-2] + content[-2:])
    with pytest.raises(ImageError) as error:
        decode.from_file(tmp_path / "a.jpg")
    assert str(error.value) == (
        f"{tmp_path / 'a.jpg'}: a progressive JPEG of more than 100 scans -> save it anew"
    )
    (tmp_path / "a.jpg").write_bytes(content[:last] + 60 * content[last:-2] + content[-2:])
    assert decode.look(tmp_path / "a.jpg").width == 60


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("five.tif", tiff_of(5, 8), "a TIFF of 5 bands of 8 bits, unsigned, which is not read"),
        ("two.tif", tiff_of(2, 16), "a TIFF of 2 bands of 16 bits, unsigned, which is not read"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is not read"),
        ("a.jpg", b"\0" * 128 + b"DICM", "DICOM, which is not read"),
        ("a.tif", b"II*\0\xff\xff\xff\xff", "not an image"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as error:
        decode.from_file(tmp_path / name)
    assert error.value.problem == f"{tmp_path / name}: {problem}"


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (2000, 1000)).save(tmp_path / "a.png")
    with pytest.raises(ImageError) as error:
        decode.from_file(tmp_path / "a.png", max_megapixels=1.5)
    assert str(error.value) == (
        f"{tmp_path / 'a.png'}: 2 megapixels, more than 1.5 -> raise images.max_megapixels if that is meant"
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_awkward_files_of_other_projects_load_as_pillow_says() -> None:
    """../shared/data/nasty-images: what Pillow loads we load, at the upright size; what not, we refuse."""
    manifest = SHARED / "nasty-images" / "manifest.csv"
    if not manifest.exists():
        pytest.skip(f"{manifest} is not on this machine")
    with manifest.open() as file:
        rows = list(csv.DictReader(file))
    loaded = 0
    for row in rows:
        path = manifest.parent / row["path"]
        if not path.exists():
            continue
        if not row["transpose_rgb"].startswith("ok"):
            with pytest.raises(ImageError):
                decode.from_file(path)
            continue
        width, height = map(int, row["transpose_rgb"].removeprefix("ok ").split("x"))
        try:
            assert decode.from_file(path).shape == (height, width, 3), path
            loaded += 1
        except ImageError as error:
            assert error.reason == "too-large", path
    assert loaded > 30


SCENE = np.kron(np.random.default_rng(0).integers(0, 255, (9, 13, 3)), np.ones((16, 16, 1))).astype(np.uint8)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(("width", "height"), [(208, 144), (203, 139), (208, 139)])
def test_a_reduced_image_lies_where_the_whole_does(
    width: int, height: int, turn: int, subsampling: int, progressive: bool, tmp_path: Path
) -> None:
    """Each of its pixels is the mean of those it stands for, in all orientations, whatever the sides."""
    exif = Image.Exif()
    exif[0x0112] = turn
    options: dict[str, Any] = {"quality": 95, "subsampling": subsampling, "progressive": progressive}
    Image.fromarray(SCENE[:height, :width]).save(tmp_path / "a.jpg", exif=exif, **options)
    whole = decode.from_file(tmp_path / "a.jpg").astype(float)
    for wanted in (4, 2):
        view = decode.view(tmp_path / "a.jpg", lambda h, w, s=wanted: (h // s, w // s))
        assert (view.height, view.width) == whole.shape[:2]
        scale = view.scale
        # What a turned image's edge would come to lie before its first pixel is not reduced so far.
        divides = not (width % wanted or height % wanted)
        assert scale == wanted if turn in (1, 5) or divides else scale < wanted
        assert view.pixels.shape[:2] == (-(-view.height // scale), -(-view.width // scale))
        h, w = view.height // scale, view.width // scale
        blocks = whole[: h * scale, : w * scale].reshape(h, scale, w, scale, 3).mean(axis=(1, 3))
        off, shifted = (np.abs(view.pixels[: h - 1, :w] - blocks[n : h - 1 + n]).mean() for n in (0, 1))
        assert off < (1 if scale == 1 else 6)
        assert off < shifted / 2


@pytest.mark.parametrize("enough", [None, (1000, 1000), (144, 208), (80, 100)])
def test_what_is_not_enough_is_not_reduced(enough: tuple[int, int] | None, tmp_path: Path) -> None:
    Image.fromarray(SCENE).save(tmp_path / "a.jpg")
    view = decode.view(tmp_path / "a.jpg", lambda h, w: enough)
    assert view.scale == 1
    assert np.array_equal(view.pixels, decode.from_file(tmp_path / "a.jpg"))


def test_a_reduced_image_that_is_cut_short_is_broken_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(SCENE).save(path)
    content = path.read_bytes()
    # Without its end marker only, it is good.
    path.write_bytes(content[:-2])
    assert decode.view(path, lambda h, w: (1, 1)).pixels.shape == (18, 26, 3)
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ImageError) as error:
        decode.view(path, lambda h, w: (1, 1))
    assert error.value.reason == "truncated"

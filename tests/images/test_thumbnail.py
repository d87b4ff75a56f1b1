"""What is measured on a thumbnail, and that the reduced decode behind it overlooks no fault of a file."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.images.awkward import CASES
from workflow.errors import ImageError
from workflow.images import decode, thumbnail

END = b"\xff\xd9"


def _photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))
    pixels = np.asarray(coarse) + rng.normal(0, 9, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def _verdict(read: object, path: Path) -> str:
    try:
        read(path)  # type: ignore[operator]
    except ImageError as error:
        return error.reason
    return "good"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 2}],
    ids=["baseline", "progressive", "restarts", "4:2:0"],
)
def test_the_reduced_decode_comes_to_the_verdict_of_the_full_one(
    mode: str, options: dict, tmp_path: Path
) -> None:
    content = _jpeg(_photo(331, 259).convert(mode), **options)
    path, verdicts = tmp_path / "a.jpg", {}
    cuts = {*range(len(content) - 12, len(content) + 1), *range(2, len(content), len(content) // 25)}
    for cut in cuts:
        for end in (b"", END):
            path.write_bytes(content[:cut] + end)
            verdicts[cut, end] = _verdict(decode.look, path)
            assert verdicts[cut, end] == _verdict(decode.from_file, path), (cut, end)
    whole = len(content)
    assert verdicts[whole, b""] == verdicts[whole - 2, b""] == "good"
    scan = content.rindex(b"\xff\xda")
    assert all(verdicts[cut, b""] != "good" for cut in cuts if cut < (scan + whole) // 2)


@pytest.mark.parametrize("name", CASES)
def test_the_thumbnail_is_upright_as_the_pixels_are(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(CASES[name][0])
    pixels = decode.from_file(path)
    look = decode.look(path)
    assert look.sha256 == sha256(path.read_bytes()).hexdigest()
    expected = thumbnail.measure(thumbnail.reduced(Image.fromarray(pixels)))
    assert look.thumbnail.dhash == expected.dhash
    assert look.thumbnail.brightness == pytest.approx(expected.brightness, abs=0.5)


def test_the_measures_of_known_pixels() -> None:
    ramp = np.tile(np.arange(0, 180, 20, dtype=np.uint8), (8, 1))
    assert thumbnail.measure(Image.fromarray(ramp)) == thumbnail.Thumbnail(
        "f" * 16, *("0" * 16,) * 2, 80.0, 0.0
    )
    back = thumbnail.measure(Image.fromarray(ramp[:, ::-1].copy()))
    assert (back.dhash, back.mirrored, back.down) == ("0" * 16, "f" * 16, "0" * 16)
    assert thumbnail.measure(Image.fromarray(ramp.T.copy())).down == "f" * 16
    dot = np.zeros((5, 5), np.uint8)
    dot[2, 2] = 9
    edges = np.zeros((3, 3))
    edges[1, 1], edges[0, 1], edges[1, 0], edges[2, 1], edges[1, 2] = -36, 9, 9, 9, 9
    assert thumbnail.measure(Image.fromarray(dot)).blur == round(float(edges.var()), 2)
    assert thumbnail.measure(Image.new("L", (2, 9), 7)) == thumbnail.Thumbnail(*("0" * 16,) * 3, 7.0, 0.0)


@pytest.mark.parametrize(
    ("size", "small"),
    [((1280, 960), (128, 96)), ((30, 20), (30, 20)), ((9000, 10), (128, 1)), ((1, 500), (1, 128))],
)
def test_a_thumbnail_is_128_pixels_long_at_most(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert thumbnail.size(*size) == small
    assert thumbnail.reduced(Image.new("RGB", size)).size == small


def test_a_photo_saved_anew_looks_alike_and_a_blurred_one_is_told(tmp_path: Path) -> None:
    sharp = _photo(1280, 960)
    looks = {}
    for name, image in {
        "a.jpg": sharp,
        "b.png": sharp,
        "c.jpg": sharp.resize((640, 480)),
        "d.jpg": sharp.filter(ImageFilter.GaussianBlur(20)),
        "e.jpg": _photo(1281, 960),
    }.items():
        image.save(tmp_path / name)
        looks[name] = decode.look(tmp_path / name).thumbnail
    apart = {
        n: (int(look.dhash, 16) ^ int(looks["a.jpg"].dhash, 16)).bit_count() for n, look in looks.items()
    }
    assert max(apart["b.png"], apart["c.jpg"]) <= 3
    assert apart["e.jpg"] > 15
    assert looks["d.jpg"].blur < looks["a.jpg"].blur / 2


def test_a_file_too_large_to_be_held_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_jpeg(_photo(331, 259)))
    held = decode.look(path)
    monkeypatch.setattr(decode, "HELD", 100)
    assert decode.look(path) == held

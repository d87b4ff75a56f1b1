"""Orientation is what people see: the browser's, in the decoder and in the header alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images.awkward import CASES, saved, upright
from workflow.images import decode
from workflow.images.orientation import header

# Pillow warns of odd metadata.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", CASES)
def test_the_pixels_the_size_and_the_header_agree(tmp_path: Path, name: str) -> None:
    content, orientation = CASES[name]
    (tmp_path / name).write_bytes(content)
    expected = upright(orientation)
    height, width = expected.shape[:2]
    pixels = decode.from_file(tmp_path / name)
    assert pixels.shape == expected.shape
    # Lossy, and blurred where the corners meet.
    assert np.median(np.abs(pixels.astype(int) - expected)) <= 4
    assert header(tmp_path / name) == (width, height, orientation)
    look = decode.look(tmp_path / name)
    assert (look.width, look.height, look.orientation) == (width, height, orientation)


@pytest.mark.parametrize("name", CASES)
def test_what_other_programs_would_turn_otherwise_is_copied(tmp_path: Path, name: str) -> None:
    """A dataset's reader goes by Pillow, so it is given a copy without metadata."""
    content, orientation = CASES[name]
    (tmp_path / name).write_bytes(content)
    with Image.open(tmp_path / name) as image:
        image.load()
        other = image.getexif().get(274, 1)
    other = other if other in range(1, 9) else 1
    why = f"browsers take its orientation as {orientation}, other programs as {other}"
    assert decode.look(tmp_path / name).copy == (why if other != orientation else "")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_its_tag_says(tmp_path: Path, orientation: int) -> None:
    (tmp_path / "a.tif").write_bytes(saved("TIFF", tiffinfo={274: orientation}))
    expected = upright(orientation)
    assert (decode.from_file(tmp_path / "a.tif") == expected).all()
    assert header(tmp_path / "a.tif") == (*expected.shape[1::-1], orientation)


def test_the_header_of_no_image_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert header(tmp_path / "a.jpg") is None

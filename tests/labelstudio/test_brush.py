from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.converter import brush as sdk

from tests.conftest import SHARED
from tests.drawing import SHAPES, masks_of_rectangles
from workflow.errors import FormatError
from workflow.labelstudio.regions.brush import encode_rle, mask_to_rle, rle_to_alpha

CASES = SHARED / "label-studio-cases"


@given(masks_of_rectangles())
def test_masks_survive_bit_by_bit(pixels: np.ndarray) -> None:
    assert (rle_to_alpha(mask_to_rle(pixels), *pixels.shape) == pixels * np.uint8(255)).all()


@pytest.mark.parametrize("pixels", SHAPES.values(), ids=SHAPES)
def test_the_bytes_are_those_of_the_sdk(pixels: np.ndarray) -> None:
    theirs = sdk.mask2rle(pixels * np.uint8(255))
    assert mask_to_rle(pixels) == theirs
    alpha = sdk.decode_rle(theirs).reshape(*pixels.shape, 4)[:, :, 3]
    assert (rle_to_alpha(theirs, *pixels.shape) == alpha).all()


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 255)), min_size=1, max_size=40))
def test_any_bytes_are_packed_as_the_sdk_packs_them(runs: list) -> None:
    values = np.repeat([v for _, v in runs], [n for n, _ in runs]).astype(np.uint8)
    assert encode_rle(values) == sdk.encode_rle(values)


def test_long_runs_are_split_as_the_sdk_splits_them() -> None:
    for length in (65_535, 65_536, 65_537, 131_072, 200_001):
        values = np.full(length, 9, np.uint8)
        assert encode_rle(values) == sdk.encode_rle(values)
    wide = np.arange(300 * 500).reshape(300, 500) > 5
    assert mask_to_rle(wide) == sdk.mask2rle(wide * np.uint8(255))


def _editor_rle(values: np.ndarray, sizes: tuple[int, ...]) -> list[int]:
    """Packs as the editor does, which gathers single values in a row: slowly, bit by bit."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    runs = np.split(values, np.flatnonzero(np.diff(values.astype(int))) + 1)
    while runs:
        single = len(runs[0]) == 1
        many = next((i for i, run in enumerate(runs) if len(run) > 1), len(runs)) if single else len(runs[0])
        many = min(many, 2 ** sizes[-1])
        index = next(i for i, size in enumerate(sizes) if many <= 2**size)
        bits += f"{int(not single)}{index:02b}{many - 1:0{sizes[index]}b}"
        bits += "".join(f"{run[0]:08b}" for run in (runs[:many] if single else runs[:1]))
        left = [] if single or many == len(runs[0]) else [runs[0][many:]]
        runs = left + (runs[many:] if single else runs[1:])
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


@given(
    st.lists(st.tuples(st.integers(1, 5), *[st.integers(0, 255)] * 4), min_size=1, max_size=30),
    st.sampled_from([(3, 4, 8, 16), (1, 2, 3, 4), (2, 2, 2, 2)]),
)
def test_what_the_editor_draws_in_colour_is_read(pixels: list, sizes: tuple) -> None:
    rgba = np.repeat(np.array([p[1:] for p in pixels], np.uint8), [p[0] for p in pixels], axis=0)
    rle = _editor_rle(rgba.reshape(-1), sizes)
    assert (sdk.decode_rle(rle) == rgba.reshape(-1)).all()
    assert (rle_to_alpha(rle, 1, len(rgba)) == rgba[:, 3]).all()


GOOD = mask_to_rle(SHAPES["hole"])


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ([], "a brush mask of 0 bytes has no header"),
        (GOOD[:6], "a brush mask of 6 bytes has no header"),
        (7, "a brush mask is a list of byte values, and this is none"),
        ([*GOOD, 256], "a brush mask is a list of byte values, and this is none"),
        (["a"], "a brush mask is a list of byte values, and this is none"),
        (GOOD[:20], "a brush mask ends before its image does"),
        (GOOD[:7], "a brush mask ends before its image does"),
        (mask_to_rle(SHAPES["full"]), "a brush mask of 216 values is none of a 30x20 image"),
        ([*GOOD[:4], GOOD[4] | 128, *GOOD[5:]], "a brush mask has values of 8 bits, not of 24"),
    ],
)
def test_a_broken_stream_is_refused(rle: list, message: str) -> None:
    with pytest.raises(FormatError) as error:
        rle_to_alpha(rle, 20, 30)
    assert error.value.problem == message


@given(st.binary(min_size=7, max_size=60))
def test_garbage_is_refused_or_read_but_never_worse(garbage: bytes) -> None:
    stream = [*(4 * 600).to_bytes(4), 7 << 3 | 1, *garbage]
    with contextlib.suppress(FormatError):
        assert rle_to_alpha(stream, 20, 30).shape == (20, 30)


@pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not beside this checkout")
def test_case_13_the_authors_bytes() -> None:
    case = json.loads((CASES / "brush_expected.json").read_text())["encode_rle_exact"]
    assert encode_rle(case["input"]) == case["rle"]

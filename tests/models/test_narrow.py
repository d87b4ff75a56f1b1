"""Images of extreme shapes, through every family: a guess within the image, or none, and never an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import CASES, DIGITS, Case
from workflow import models
from workflow.models import Options
from workflow.models.batches import ASPECT, filled_up
from workflow.models.frame import cut
from workflow.models.sam import Sam
from workflow.records import Annotation, Provenance
from workflow.shapes import masks

BOXER = Provenance("model", "boxer")
SHAPES = [(1, 2000), (2000, 1), (1, 1), (2, 3)]
# Its own code looks at images as they are.
FAMILIES = [case for case in CASES.values() if case.family != "own"]


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.spec, marks=[pytest.mark.slow] * c.slow) for c in FAMILIES]
)
def test_no_shape_is_too_narrow(case: Case, tmp_path: Path) -> None:
    (tmp_path / case.checkpoint).parent.mkdir(parents=True, exist_ok=True)
    case.build(tmp_path / case.checkpoint)
    options = {"threshold": case.threshold, "device": "cpu", "log": tmp_path / "log"} | dict(case.options)
    annotator = models.load(case.spec, tmp_path, Options(**options))
    random = np.random.default_rng(0)
    try:
        for height, width in SHAPES:
            image = random.integers(0, 255, (height, width, 3)).astype(np.uint8)
            box = (0.0, 0.0, float(width), float(height))
            prior = (Annotation("1", BOXER, box=box, score=0.9),) if case.prior else ()
            (guesses,) = annotator.annotate([image], [prior], DIGITS)
            assert all(a.within(width, height) for a in guesses)
            assert {(a.mask.height, a.mask.width) for a in guesses if a.mask} <= {(height, width)}
    finally:
        annotator.close()


CLICKED = [(20, 10_000), (400, 3), (1, 1), (3, 900), (60, 80)]


@pytest.mark.parametrize("case", [pytest.param(c, id=c.spec) for c in FAMILIES if c.family == "sam"])
def test_a_click_on_any_shape_has_a_mask_of_its_image(case: Case, tmp_path: Path) -> None:
    (tmp_path / case.checkpoint).parent.mkdir(parents=True, exist_ok=True)
    case.build(tmp_path / case.checkpoint)
    model = models.load(case.spec, tmp_path, Options(device="cpu", log=tmp_path / "log"))
    assert isinstance(model, Sam)
    random = np.random.default_rng(0)
    for height, width in CLICKED:
        image = random.integers(0, 255, (height, width, 3)).astype(np.uint8)
        points, box = [(width / 2, height / 2)], (0.0, 0.0, float(width), float(height))
        for prompt in ((points, [True]), (points * 2, [True, False]), ((), (), box), (points, [True], box)):
            bits = model.mask(model.embed(image), *prompt)
            wider = model.mask(model.embed(filled_up(image)), *prompt)
            assert (bits.shape, bits.dtype) == ((height, width), bool)
            assert np.array_equal(bits, wider[:height, :width])


def test_only_what_is_narrow_is_filled_up() -> None:
    wide = np.full((2, 2 * ASPECT, 3), 7, np.uint8)
    assert filled_up(wide) is wide
    narrow = np.full((2, 2 * ASPECT + 1, 3), 7, np.uint8)
    shown = filled_up(narrow)
    assert shown.shape == (3, 2 * ASPECT + 1, 3)
    assert (shown[:2] == 7).all() and (shown[2] == 114).all()


def test_the_margin_is_cut_from_guesses() -> None:
    image = np.zeros((2, 200, 3), np.uint8)
    bits = np.zeros((5, 200), bool)
    bits[1:4, 10:20] = True
    margin = np.zeros((5, 200), bool)
    margin[3:] = True
    guesses = (
        Annotation("1", BOXER, box=(3.0, 0.0, 9.0, 5.0), score=0.9),
        Annotation("1", BOXER, box=(3.0, 2.0, 9.0, 5.0), score=0.8),
        Annotation("1", BOXER, mask=masks.encode(bits), score=0.7),
        Annotation("1", BOXER, mask=masks.encode(margin), score=0.6),
        Annotation("1", BOXER, score=0.5),
    )
    box, mask, label = cut(guesses, image)
    assert box.box == (3.0, 0.0, 9.0, 2.0)
    assert (masks.decode(mask.mask) == bits[:2]).all()
    assert label == guesses[4]

"""SAM 3 says what the library's own post-processing says, and draws where people click."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from workflow import models
from workflow.errors import ModelError
from workflow.models import Options
from workflow.shapes import masks

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    tiny.build("sam3", tmp_path / "sam3")
    return tmp_path


def test_masks_are_the_librarys(project: Path) -> None:
    annotator = models.load("sam3:sam3", project, Options(threshold=0.1, device="cpu"))
    network, processor = annotator._model, annotator._processor  # type: ignore[attr-defined]
    inputs = processor(images=[IMAGE], text=["7"], return_tensors="pt")
    with torch.inference_mode():
        outputs = network(**{k: inputs[k] for k in ("pixel_values", "input_ids", "attention_mask")})
    (expected,) = processor.image_processor.post_process_instance_segmentation(
        outputs, threshold=0.1, target_sizes=[IMAGE.shape[:2]]
    )
    (guesses,) = annotator.annotate([IMAGE], [()], ("7",))
    order = torch.argsort(-expected["scores"], stable=True)
    assert len(guesses) == len(order) > 3
    for guess, number in zip(guesses, order.tolist(), strict=True):
        assert guess.score == pytest.approx(float(expected["scores"][number]), abs=1e-4)
    # The library looks for more than a half after a sigmoid, which rounds away what is a little over zero.
    drawn = np.stack([masks.decode(guess.mask) for guess in guesses]).astype(bool)
    for bits in expected["masks"].numpy().astype(bool):
        agreement = (drawn == bits).mean(axis=(1, 2))
        assert agreement.max() > 0.99


def test_several_prompts_mean_one_class(project: Path) -> None:
    asked = {"digit": ["1", "2"]}
    annotator = models.load("sam3:sam3", project, Options(threshold=0.1, prompts=asked, device="cpu"))
    (guesses,) = annotator.annotate([IMAGE], [()], ("digit",))
    plain = models.load("sam3:sam3", project, Options(threshold=0.1, device="cpu"))
    (apart,) = plain.annotate([IMAGE], [()], ("1", "2"))
    assert {a.label for a in guesses} == {"digit"}
    assert [a.score for a in guesses] == pytest.approx([a.score for a in apart], abs=1e-6)


def test_a_prompt_that_is_too_long_is_refused(project: Path) -> None:
    annotator = models.load("sam3:sam3", project, Options(device="cpu"))
    with pytest.raises(ModelError) as error:
        annotator.annotate([IMAGE], [()], ("a" * 31,))
    assert str(error.value) == (
        f"model 'sam3:sam3': cannot read {'a' * 31!r}... (33 tokens) -> shorten the prompt to 32 tokens"
    )


def test_the_same_checkpoint_draws_where_people_click(project: Path) -> None:
    clicks = models.load("sam:sam3", project, Options(device="cpu"))
    seen = clicks.embed(IMAGE)  # type: ignore[attr-defined]
    one, other = (
        clicks.mask(seen, [(30.0, 40.0)], [good])  # type: ignore[attr-defined]
        for good in (True, False)
    )
    assert one.shape == other.shape == IMAGE.shape[:2]
    assert one.dtype == bool
    assert (one != other).any()

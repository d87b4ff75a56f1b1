"""CLIPSeg beyond the contract: the library's own numbers, and several prompts a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import build
from workflow import models
from workflow.errors import ModelError
from workflow.models import Options
from workflow.shapes import masks

PICTURE = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clipseg")
    build("clipseg", folder / "tiny")
    return folder


def test_logits_are_the_librarys(folder: Path) -> None:
    import torch

    model = models.load("clipseg:tiny", folder, Options(device="cpu"))
    words = ["bus", "dog"]
    inputs = model._processor(text=words, images=[PICTURE] * 2, padding="max_length", return_tensors="pt")
    with torch.inference_mode():
        theirs = model._model(**inputs).logits
    ours = model._rasters(inputs["pixel_values"][:1], [("bus",), ("dog",)])
    assert ours.shape == (1, 3, *theirs.shape[-2:])
    assert torch.allclose(ours[0, :2], theirs, atol=1e-3)
    assert not ours[0, 2].any()


def test_of_several_prompts_the_best_counts_a_pixel(folder: Path) -> None:
    both = {"bus": ["a", "b"]}
    model, one, other = (
        models.load("clipseg:tiny", folder, Options(device="cpu", prompts=prompts))
        for prompts in (both, {"bus": ["a"]}, {"bus": ["b"]})
    )
    found, *alone = (m.annotate([PICTURE], [()], ["bus"])[0] for m in (model, one, other))
    painted = [masks.decode(said[0].mask) if said else np.zeros(PICTURE.shape[:2], bool) for said in alone]
    assert painted[0].any() != painted[1].all()
    assert (masks.decode(found[0].mask) == painted[0] | painted[1]).mean() > 0.95


def test_a_model_of_another_kind_is_one_line(tmp_path: Path) -> None:
    build("owlv2", tmp_path / "owl")
    with pytest.raises(ModelError) as error:
        models.load("clipseg:owl", tmp_path, Options(device="cpu"))
    what = "model 'clipseg:owl': a model of type owlv2 is not of this family"
    assert str(error.value) == f"{what} -> take clipseg"

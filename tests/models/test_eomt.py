"""EoMT says what the library's own post-processing says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny
from workflow import models
from workflow.models import Options
from workflow.shapes import masks

# Wider than high, higher than wide, and square: cut into several squares, or filled up on one side or none.
SIZES = [(60, 150), (140, 70), (96, 96)]


@pytest.mark.parametrize("size", SIZES)
def test_classes_are_those_of_the_librarys_joined_cuttings(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    tiny.build("eomt-digits-semantic", tmp_path / "semantic")
    annotator = models.load("eomt:semantic#semantic", tmp_path, Options(device="cpu"))
    network, processor = annotator._model, annotator._processor  # type: ignore[attr-defined]
    inputs = processor(images=[image], return_tensors="pt")
    with torch.inference_mode():
        outputs = network(pixel_values=inputs["pixel_values"])
    outputs.patch_offsets = inputs["patch_offsets"]
    (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[size])
    (guesses,) = annotator.annotate([image], [()], annotator.names)
    ours = np.full(size, -1)
    for guess in guesses:
        ours[masks.decode(guess.mask) > 0] = tiny.IDS[guess.label]
    assert len(guesses) > 1
    assert (ours == expected.numpy()).mean() > 0.999


@pytest.mark.parametrize("size", SIZES)
def test_objects_are_those_of_the_librarys_filled_up_squares(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    tiny.build("eomt-digits-instance", tmp_path / "instance")
    annotator = models.load("eomt:instance", tmp_path, Options(device="cpu", threshold=0.0))
    network, processor = annotator._model, annotator._processor  # type: ignore[attr-defined]
    inputs = processor(images=[image], return_tensors="pt")
    with torch.inference_mode():
        outputs = network(pixel_values=inputs["pixel_values"])
    (expected,) = processor.post_process_instance_segmentation(outputs, target_sizes=[size], threshold=0.0)
    (guesses,) = annotator.annotate([image], [()], annotator.names)
    # The library gives each query's best class; so does the first of ours on each mask.
    theirs = sorted(round(one["score"], 4) for one in expected["segments_info"])
    ours = {round(guess.score or 0.0, 4) for guess in guesses}
    assert len(theirs) > 3
    assert sum(any(abs(score - own) < 2e-4 for own in ours) for score in theirs) >= len(theirs) - 2


def test_a_panoptic_checkpoint_is_asked_for_one_or_the_other(tmp_path: Path) -> None:
    tiny.build("eomt-digits-instance", tmp_path / "coco_panoptic")
    tasks = [
        models.load(f"eomt:coco_panoptic#{word}", tmp_path, Options(device="cpu")).task
        for word in ("instance", "semantic")
    ]
    assert tasks == ["instance-segmentation", "semantic-segmentation"]
    with pytest.raises(models.ModelError) as error:
        models.load("eomt:coco_panoptic", tmp_path, Options(device="cpu"))
    assert str(error.value) == (
        "model 'eomt:coco_panoptic': does not say whether it is of instances or of classes"
        " -> write eomt:coco_panoptic#instance or eomt:coco_panoptic#semantic"
    )

"""Semantic segmentation learns here, by every method, and what is kept says what was evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny
from tests.training_jobs import CLASSES, make_job, shapes, write_dataset
from workflow import metrics
from workflow.errors import ModelError
from workflow.models import Options, semantic
from workflow.models.unet import Unet
from workflow.schema import Schema
from workflow.training import PRESETS, Job, Trained, data, loop, lora, trainer
from workflow.training import semantic as training
from workflow.training.augment import IGNORE

TASK = "semantic-segmentation"
NAMES = {0: "background", 1: "red", 2: "blue"}
KINDS = ("segformer", pytest.param("upernet", marks=pytest.mark.slow))


def _job(folder: Path, kind: str = "segformer", count: int = 4, **settings: Any) -> Job:
    """A job on drawn images, the last of them empty, from a tiny base that tells the ten digits."""
    tiny.CASES[f"semantic:tiny/{kind}"].build(folder / "base")
    write_dataset(folder / "dataset", TASK, {"train": shapes(count, TASK)})
    return make_job(folder, TASK, "semantic", folder / "base", **settings)


def _train(job: Job) -> Trained:
    return trainer("semantic", TASK, job.recipe.method).train(job, lambda epoch: None)


def _annotator(result: Trained) -> Any:
    return semantic.Semantic("run:tiny", result.files / result.checkpoint, Options(device="cpu"))


def _measured(result: Trained, job: Job) -> float | None:
    annotator = _annotator(result)

    def ask(images: list, truths: list) -> list:
        return annotator.annotate(images, [()] * len(images), CLASSES)

    return data.score(data.Samples(job, "train"), ask, 3).score


@pytest.mark.slow
def test_it_learns_eight_images_by_heart(tmp_path: Path) -> None:
    job = _job(tmp_path, count=8, epochs=60, learning_rate=5e-3)
    result = _train(job)
    best = max(row["score"] for row in result.curves)
    assert best > 0.9
    assert _measured(result, job) == pytest.approx(best, abs=1e-4)
    assert result.metric == "mIoU" and result.selected_on == "train"
    assert result.images == {"train": 8, "validation": 0}


@pytest.mark.parametrize("method", ["head", "lora", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_only_what_the_method_says_learns(tmp_path: Path, kind: str, method: str) -> None:
    job = _job(tmp_path, kind, method=method, epochs=1, image_size=64)
    loop.seed_everything(job.recipe.seed)
    start, _ = training.open_model(job)
    head = training.head_of(start)
    places = lora.targets(start, head)
    before = {name: weights.clone() for name, weights in start.state_dict().items()}
    result = _train(job)
    annotator = _annotator(result)
    after = annotator._model.state_dict()
    assert annotator._model.config.id2label == NAMES and annotator.names == CLASSES
    moved = {name for name, weights in after.items() if not torch.equal(weights, before[name])}
    in_head = {name for name in before if name.startswith(tuple(f"{part}." for part in head))}
    adapted = {f"{name}.weight" for name in places}
    assert moved & in_head
    if method == "head":
        assert moved <= in_head
    elif method == "lora":
        assert moved & adapted and moved <= in_head | adapted
    else:
        assert len(moved - in_head - adapted) > 10
    assert result.arguments["learning_rate"] == training.LEARNING_RATES[method]


@pytest.mark.parametrize("method", ["head", "lora", "full"])
def test_what_is_kept_says_what_was_evaluated(tmp_path: Path, method: str) -> None:
    job = _job(tmp_path, method=method, epochs=3, image_size=64, learning_rate=5e-3)
    result = _train(job)
    best = max(row["score"] for row in result.curves)
    assert _measured(result, job) == pytest.approx(best, abs=1e-4) and best > 0
    assert dict(_annotator(result)._processor.size) == {"height": 64, "width": 64}
    assert (result.files / "adapter").exists() == (method == "lora")


def test_merged_says_what_the_adapters_said(tmp_path: Path) -> None:
    job = _job(tmp_path, method="lora", epochs=2, learning_rate=5e-3)
    learner = training.Segmentation(job)
    loop.fit(learner, job, lambda epoch: None, learning_rate=5e-3, arguments={})
    (batch,) = learner.batches(1)
    with torch.no_grad():
        before = learner.model(pixel_values=batch[0]).logits
        after = lora.merge(learner.model)(pixel_values=batch[0]).logits
    assert (before - after).abs().max() < 1e-4


def test_a_base_of_classes_from_one_learns_background_first(tmp_path: Path) -> None:
    """The tiny UperNet counts from 1, as ADE20K's do; what is made of it counts as the project does."""
    job = _job(tmp_path, "upernet", epochs=1, image_size=64)
    _, processor = training.open_model(job)
    assert processor.do_reduce_labels is False and processor.do_center_crop is False


def test_masks_are_seen_as_the_image_is(tmp_path: Path) -> None:
    job = _job(tmp_path, image_size=64)
    learner = training.Segmentation(job)
    (batch,) = learner.batches(1)
    pixels, masks = batch
    assert pixels.shape == (4, 3, 64, 64) and masks.shape == (4, 64, 64) and masks.dtype == torch.int64
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (learner.processor.image_mean, learner.processor.image_std)
    )
    for image, mask in zip(pixels * std + mean, masks, strict=True):
        red, blue = image[0] - image[2] > 0.35, image[2] - image[0] > 0.35
        assert ((red == (mask == 1)) & (blue == (mask == 2))).float().mean() > 0.97


def test_images_of_other_shapes_share_a_batch() -> None:
    pairs = [(torch.ones(3, 4, 6), torch.ones(4, 6).long()), (torch.ones(3, 5, 2), torch.zeros(5, 2).long())]
    images, masks = training.collate(pairs)
    assert images.shape == (2, 3, 5, 6)
    assert (masks == IGNORE).sum() == 2 * 30 - 24 - 10
    assert images.sum() == 3 * (24 + 10)


def test_images_without_a_mask_and_a_strong_preset(tmp_path: Path) -> None:
    job = _job(tmp_path, epochs=1, image_size=64, augment=PRESETS["strong"])
    write_dataset(tmp_path / "dataset", TASK, {"train": [(p, []) for p, _ in shapes(3, TASK)]})
    (row,) = _train(job).curves
    assert np.isfinite(row["loss"]) and np.isfinite(row["validation_loss"]) and row["score"] == 0


def test_without_a_head_by_name_it_is_one_line() -> None:
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(1, 1), "top": torch.nn.Linear(1, 1)})
    with pytest.raises(ModelError) as error:
        training.head_of(model)
    assert str(error.value) == (
        "ModuleDict has no part that is a head by name, only encoder, top -> set train.method to full"
    )


def test_the_metric_is_named_as_the_metrics_name_it() -> None:
    assert (
        metrics.measure(Schema.of(TASK, CLASSES), {"a": (9, 9)}, {}, {}).metric
        == training.Segmentation.metric
    )


@pytest.mark.parametrize("method", ["head", "lora", "full"])
def test_a_unet_learns_what_the_method_says_and_is_kept(tmp_path: Path, method: str) -> None:
    tiny.CASES["unet:tiny/unet"].build(tmp_path / "base")
    write_dataset(tmp_path / "dataset", TASK, {"train": shapes(4, TASK)})
    job = make_job(
        tmp_path, TASK, "unet", tmp_path / "base", method=method, epochs=3, learning_rate=5e-3, image_size=72
    )
    result = trainer("unet", TASK, method).train(job, lambda epoch: None)
    kept = Unet("run:tiny", result.files / result.checkpoint, Options(device="cpu"))
    start = Unet("unet:start", job.scratch / "start", Options(device="cpu"))
    assert kept.names == CLASSES and kept.seen(96, 128) == (54, 72)
    said = data.score(
        data.Samples(job, "train"), lambda images, _: kept.annotate(images, [()] * len(images), CLASSES), 3
    )
    assert said.score == pytest.approx(max(row["score"] for row in result.curves), abs=1e-4)
    before, after = (one.network.state_dict() for one in (start, kept))
    moved = {name for name, weights in after.items() if not torch.equal(weights, before[name])}
    body = {name for name in moved if not name.startswith("segmentation_head")}
    assert moved - body
    if method == "head":
        assert not body
    elif method == "lora":
        places = {f"{name}.weight" for name in lora.targets(start.network, ["segmentation_head"])}
        assert body and body <= places
    else:
        assert len(body) > 10


@pytest.mark.slow
def test_a_unet_learns_eight_images_by_heart(tmp_path: Path) -> None:
    tiny.CASES["unet:tiny/unet"].build(tmp_path / "base")
    write_dataset(tmp_path / "dataset", TASK, {"train": shapes(8, TASK)})
    job = make_job(tmp_path, TASK, "unet", tmp_path / "base", epochs=40, learning_rate=3e-3)
    result = trainer("unet", TASK, "full").train(job, lambda epoch: None)
    assert max(row["score"] for row in result.curves) > 0.9

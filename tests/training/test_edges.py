"""Training's edges: one class, a batch of one, images that a library would pass over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import tiny
from tests.training_jobs import CLASSES, PERSON, make_job, shapes, write_dataset
from workflow import training
from workflow.errors import ModelError
from workflow.models.batches import ASPECT
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.training import data, yolo_data


def test_one_class_that_excludes_all_others_is_nothing_to_learn() -> None:
    with pytest.raises(ModelError) as error:
        training.check(Schema.of("classification", ["cat"]))
    assert str(error.value) == (
        "every image is 'cat': of one class alone there is nothing to learn -> add another to classes in"
        ' project.toml, or set task to "multilabel-classification"'
    )
    training.check(Schema.of("classification", ["cat", "dog"]))
    training.check(Schema.of("multilabel-classification", ["cat"]))
    training.check(Schema.of("semantic-segmentation", ["cat"]))


@pytest.mark.parametrize("count", range(1, 12))
@pytest.mark.parametrize("batch", [2, 3, 4, 5])
def test_no_batch_is_of_one_image(tmp_path: Path, count: int, batch: int) -> None:
    write_dataset(tmp_path / "dataset", "detection", {"train": shapes(count, "detection", (24, 32))})
    job = make_job(tmp_path, "detection", "detr", tmp_path, batch=batch)
    samples, _ = data.splits(job)
    made = list(data.batches(samples, lambda example, rng: example["id"], job, 1))
    assert len(made) == data.steps(samples, job)
    assert all(2 <= len(names) <= batch + 1 for names in made)
    assert {name for names in made for name in names} == {f"train-{n}" for n in range(count)}
    assert sum(map(len, made)) == max(count, 2)


@pytest.mark.parametrize("count", range(2, 40))
@pytest.mark.parametrize("batch", [2, 3, 4, 7, 16])
def test_ultralytics_gets_a_batch_that_leaves_no_single_image(count: int, batch: int) -> None:
    size = yolo_data.batch_size(count, batch)
    assert size >= 2 and count % size != 1
    assert size == batch or count % batch == 1
    assert size <= batch or all(count % smaller == 1 for smaller in range(2, batch + 1))


def test_deeplab_learns_from_five_images_in_batches_of_two(tmp_path: Path) -> None:
    _save_deeplab(tmp_path / "base")
    five = shapes(5, "semantic-segmentation", (64, 64))
    write_dataset(tmp_path / "dataset", "semantic-segmentation", {"train": five})
    job = make_job(tmp_path, "semantic-segmentation", "unet", tmp_path / "base", epochs=1, batch=2)
    result = training.trainer("unet", "semantic-segmentation", "full").train(job, lambda epoch: None)
    assert result.images == {"train": 5, "validation": 0}


def test_a_norm_that_needs_two_images_says_so(tmp_path: Path) -> None:
    _save_deeplab(tmp_path / "base")
    one = shapes(3, "semantic-segmentation", (64, 64))
    write_dataset(tmp_path / "dataset", "semantic-segmentation", {"train": one})
    job = make_job(tmp_path, "semantic-segmentation", "unet", tmp_path / "base", epochs=1, batch=1)
    with pytest.raises(ModelError) as error:
        training.trainer("unet", "semantic-segmentation", "full").train(job, lambda epoch: None)
    assert str(error.value) == (
        "this network normalises over a batch, which takes two images or more -> set train.batch to 2 or more"
    )


def _save_deeplab(folder: Path) -> None:
    import segmentation_models_pytorch
    import torch

    from tests.tiny.unet import NORMAL
    from workflow.project.rows import write_json

    torch.manual_seed(0)
    model = segmentation_models_pytorch.DeepLabV3Plus("resnet18", encoder_weights=None, classes=3)
    model.save_pretrained(folder)
    write_json(folder / "names.json", {"names": ["background", *CLASSES], **NORMAL})


def test_what_is_too_narrow_to_learn_from_is_left_out_and_counted(tmp_path: Path) -> None:
    narrow = (
        np.full((2, 2 * ASPECT + 1, 3), 9, np.uint8),
        [Annotation("red", PERSON, box=(0.0, 0.0, 9.0, 2.0))],
    )
    edge = (np.full((2, 2 * ASPECT, 3), 9, np.uint8), [])
    drawn = [narrow, *shapes(3, "detection"), edge]
    write_dataset(tmp_path / "dataset", "detection", {"train": drawn})
    tiny.CASES["detr:tiny/detr"].build(tmp_path / "base")
    job = make_job(tmp_path, "detection", "detr", tmp_path / "base", epochs=1, image_size=32)
    samples, _ = data.splits(job)
    assert [samples[n]["id"] for n in range(len(samples))] == [f"train-{n}" for n in (1, 2, 3, 4)]
    result = training.trainer("detr", "detection", "full").train(job, lambda epoch: None)
    assert result.images == {"train": 4, "validation": 0}
    assert result.arguments["left_out"] == {"images with one side more than 48 times the other": 1}

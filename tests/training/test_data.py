"""What training reads: every image once an epoch, upright, in an order that follows from the seed."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.training_jobs import CLASSES, PERSON, make_job, shapes, write_dataset
from workflow.dataset import parquet
from workflow.errors import ImageError, ModelError
from workflow.records import Annotation, ImageRecord
from workflow.schema import Schema
from workflow.training import PRESETS, Job, data


def _job(folder: Path, train: int, **settings: Any) -> Job:
    write_dataset(folder / "dataset", "detection", {"train": shapes(train, "detection", (48, 64))})
    return make_job(folder, "detection", "detr", folder, **settings)


def _epoch(job: Job, epoch: int) -> list[list[tuple[str, int]]]:
    """The images of each batch, each with a sum of its pixels."""
    samples = data.Samples(job, "train")
    batches = data.batches(samples, lambda one, rng: (one["id"], int(one["image"].sum())), job, epoch)
    return list(batches)


def test_rows_come_in_any_order_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 64)
    job = _job(tmp_path, 150)
    assert pq.ParquetFile(tmp_path / "dataset/data/train.parquet").num_row_groups == 3
    samples, drawn = data.Samples(job, "train"), shapes(150, "detection", (48, 64))
    assert len(samples) == 150
    for number in (149, 0, 63, 64, 128, 127):
        name, pixels, annotations = samples.picture(number)
        assert name == f"train-{number}" and (pixels == drawn[number][0]).all()
        assert [(a.label, a.box) for a in annotations] == [(a.label, a.box) for a in drawn[number][1]]
        example = samples[number]
        assert torch.equal(example["image"], torch.tensor(pixels).permute(2, 0, 1))
        assert example["boxes"].tolist() == [list(a.box or ()) for a in annotations]
        assert example["labels"].tolist() == [CLASSES.index(a.label) for a in annotations]


def test_the_limits_on_images_hold(tmp_path: Path) -> None:
    job = dataclasses.replace(_job(tmp_path, 1), max_megapixels=0.001)
    samples = data.Samples(job, "train")
    for read in (samples.__getitem__, samples.picture):
        with pytest.raises(
            ImageError, match="0.00307 megapixels, more than 0.001 -> raise images.max_megapixels"
        ):
            read(0)
    samples = data.Samples(dataclasses.replace(job, max_megapixels=1, memory=1e-6), "train")
    with pytest.raises(ImageError, match="of memory to decode, more than 1e-06 GB -> raise images.memory"):
        samples.picture(0)


def test_an_epoch_sees_each_image_once_in_batches_of_a_size(tmp_path: Path) -> None:
    job = _job(tmp_path, 9, batch=4)
    batches = _epoch(job, 1)
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert data.steps(data.Samples(job, "train"), job) == 3
    assert sorted(name for batch in batches for name, _ in batch) == [f"train-{n}" for n in range(9)]


def test_an_epoch_is_the_same_again_and_another_is_not(tmp_path: Path) -> None:
    job = _job(tmp_path, 6, augment=PRESETS["strong"])
    first, again, other = (_epoch(job, number) for number in (1, 1, 2))
    assert first == again
    assert first != other and dict(sum(first, [])) != dict(sum(other, []))


def test_a_loop_that_stops_early_leaves_no_thread_waiting(tmp_path: Path) -> None:
    job = _job(tmp_path, 30, batch=2)
    batches = data.batches(data.Samples(job, "train"), lambda one, rng: one["id"], job, 1)
    assert len(next(batches)) == 2
    batches.close()  # type: ignore[attr-defined]


def test_what_fails_in_a_thread_fails_in_the_loop(tmp_path: Path) -> None:
    job = _job(tmp_path, 3)

    def fail(example: Any, rng: Any) -> None:
        raise ModelError("no good")

    with pytest.raises(ModelError, match="no good"):
        list(data.batches(data.Samples(job, "train"), fail, job, 1))


def test_turned_files_are_upright(tmp_path: Path) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[5:15, 10:30] = 255
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = 6
    Image.fromarray(np.rot90(upright)).save(buffer, "PNG", exif=exif)
    record = ImageRecord("one", "one.png", 60, 40, "train", "")
    truth = Annotation("red", PERSON, box=(10.0, 5.0, 30.0, 15.0))
    row = parquet.to_row(record, buffer.getvalue(), [truth], Schema.of("detection", CLASSES))
    assert row is not None
    path = tmp_path / "dataset" / "data" / "train.parquet"
    parquet.write(path, [row], parquet.features(Schema.of("detection", CLASSES)))
    example = data.Samples(make_job(tmp_path, "detection", "detr", tmp_path), "train")[0]
    assert (example["image"].permute(1, 2, 0).numpy() == upright).all()
    assert example["boxes"].tolist() == [[10, 5, 30, 15]]


def test_a_class_map_has_the_numbers_of_the_classes(tmp_path: Path) -> None:
    drawn = shapes(3, "semantic-segmentation")
    write_dataset(tmp_path / "dataset", "semantic-segmentation", {"train": drawn})
    samples = data.Samples(make_job(tmp_path, "semantic-segmentation", "semantic", tmp_path), "train")
    red = (drawn[0][0] == (220, 40, 40)).all(axis=2)
    blue = (drawn[0][0] == (40, 60, 220)).all(axis=2)
    assert (samples[0]["mask"].numpy() == np.where(red, 1, np.where(blue, 2, 0))).all()
    assert (samples[2]["mask"].numpy() == 0).all()


def test_without_a_validation_split_the_epoch_is_selected_on_train(tmp_path: Path) -> None:
    job = _job(tmp_path, 3)
    assert [s.split for s in data.splits(job)] == ["train", "train"]
    assert data.counts(job) == {"train": 3, "validation": 0}
    write_dataset(tmp_path / "dataset", "detection", {"validation": shapes(2, "detection")})
    assert [s.split for s in data.splits(job)] == ["train", "validation"]
    assert data.counts(job) == {"train": 3, "validation": 2}


def test_nothing_to_train_on_is_one_line(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset", "detection", {"validation": shapes(2, "detection")})
    with pytest.raises(ModelError) as error:
        data.splits(make_job(tmp_path, "detection", "detr", tmp_path))
    assert str(error.value) == "the dataset has no training images -> label more images, then workflow pull"

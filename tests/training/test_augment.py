"""Variations move images, boxes and masks together, by lots that follow from a seed and touch no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training_jobs import CLASSES, make_job, shapes, write_dataset
from workflow.errors import ModelError
from workflow.schema import Schema
from workflow.tasks import TaskName
from workflow.training import PRESETS, Augment, data
from workflow.training.augment import GRAY, IGNORE, refuse, vary
from workflow.training.sheet import preview_sheet

MOVING = {
    "flip": Augment(flip=True),
    "scale": Augment(scale=0.5),
    "rotate": Augment(rotate=20),
    "all": Augment(flip=True, rotate=15, scale=0.4),
}


def _example(task: TaskName = "instance-segmentation", seed: int = 1) -> dict[str, Any]:
    pixels, annotations = shapes(2, task, size=(120, 160), seed=seed)[0]
    return data.to_example("drawn", pixels, annotations, Schema.of(task, CLASSES))


def _vary(example: dict[str, Any], augment: Augment, seed: int) -> dict[str, Any]:
    return vary(example, augment, np.random.default_rng(seed))


def _painted(image: torch.Tensor, label: int) -> np.ndarray:
    """Where the image shows a class: red and blue squares on gray."""
    red, _, blue = image.numpy().astype(int)
    return red - blue > 90 if CLASSES[label] == "red" else blue - red > 90


@pytest.mark.parametrize("augment", MOVING.values(), ids=MOVING)
def test_boxes_and_masks_stay_on_what_they_label(augment: Augment) -> None:
    kept = 0
    for seed in range(25):
        varied = _vary(_example(seed=seed), augment, seed)
        assert len(varied["boxes"]) == len(varied["labels"]) == len(varied["masks"])
        for box, label, mask in zip(varied["boxes"], varied["labels"], varied["masks"], strict=True):
            shown, mask = _painted(varied["image"], int(label)), mask.numpy().astype(bool)
            assert (shown & mask).sum() > 0.85 * (shown | mask).sum()
            ys, xs = np.nonzero(shown)
            seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            # The box of a turned box is larger than that of what is in it; never smaller.
            slack = 1.5 if not augment.rotate else 0.5 * max(seen[2:] - seen[:2])
            assert (np.array([1, 1, -1, -1]) * (box.numpy() - seen) <= 1.5).all()
            assert (np.array([-1, -1, 1, 1]) * (box.numpy() - seen) <= slack).all()
            kept += 1
    assert kept > 40


def test_boxes_lie_in_the_image() -> None:
    for seed in range(40):
        boxes = _vary(_example("detection"), Augment(rotate=45, scale=0.9), seed)["boxes"].numpy()
        assert (boxes >= 0).all() and (boxes <= [160, 120, 160, 120]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


def test_a_flip_is_exact() -> None:
    example = _example("detection")
    flipped = next(
        varied
        for seed in range(9)
        if (varied := _vary(example, MOVING["flip"], seed))["boxes"][0, 0] != example["boxes"][0, 0]
    )
    assert torch.equal(flipped["image"], example["image"].flip(-1))
    x1, y1, x2, y2 = example["boxes"].unbind(1)
    assert torch.equal(flipped["boxes"], torch.stack([160 - x2, y1, 160 - x1, y2], 1))
    assert torch.equal(flipped["labels"], example["labels"])


def test_what_leaves_the_view_leaves_the_labels() -> None:
    numbers = {len(_vary(_example("detection"), Augment(scale=0.95), s)["labels"]) for s in range(60)}
    assert numbers >= {1, 2}


def test_a_class_map_has_no_class_where_the_image_ends() -> None:
    example = _example("semantic-segmentation")
    for seed in range(20):
        varied = _vary(example, Augment(scale=0.5, cutout=0.2), seed)
        mask, gray = varied["mask"].numpy(), (varied["image"].numpy() == GRAY).all(axis=0)
        assert set(np.unique(mask)) <= {0, 1, 2, IGNORE}
        assert (gray == (mask == IGNORE)).mean() > 0.97
        for label in range(2):
            shown = _painted(varied["image"], label)
            assert (shown == (mask == label + 1)).mean() > 0.98


def test_a_cut_out_hides_a_share_and_takes_what_it_hides() -> None:
    left = set()
    for seed in range(100):
        varied = _vary(_example("detection"), Augment(cutout=0.5), seed)
        gray = (varied["image"].numpy() == GRAY).all(axis=0)
        assert gray.mean() <= 0.51
        for box, label in zip(varied["boxes"].tolist(), varied["labels"].tolist(), strict=True):
            x1, y1, x2, y2 = (round(v) for v in box)
            assert _painted(varied["image"], label)[y1:y2, x1:x2].mean() > 0.08
        left.add(len(varied["labels"]))
    assert left >= {1, 2}


@pytest.mark.parametrize("augment", [Augment(colour=0.6), Augment(contrast=0.4), Augment(noise=0.1)])
def test_colours_change_and_nothing_moves(augment: Augment) -> None:
    example = _example()
    before = example["image"].clone()
    varied = _vary(example, augment, 3)
    assert varied["image"].dtype == torch.uint8 and not torch.equal(varied["image"], before)
    assert torch.equal(example["image"], before)
    for name in ("boxes", "labels", "masks"):
        assert torch.equal(varied[name], example[name])


def test_nothing_asked_is_nothing_done() -> None:
    example = _example()
    varied = _vary(example, PRESETS["none"], 3)
    assert varied.keys() == example.keys()
    assert all(torch.equal(varied[name], example[name]) for name in ("image", "boxes", "labels", "masks"))


def test_lots_follow_from_the_seed_and_torch_draws_none() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (_vary(_example(), PRESETS["strong"], seed) for seed in (1, 1, 2))
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["boxes"], again["boxes"])
    assert not torch.equal(first["image"], other["image"])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_image_without_objects_is_varied_too() -> None:
    for task in ("detection", "instance-segmentation"):
        pixels, annotations = shapes(2, task)[-1]
        varied = _vary(
            data.to_example("empty", pixels, annotations, Schema.of(task, CLASSES)), PRESETS["strong"], 1
        )
        assert varied["boxes"].shape == (0, 4) and len(varied["labels"]) == 0


def test_what_was_asked_for_and_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    job = make_job(tmp_path, "detection", "detr", tmp_path / "base", asked=("flip", "mosaic"))
    with pytest.raises(ModelError) as error:
        refuse(job.recipe, ("mosaic",), "detr")
    assert str(error.value) == "detr cannot vary images by mosaic -> take mosaic out of [train]"
    refuse(make_job(tmp_path, "detection", "detr", tmp_path / "base").recipe, ("mosaic",), "detr")


@pytest.mark.parametrize("task", ["detection", "semantic-segmentation"])
def test_a_sheet_shows_three_images_four_times(tmp_path: Path, task: TaskName) -> None:
    write_dataset(tmp_path / "dataset", task, {"train": shapes(5, task)})
    job = make_job(tmp_path, task, "detr", tmp_path, augment=PRESETS["strong"])
    preview_sheet(job, tmp_path / "preview.png")
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.size == (4 * 368 + 8, 3 * 278 + 8)
        tiles = [np.asarray(sheet.crop((8 + 368 * c, 8, 368 + 368 * c, 278))) for c in range(4)]
    assert all((tiles[0] != tile).any() for tile in tiles[1:])

"""Fine-tuning of U-Nets and the other networks of segmentation-models-pytorch.

Images are seen as large as they are, or with their longer side `image_size` pixels, which then is saved
with the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from workflow.models import Guesses, Options, Pixels
from workflow.models.device import upload
from workflow.models.unet import Unet
from workflow.project.rows import read_json, write_json
from workflow.records import Annotation
from workflow.tasks import BACKGROUND
from workflow.training import Job, Report, Trained, data, lora
from workflow.training.augment import IGNORE, Example, refuse
from workflow.training.loop import fit, seed_everything
from workflow.training.relabel import carry
from workflow.training.semantic import Pair, as_seen, collate
from workflow.training.sheet import preview_sheet

LEARNING_RATES = {"head": 1e-3, "lora": 1e-3, "full": 5e-4}
HEAD = "segmentation_head"


def train(job: Job, report: Report) -> Trained:
    """Fine-tune `job.base`; the adapters of a LoRA are merged into the network that is kept."""
    learner = UnetSegmentation(job)
    rate = job.recipe.learning_rate or LEARNING_RATES[job.recipe.method]
    fitted = fit(learner, job, report, learning_rate=rate, arguments=learner.arguments)
    files = job.scratch / "files"
    lora.save(learner.model, files, job.spec)
    write_json(files / "model" / "names.json", learner.names)
    return data.trained("unet", job, learner, fitted, files)


def preview(job: Job, path: Path) -> None:
    """Draw a sheet of training images as they are varied."""
    refuse(job.recipe, ("mosaic",), "unet")
    preview_sheet(job, path)


class UnetSegmentation:
    """A `loop.Learner` that teaches the network within an annotator, and asks that to validate."""

    metric = "mIoU"

    def __init__(self, job: Job) -> None:
        refuse(job.recipe, ("mosaic",), "unet")
        self._job = job
        self._samples, self.selection = data.splits(job)
        self.steps = data.steps(self._samples, job)
        seed_everything(job.recipe.seed)
        self.names = relabelled(job, job.scratch / "start")
        self._annotator = Unet(job.spec, job.scratch / "start", Options(device=job.device))
        self.device = self._annotator.device
        network = self._annotator.network
        self.model, adapted = lora.apply(network, job.recipe.method, job.recipe.lora_rank, [HEAD])
        # Adapters come after the network was moved.
        self.model.to(self.device)
        self.arguments = {"image_size": job.recipe.image_size} | adapted

    def batches(self, epoch: int) -> Iterator[Pair]:
        for some in data.batches(self._samples, self._pair, self._job, epoch):
            yield collate(some)

    def loss(self, batch: Pair) -> tuple[Tensor, int]:
        pixels, masks = (upload(part, self.device) for part in batch)
        logits = self.model(pixels)
        logits = logits[0] if isinstance(logits, tuple) else logits
        if bool((masks == IGNORE).all()):
            # A mean over no pixel is no number; nothing is to be learned here.
            return logits.float().sum() * 0, len(pixels)
        return cross_entropy(logits.float(), masks, ignore_index=IGNORE), len(pixels)

    def validate(self) -> tuple[None, float]:
        def ask(images: list[Pixels], truths: list[list[Annotation]]) -> list[Guesses]:
            return self._annotator.annotate(images, [()] * len(images), self._job.schema.classes)

        return None, data.score(self.selection, ask, self._job.recipe.batch).score or 0.0

    def _pair(self, example: Example, rng: np.random.Generator) -> Pair:
        image = example["image"].numpy().transpose(1, 2, 0)
        pixels = self._annotator.prepare([image])["pixel_values"][0]
        height, width = self._annotator.seen(*image.shape[:2])
        mask = as_seen(example["mask"].as_subclass(Tensor), pixels[:, :height, :width])
        return pixels, _filled(mask, pixels)


def relabelled(job: Job, folder: Path) -> dict[str, Any]:
    """Write `folder`: the base, made to tell background and the classes; the content of its names.json."""
    assert isinstance(job.base, Path)
    base = Unet(job.spec, job.base, Options(device="cpu")).network
    config = read_json(job.base / "config.json")
    known = read_json(job.base / "names.json")
    names: Sequence[str] = (BACKGROUND, *job.schema.classes)
    settings = {name: value for name, value in config.items() if not name.startswith("_")}
    changes = {"classes": len(names), "encoder_weights": None, "activation": None}
    fresh = type(base)(**settings | changes)
    head = [name for name in base.state_dict() if name.startswith(HEAD)]
    carry(base, fresh, head, known["names"], names)
    fresh.save_pretrained(folder)
    card = known | {"names": list(names)}
    if job.recipe.image_size is not None:
        card["image_size"] = job.recipe.image_size
    write_json(folder / "names.json", card)
    return card


def _filled(mask: Tensor, pixels: Tensor) -> Tensor:
    """The mask at the size of the filled-up image; the margin is of no class."""
    filled = mask.new_full(pixels.shape[-2:], IGNORE)
    filled[: mask.shape[0], : mask.shape[1]] = mask
    return filled

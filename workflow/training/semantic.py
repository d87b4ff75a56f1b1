"""Fine-tuning of semantic segmentation: SegFormer, UperNet, BEiT, DPT and their kin.

A model made here tells what no one painted, "background", beside the project's classes: pixel value 0, as
in the dataset. Images are scaled as the checkpoint's own processor says, and their masks in step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workflow.errors import ModelError
from workflow.models import Guesses, Pixels, hub
from workflow.models.batches import by_batch, same_size_batches
from workflow.models.device import pick_device, upload
from workflow.models.segments import class_masks, softmax, without_background
from workflow.records import Annotation, Provenance
from workflow.tasks import BACKGROUND
from workflow.training import Job, Report, Trained, data, lora
from workflow.training.augment import IGNORE, Example, refuse
from workflow.training.detection import resize
from workflow.training.loop import fit, seed_everything
from workflow.training.relabel import telling
from workflow.training.sheet import preview_sheet

# SegFormer's publishers take 6e-5 for the encoder and ten times that for the head, on large sets.
LEARNING_RATES = {"head": 1e-3, "lora": 5e-4, "full": 2e-4}
GUESSED = Provenance("model", "training")
Pair = tuple[Tensor, Tensor]


def train(job: Job, report: Report) -> Trained:
    """Fine-tune `job.base`; the adapters of a LoRA are merged into the model that is kept."""
    learner = Segmentation(job)
    rate = job.recipe.learning_rate or LEARNING_RATES[job.recipe.method]
    fitted = fit(learner, job, report, learning_rate=rate, arguments=learner.arguments)
    files = job.scratch / "files"
    lora.save(learner.model, files, job.spec)
    learner.processor.save_pretrained(files / "model")
    return data.trained("semantic", job, learner, fitted, files)


def preview(job: Job, path: Path) -> None:
    """Draw a sheet of training images as they are varied."""
    refuse(job.recipe, ("mosaic",), "semantic")
    preview_sheet(job, path)


class Segmentation:
    """A `loop.Learner`: model, processor and data of one job."""

    metric = "mIoU"

    def __init__(self, job: Job) -> None:
        refuse(job.recipe, ("mosaic",), "semantic")
        self._job = job
        self._samples, self.selection = data.splits(job)
        self.steps = data.steps(self._samples, job)
        self.device = pick_device(job.device)
        seed_everything(job.recipe.seed)
        model, self.processor = open_model(job)
        self.model, adapted = lora.apply(model, job.recipe.method, job.recipe.lora_rank, head_of(model))
        self.model.to(self.device)
        self.arguments = {"image_size": dict(self.processor.size)} | adapted

    def batches(self, epoch: int) -> Iterator[Pair]:
        for some in data.batches(self._samples, self._pair, self._job, epoch):
            yield collate(some)

    def loss(self, batch: Pair) -> tuple[Tensor, int]:
        pixels, masks = (upload(part, self.device) for part in batch)
        if bool((masks == IGNORE).all()):
            # A mean over no pixel is no number; nothing is to be learned here.
            return self.model(pixel_values=pixels).logits.float().sum() * 0, len(pixels)
        return self.model(pixel_values=pixels, labels=masks).loss, len(pixels)

    def validate(self) -> tuple[float, float]:
        losses: list[tuple[Tensor, int]] = []
        names = without_background(self.model.config.id2label, {})

        def ask(images: list[Pixels], truths: list[list[Annotation]]) -> list[Guesses]:
            def look(inputs: Tensor, numbers: list[int]) -> list[Guesses]:
                masks = [self._mask(truths[number], images[number], inputs) for number in numbers]
                labels = upload(torch.stack(masks), self.device)
                outputs = self.model(pixel_values=upload(inputs, self.device), labels=labels)
                losses.append((torch.nan_to_num(outputs.loss), len(numbers)))
                sizes = [images[number].shape[:2] for number in numbers]
                return class_masks(outputs.logits.float(), sizes, names, softmax, 0.0, GUESSED)

            return by_batch(same_size_batches(self.processor, images), len(images), look)

        metrics = data.score(self.selection, ask, self._job.recipe.batch)
        loss = sum(float(value) * count for value, count in losses) / len(self.selection)
        return loss, metrics.score or 0.0

    def _pair(self, example: Example, rng: np.random.Generator) -> Pair:
        image = example["image"].as_subclass(Tensor)
        inputs = self.processor(images=[image], input_data_format="channels_first", return_tensors="pt")
        pixels = inputs["pixel_values"][0]
        return pixels, as_seen(example["mask"].as_subclass(Tensor), pixels)

    def _mask(self, truth: Sequence[Annotation], image: Pixels, inputs: Tensor) -> Tensor:
        example = data.to_example("", image, truth, self._job.schema)
        return as_seen(example["mask"].as_subclass(Tensor), inputs)


def open_model(job: Job) -> tuple[Any, Any]:
    """The base, made to tell background and the classes, and its processor, at the job's image size."""
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    folder, _ = hub.find(job.family, job.spec, job.base)
    model, processor = hub.load_parts(
        AutoModelForSemanticSegmentation, AutoImageProcessor, job.spec, folder, hub.WHOLE
    )
    processor.do_center_crop = False
    # The masks here have a background of their own.
    processor.do_reduce_labels = False
    if job.recipe.image_size is not None:
        resize(processor, job.recipe.image_size)
    return telling(model, (BACKGROUND, *job.schema.classes)), processor


def head_of(model: Any) -> list[str]:
    """The names of the parts that say which class, as `decode_head`. ModelError without any."""
    heads = [name for name, _ in model.named_children() if "head" in name]
    if not heads:
        parts = ", ".join(name for name, _ in model.named_children())
        what = f"{type(model).__name__} has no part that is a head by name, only {parts}"
        raise ModelError(what, "set train.method to full")
    return heads


def as_seen(mask: Tensor, pixels: Tensor) -> Tensor:
    """A mask (height, width) as class numbers, at the size the model takes its image at, (..., h, w)."""
    return interpolate(mask[None, None].float(), pixels.shape[-2:], mode="nearest-exact")[0, 0].long()


def collate(pairs: Sequence[Pair]) -> Pair:
    """One batch; images of other sizes are filled up, to the right and below, with what is of no class."""
    height, width = (max(pixels.shape[side] for pixels, _ in pairs) for side in (-2, -1))
    images = torch.zeros(len(pairs), 3, height, width)
    masks = torch.full((len(pairs), height, width), IGNORE)
    for number, (pixels, mask) in enumerate(pairs):
        h, w = mask.shape
        images[number, :, :h, :w], masks[number, :h, :w] = pixels, mask
    return images, masks

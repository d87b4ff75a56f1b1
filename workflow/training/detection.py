"""Fine-tuning of detection transformers: RF-DETR, LW-DETR, RT-DETRv2, D-FINE, DEIMv2, DETR and their kin.

Images are scaled as the checkpoint's own processor says, so that the annotator sees what training saw;
`image_size` changes the processor, which is saved with the model.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from workflow.models import Guesses, Pixels, detr, hub
from workflow.models.batches import by_batch, same_size_batches
from workflow.models.boxes import clip_rows, to_guesses
from workflow.models.device import pick_device, upload
from workflow.records import Annotation, Provenance
from workflow.training import Job, Report, Trained, data, lora
from workflow.training.augment import Example, refuse
from workflow.training.loop import fit, seed_everything
from workflow.training.relabel import telling
from workflow.training.sheet import preview_sheet

# The publishers' own, for all weights; a fresh head alone, or small adapters, stand more.
LEARNING_RATES = {"head": 1e-3, "lora": 5e-4, "full": 1e-4}
CLIP = 0.1
# Boxes less sure are not asked for, here and in evaluation.
THRESHOLD = 0.01
# What says which class and where, by its names in the models of transformers.
HEAD = (
    "class_embed",
    "bbox_embed",
    "class_labels_classifier",
    "bbox_predictor",
    "enc_score_head",
    "enc_bbox_head",
    "enc_out_class_embed",
    "enc_out_bbox_embed",
    "denoising_class_embed",
)
GUESSED = Provenance("model", "training")


class Target(NamedTuple):
    """One image as a model takes it, (3, h, w), with its objects: boxes cxcywh in shares of its sides."""

    pixels: Tensor
    labels: dict[str, Tensor]


class Batch(NamedTuple):
    """Images filled up to one size, `mask` (n, h, w) where they lie, None where they fill it."""

    pixels: Tensor
    mask: Tensor | None
    labels: list[dict[str, Tensor]]


def train(job: Job, report: Report) -> Trained:
    """Fine-tune `job.base`; the adapters of a LoRA are merged into the model that is kept."""
    learner = Detection(job)
    rate = job.recipe.learning_rate or LEARNING_RATES[job.recipe.method]
    fitted = fit(learner, job, report, learning_rate=rate, arguments=learner.arguments, clip=CLIP)
    files = job.scratch / "files"
    lora.save(learner.model, files, job.spec)
    learner.processor.save_pretrained(files / "model")
    return data.trained("detr", job, learner, fitted, files)


def preview(job: Job, path: Path) -> None:
    """Draw a sheet of training images as they are varied."""
    refuse(job.recipe, ("mosaic",), "detr")
    preview_sheet(job, path)


class Detection:
    """A `loop.Learner`: model, processor and data of one job."""

    metric = "mAP50-95"

    def __init__(self, job: Job) -> None:
        refuse(job.recipe, ("mosaic",), "detr")
        self._job = job
        self._samples, self.selection = data.splits(job)
        self.steps = data.steps(self._samples, job)
        self.device = pick_device(job.device)
        seed_everything(job.recipe.seed)
        model, self.processor = open_model(job)
        self.model, adapted = lora.apply(model, job.recipe.method, job.recipe.lora_rank, head_of(model))
        self.model.to(self.device)
        self.arguments = {"image_size": dict(self.processor.size)} | adapted
        self._masked = "pixel_mask" in inspect.signature(model.forward).parameters

    def batches(self, epoch: int) -> Iterator[Batch]:
        for some in data.batches(self._samples, self._target, self._job, epoch):
            yield collate(some, self._masked)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        more = {}
        if self._masked and batch.mask is not None:
            more["pixel_mask"] = upload(batch.mask, self.device)
        outputs = self.model(
            pixel_values=upload(batch.pixels, self.device), labels=self._upload(batch.labels), **more
        )
        return outputs.loss, len(batch.labels)

    def validate(self) -> tuple[float, float]:
        losses: list[tuple[Tensor, int]] = []
        names = self.model.config.id2label

        def ask(images: list[Pixels], truths: list[list[Annotation]]) -> list[Guesses]:
            def look(inputs: Tensor, numbers: list[int]) -> Iterator[Guesses]:
                labels = [self._labels(truths[number], images[number]) for number in numbers]
                outputs = self.model(pixel_values=upload(inputs, self.device), labels=self._upload(labels))
                losses.append((outputs.loss, len(numbers)))
                sizes = [(images[number].shape[0], images[number].shape[1]) for number in numbers]
                rows = detr.to_rows(outputs, self.processor, sizes, THRESHOLD)
                for one, size in zip(rows, sizes, strict=True):
                    yield to_guesses(clip_rows(one, *size), names, GUESSED)

            return by_batch(same_size_batches(self.processor, images), len(images), look)

        metrics = data.score(self.selection, ask, self._job.recipe.batch)
        loss = sum(float(value) * count for value, count in losses) / len(self.selection)
        return loss, metrics.score or 0.0

    def _target(self, example: Example, rng: np.random.Generator) -> Target:
        image = example["image"].as_subclass(Tensor)
        inputs = self.processor(images=[image], input_data_format="channels_first", return_tensors="pt")
        boxes = example["boxes"].as_subclass(Tensor)
        return Target(inputs["pixel_values"][0], to_labels(example["labels"], boxes, *image.shape[-2:]))

    def _labels(self, truth: Sequence[Annotation], image: Pixels) -> dict[str, Tensor]:
        example = data.to_example("", image, truth, self._job.schema)
        return to_labels(example["labels"], example["boxes"].as_subclass(Tensor), *image.shape[:2])

    def _upload(self, labels: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        return [{name: upload(value, self.device) for name, value in one.items()} for one in labels]


def open_model(job: Job) -> tuple[Any, Any]:
    """The base, made to tell the project's classes, and its processor, at the job's image size."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    folder, _ = hub.find(job.family, job.spec, job.base)
    model, processor = hub.load_parts(AutoModelForObjectDetection, AutoImageProcessor, job.spec, folder)
    if job.recipe.image_size is None:
        return telling(model, job.schema.classes), processor
    resize(processor, job.recipe.image_size)
    # What some keep ready for the size that they were trained at.
    kept = [name for name in ("anchor_image_size", "eval_size") if hasattr(model.config, name)]
    return telling(model, job.schema.classes, **dict.fromkeys(kept)), processor


def resize(processor: Any, side: int) -> None:
    """Let a processor scale images to a square of `side`, or the shorter edge, the longer's limit with it."""
    size = dict(processor.size)
    if "shortest_edge" in size:
        processor.size = {"shortest_edge": side} | (
            {"longest_edge": round(side * size["longest_edge"] / size["shortest_edge"])}
            if size.get("longest_edge")
            else {}
        )
    else:
        processor.size = {"height": side, "width": side}


def head_of(model: Any) -> list[str]:
    """The names of the modules that say which class and where."""
    heads = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in HEAD]
    return [name for name in heads if not any(name.startswith(f"{other}.") for other in heads)]


def to_labels(classes: Tensor, boxes: Tensor, height: int, width: int) -> dict[str, Tensor]:
    """Class numbers and boxes, xyxy in pixels, as transformers' detectors are taught."""
    shares = box_convert(boxes, "xyxy", "cxcywh") / torch.tensor([width, height, width, height])
    return {"class_labels": classes, "boxes": shares}


def collate(targets: Sequence[Target], masked: bool) -> Batch:
    """One batch, filled up to the right and below.

    A model that takes a mask sees each image by itself, as it will one alone; to another the filled-up
    frame is the image, so that the boxes are shares of the frame.
    """
    height, width = (max(one.pixels.shape[side] for one in targets) for side in (-2, -1))
    if all(one.pixels.shape[-2:] == (height, width) for one in targets):
        return Batch(torch.stack([one.pixels for one in targets]), None, [one.labels for one in targets])
    pixels = torch.zeros(len(targets), 3, height, width)
    mask = torch.zeros(len(targets), height, width, dtype=torch.int64)
    labels = []
    for number, one in enumerate(targets):
        h, w = one.pixels.shape[-2:]
        pixels[number, :, :h, :w] = one.pixels
        mask[number, :h, :w] = 1
        share = torch.ones(4) if masked else torch.tensor([w / width, h / height] * 2)
        labels.append(one.labels | {"boxes": one.labels["boxes"] * share})
    return Batch(pixels, mask, labels)

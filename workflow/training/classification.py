"""Fine-tuning of image classifiers, of transformers and timm: one label an image, or any number of them.

The base may be a classifier of other classes, or a model of images and texts (CLIP, SigLIP), whose image
part gets a head. Images are prepared by the checkpoint's own processor, as the annotator's are;
`image_size` changes the processor, which is saved with the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflow.errors import ModelError
from workflow.models import Guesses, Pixels, classifier
from workflow.models.batches import by_batch, same_size_inputs
from workflow.models.device import pick_device, upload
from workflow.models.labels import probabilities, to_labels
from workflow.records import Annotation, Provenance
from workflow.training import Job, Report, Trained, data, lora
from workflow.training.augment import Example, refuse
from workflow.training.loop import fit, seed_everything
from workflow.training.sheet import preview_sheet

# A fresh head alone, or small adapters, stand more than weights that know something already.
LEARNING_RATES = {"head": 1e-3, "lora": 5e-4, "full": 5e-5}
# What normalises over the batch was made for larger steps.
WITH_BATCH_NORM = {"full": 5e-4}
TIMM = "timm_wrapper"
GUESSED = Provenance("model", "training")


class Batch(NamedTuple):
    """What the processor makes of n images, by name; the truth: classes (n,), or 0s and 1s (n, classes)."""

    inputs: dict[str, Tensor]
    truth: Tensor


def train(job: Job, report: Report) -> Trained:
    """Fine-tune `job.base`; the adapters of a LoRA are merged into the model that is kept."""
    learner = Classification(job)
    rate = job.recipe.learning_rate or default_rate(learner.model, job.recipe.method)
    fitted = fit(learner, job, report, learning_rate=rate, arguments=learner.arguments)
    files = job.scratch / "files"
    merged = lora.save(learner.model, files, job.spec)
    if merged.config.model_type != TIMM:
        # timm keeps how images are prepared in the model's own config.
        learner.processor.save_pretrained(files / "model")
    return data.trained("classifier", job, learner, fitted, files)


def preview(job: Job, path: Path) -> None:
    """Draw a sheet of training images as they are varied."""
    refuse(job.recipe, ("mosaic",), "a classifier")
    preview_sheet(job, path)


def default_rate(model: nn.Module, method: str) -> float:
    """The learning rate where none is set."""
    batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return (LEARNING_RATES | (WITH_BATCH_NORM if batch_norm else {}))[method]


class Classification:
    """A `loop.Learner`: model, processor and data of one job."""

    def __init__(self, job: Job) -> None:
        refuse(job.recipe, ("mosaic",), "a classifier")
        self._job = job
        self._exclusive = job.schema.task.exclusive
        self.metric = "accuracy" if self._exclusive else "mAP"
        self._samples, self.selection = data.splits(job)
        self.steps = data.steps(self._samples, job)
        self.device = pick_device(job.device)
        seed_everything(job.recipe.seed)
        model, self.processor = open_base(job)
        head = sorted({name.rpartition(".")[0] for name in classifier.head_weights(model)})
        self.model, adapted = lora.apply(model, job.recipe.method, job.recipe.lora_rank, head)
        self.model.to(self.device)
        self.arguments = {"image_size": image_size(self.processor)} | adapted

    def batches(self, epoch: int) -> Iterator[Batch]:
        for some in data.batches(self._samples, self._prepared, self._job, epoch):
            yield self._collate(some)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        logits = self._logits(batch.inputs)
        return self._mean_loss(logits, upload(batch.truth, self.device)), len(batch.truth)

    def validate(self) -> tuple[float, float]:
        total = 0.0
        names = dict(enumerate(self._job.schema.classes))

        def ask(images: list[Pixels], truths: list[list[Annotation]]) -> list[Guesses]:
            def look(inputs: dict[str, Tensor], numbers: list[int]) -> Iterator[Guesses]:
                nonlocal total
                logits = self._logits(inputs)
                labels = [torch.tensor([self._number(a) for a in truths[n]]) for n in numbers]
                truth = torch.stack([self._truth(one) for one in labels])
                total += float(self._mean_loss(logits, upload(truth, self.device))) * len(numbers)
                for scores in probabilities(logits, self._exclusive):
                    yield to_labels(scores, names, self._exclusive, 0.0, GUESSED)

            return by_batch(same_size_inputs(self.processor, images), len(images), look)

        metrics = data.score(self.selection, ask, self._job.recipe.batch)
        return total / len(self.selection), metrics.score or 0.0

    def _logits(self, inputs: dict[str, Tensor]) -> Tensor:
        outputs = self.model(**{name: upload(values, self.device) for name, values in inputs.items()})
        return outputs.logits.float()

    def _mean_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        compare = F.cross_entropy if self._exclusive else F.binary_cross_entropy_with_logits
        return compare(logits, truth)

    def _number(self, annotation: Annotation) -> int:
        return self._job.schema.classes.index(annotation.label)

    def _truth(self, labels: Tensor) -> Tensor:
        """Class numbers of one image as the loss takes them: the one class, or 0 or 1 for each."""
        if self._exclusive:
            return labels[0]
        return torch.zeros(len(self._job.schema.classes)).index_fill(0, labels.long(), 1.0)

    def _prepared(self, example: Example, rng: np.random.Generator) -> Batch:
        pixels = example["image"].permute(1, 2, 0).contiguous().numpy()
        ((_, inputs),) = same_size_inputs(self.processor, [pixels])
        return Batch(inputs, self._truth(example["labels"])[None])

    def _collate(self, some: Sequence[Batch]) -> Batch:
        shapes = {tuple(one.inputs["pixel_values"].shape) for one in some}
        if len(shapes) > 1:
            what = (
                f"{self._job.spec} keeps images in their own shape, and training takes batches of one shape"
            )
            raise ModelError(what, "take another base, or crop the images")
        inputs = {name: torch.cat([one.inputs[name] for one in some]) for name in some[0].inputs}
        return Batch(inputs, torch.cat([one.truth for one in some]))


def open_base(job: Job) -> tuple[Any, Any]:
    """The base, telling the job's classes, and its processor, at the job's image size.

    ModelError where the network takes images of its own size only.
    """
    multi_label = not job.schema.task.exclusive
    model, processor, _ = classifier.open_model(job.spec, job.base, job.schema.classes, multi_label)
    if job.recipe.image_size is None:
        return model, processor
    return model, _resized(model, processor, job.recipe.image_size, job.spec)


def image_size(processor: Any) -> int | None:
    """The side of the square that a processor makes of every image; None where it makes none."""
    if hasattr(processor, "data_config"):
        return processor.data_config["input_size"][-1]
    if getattr(processor, "do_center_crop", False):
        return processor.crop_size["height"]
    size = dict(getattr(processor, "size", None) or {})
    return size.get("height") or size.get("shortest_edge")


def resize(processor: Any, side: int) -> None:
    """Let a processor of transformers give squares of `side`; what it cuts off stays in proportion."""
    scale = side / (image_size(processor) or side)
    edges = {edge: length for edge, length in dict(processor.size).items() if length}
    processor.size = {edge: round(length * scale) for edge, length in edges.items()}
    if getattr(processor, "do_center_crop", False):
        processor.crop_size = {"height": side, "width": side}


def _resized(model: Any, processor: Any, side: int, spec: str) -> Any:
    """The processor, made to give squares of `side`, if the model takes them."""
    if model.config.model_type == TIMM:
        model.config.pretrained_cfg = model.config.pretrained_cfg | {"input_size": [3, side, side]}
        processor = type(processor)(pretrained_cfg=model.config.pretrained_cfg)
    elif image_size(processor):
        resize(processor, side)
    if image_size(processor) != side or not _takes(model, processor, side):
        raise ModelError(f"{spec} takes images of its own size only", "take image_size out of [train]")
    return processor


def _takes(model: Any, processor: Any, side: int) -> bool:
    ((_, inputs),) = same_size_inputs(processor, [np.zeros((side, side, 3), np.uint8)])
    try:
        with torch.no_grad():
            model(**inputs)
    except (ValueError, RuntimeError):
        return False
    return True

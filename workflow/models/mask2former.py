"""Mask2Former and MaskFormer through transformers (Apache-2.0): masks of objects, or a mask a class.

Both give the same network outputs, so a checkpoint does not say by itself which it was trained for. Its
name does, as the publisher's are called (`...-coco-instance`, `...-ade-semantic`); where it does not, the
spec must: `mask2former:models/cells#instance`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels, hub
from workflow.models.boxes import THRESHOLD, known_labels
from workflow.models.detr import same_size_batches
from workflow.models.device import autocast, pick_device, upload
from workflow.models.segments import AT_ONCE, best_of_each_place, class_masks, without_background
from workflow.project.rows import digest
from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor

KINDS = {"mask2former", "maskformer"}
TASKS: dict[str, TaskName] = {"instance": "instance-segmentation", "semantic": "semantic-segmentation"}


class Mask2Former:
    """A Mask2Former or MaskFormer checkpoint as an Annotator, of the task that its spec tells.

    Images are scaled as the checkpoint's own processor says, whatever `image_size` is.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        folder, content = hub.find("mask2former", spec, checkpoint)
        hub.check_kind(spec, folder, KINDS)
        self.name = spec
        self.task = task_of(spec)
        self._device = pick_device(options.device)
        from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

        self._model, self._processor = hub.load_parts(
            AutoModelForUniversalSegmentation, AutoImageProcessor, spec, folder, hub.WHOLE
        )
        self._model.to(self._device)
        self.revision = digest([content, self.task, options.identity()])
        self._own_names = without_background(self._model.config.id2label, options.class_map)
        self._threshold = options.threshold
        self._class_map = options.class_map
        self._one_label_a_place = options.one_label_a_place

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._class_map.get(n, n) for n in self._own_names.values()))

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = known_labels(self.name, self._own_names, self._class_map, classes)
        tell = self._instances if self.task == "instance-segmentation" else self._semantic
        found: list[Guesses] = [()] * len(images)
        for numbers, inputs in same_size_batches(self._processor, images):
            sizes = [images[number].shape[:2] for number in numbers]
            said = tell(*self._forward(inputs), sizes, labels)
            for number, guesses in zip(numbers, said, strict=True):
                found[number] = guesses
        return found

    def close(self) -> None:
        del self._model

    def _forward(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """Class probabilities (image, query, class) and mask logits (image, query, h, w) of the queries."""
        import torch

        with torch.inference_mode(), autocast(self._device):
            outputs = self._model(pixel_values=upload(inputs, self._device))
        # The last class is that of a query which found nothing.
        likely = outputs.class_queries_logits.float().softmax(dim=-1)[..., :-1]
        return likely, outputs.masks_queries_logits.float()

    def _semantic(
        self, likely: Tensor, drawn: Tensor, sizes: list[tuple[int, ...]], labels: Mapping[int, str]
    ) -> list[Guesses]:
        """Each pixel's class is that of the queries which claim it (Cheng et al. 2022, section 3)."""
        import torch

        rasters = torch.einsum("bqc,bqhw->bchw", likely, drawn.sigmoid())
        return class_masks(rasters, sizes, labels, _claims, self._threshold or 0.0, self._provenance())

    def _instances(
        self, likely: Tensor, drawn: Tensor, sizes: list[tuple[int, ...]], labels: Mapping[int, str]
    ) -> list[Guesses]:
        threshold = THRESHOLD if self._threshold is None else self._threshold
        found = []
        for one, logits, (height, width) in zip(likely, drawn, sizes, strict=True):
            names, queries, chances = _best(one, labels, threshold)
            bits, scores = _at_full_size(logits[queries], chances, height, width)
            said = [
                Annotation(name, self._provenance(), mask=masks.encode(mask), score=score)
                for name, mask, score in zip(names, bits, scores, strict=True)
                if score > threshold and mask.any()
            ]
            said.sort(key=lambda a: -(a.score or 0))
            found.append(best_of_each_place(said) if self._one_label_a_place else tuple(said))
        return found

    def _provenance(self) -> Provenance:
        return Provenance("model", self.name, self.revision)


def task_of(spec: str) -> TaskName:
    """What a checkpoint is of, by the `#` in its spec or else by its name; ModelError where neither tells."""
    checkpoint, _, said = spec.partition("#")
    words = {said} if said else set(re.split(r"[^a-z]+", Path(checkpoint).name.lower()))
    told = [task for word, task in TASKS.items() if word in words]
    if len(told) != 1:
        what = f"model {spec!r}: does not say whether it is of instances or of classes"
        raise ModelError(what, f"write {checkpoint}#instance or {checkpoint}#semantic")
    return told[0]


def _claims(raster: Tensor) -> Tensor:
    """Sums of what queries claim of a pixel, as shares where they claim more than there is."""
    return raster / raster.sum(dim=0).clamp(min=1)


def _best(likely: Tensor, labels: Mapping[int, str], threshold: float) -> tuple[list[str], Any, Any]:
    """Names, queries and class probabilities of the best pairs of query and class, one a query on average."""
    import torch

    names = list(dict.fromkeys(labels.values()))
    members = [[index for index, label in labels.items() if label == name] for name in names]
    # What several of the model's classes say of one of the project's adds up.
    merged = torch.stack([likely[:, some].sum(dim=1) for some in members], dim=1).clamp(max=1)
    chances, places = merged.flatten().topk(len(likely))
    places = places[chances > threshold]
    kinds = (places % len(names)).tolist()
    return [names[kind] for kind in kinds], places // len(names), chances[: len(places)]


def _at_full_size(logits: Tensor, chances: Tensor, height: int, width: int) -> tuple[list[Any], list[float]]:
    """Masks (height, width) of logits (n, h, w), and scores: the class's chance times the mask's mean one."""
    from torch.nn.functional import interpolate

    bits: list[Any] = []
    scores: list[float] = []
    some = max(1, AT_ONCE // (height * width))
    for first in range(0, len(logits), some):
        part = logits[None, first : first + some]
        large = interpolate(part, (height, width), mode="bilinear", align_corners=False)[0]
        inside = large > 0
        certainty = (large.sigmoid() * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)
        bits += list(inside.cpu().numpy())
        scores += (chances[first : first + some] * certainty).tolist()
    return bits, scores


def fetch(checkpoint: str, folder: Path) -> None:
    hub.fetch("mask2former", checkpoint)


def on_this_machine() -> list[str]:
    """The checkpoints of this family in the hub's cache."""
    return list(hub.cached_checkpoints(lambda config: config.get("model_type") in KINDS))

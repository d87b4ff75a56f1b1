"""Semantic segmentation through transformers (Apache-2.0): SegFormer, UperNet, BEiT, DPT and their kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.models import Guesses, Options, Pixels, hub
from workflow.models.boxes import known_labels
from workflow.models.detr import same_size_batches
from workflow.models.device import autocast, pick_device, upload
from workflow.models.segments import class_masks, softmax, without_background
from workflow.project.rows import digest
from workflow.records import Provenance
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor


class Semantic:
    """Any checkpoint that transformers' AutoModelForSemanticSegmentation knows, as an Annotator.

    One mask a class, of the pixels where it is the likeliest; its score is their mean probability, and
    without a threshold all come back. Images are scaled as the checkpoint's own processor says, whatever
    `image_size` is, but never cut: every pixel gets its class.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        folder, content = hub.find("semantic", spec, checkpoint)
        self._device = pick_device(options.device)
        from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

        self._model, self._processor = hub.load_parts(
            AutoModelForSemanticSegmentation, AutoImageProcessor, spec, folder, hub.WHOLE
        )
        self._processor.do_center_crop = False
        self._model.to(self._device)
        self.name = spec
        self.task: TaskName = "semantic-segmentation"
        self.revision = digest([content, options.identity()])
        self._own_names = without_background(self._model.config.id2label, options.class_map)
        self._threshold = options.threshold or 0.0
        self._class_map = options.class_map

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._class_map.get(n, n) for n in self._own_names.values()))

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = known_labels(self.name, self._own_names, self._class_map, classes)
        provenance = Provenance("model", self.name, self.revision)
        return find_masks(self._ask, self._processor, images, labels, self._threshold, provenance)

    def close(self) -> None:
        del self._model

    def _ask(self, inputs: Tensor, numbers: Sequence[int]) -> Any:
        import torch

        with torch.inference_mode(), autocast(self._device):
            return self._model(pixel_values=upload(inputs, self._device))


def find_masks(
    ask: Callable[[Tensor, Sequence[int]], Any],
    processor: Any,
    images: Sequence[Pixels],
    labels: Mapping[int, str],
    threshold: float,
    provenance: Provenance,
) -> list[Guesses]:
    """One mask a class of each image; see `segments.class_masks`.

    `ask` gives the model's outputs, whose logits (image, class, h, w) are a share of the image's size, for
    pixel values on the host, and is told the numbers of their images.
    """
    found: list[Guesses] = [()] * len(images)
    for numbers, inputs in same_size_batches(processor, images):
        rasters = ask(inputs, numbers).logits.float()
        sizes = [images[number].shape[:2] for number in numbers]
        said = class_masks(rasters, sizes, labels, softmax, threshold, provenance)
        for number, guesses in zip(numbers, said, strict=True):
            found[number] = guesses
    return found


def fetch(checkpoint: str, folder: Path) -> None:
    hub.fetch("semantic", checkpoint)


def on_this_machine() -> list[str]:
    """The checkpoints of this family in the hub's cache."""
    return list(hub.cached_checkpoints(_is_semantic))


def _is_semantic(config: dict[str, Any]) -> bool:
    return any(name.endswith("ForSemanticSegmentation") for name in config.get("architectures") or [])

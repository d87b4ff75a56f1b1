"""Detection transformers through transformers (Apache-2.0): DETR, RT-DETRv2, D-FINE and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workflow.models import Guesses, Options, Pixels, hub
from workflow.models.boxes import THRESHOLD, best_of_each_place, clip_rows, known_labels, to_guesses
from workflow.models.device import autocast, pick_device, upload
from workflow.project.rows import digest
from workflow.records import Provenance
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor


class Detr:
    """Any checkpoint that transformers' AutoModelForObjectDetection knows, as an Annotator.

    Images are scaled as the checkpoint's own processor says, whatever `image_size` is.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        folder, content = hub.find("detr", spec, checkpoint)
        self._device = pick_device(options.device)
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        self._model, self._processor = hub.load_parts(
            AutoModelForObjectDetection, AutoImageProcessor, spec, folder
        )
        self._model.to(self._device)
        self.name = spec
        self.task: TaskName = "detection"
        self.revision = digest([content, options.identity()])
        self._own_names: dict[int, str] = dict(self._model.config.id2label)
        self._threshold = THRESHOLD if options.threshold is None else options.threshold
        self._class_map = options.class_map
        self._one_label_a_place = options.one_label_a_place

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._class_map.get(n, n) for n in self._own_names.values()))

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = known_labels(self.name, self._own_names, self._class_map, classes)
        provenance = Provenance("model", self.name, self.revision)
        predicted = find_rows(self._ask, self._processor, images, self._threshold)
        found: list[Guesses] = []
        for image, rows in zip(images, predicted, strict=True):
            rows = clip_rows(rows[np.isin(rows[:, 5], list(labels))], *image.shape[:2])
            if self._one_label_a_place:
                rows = best_of_each_place(rows, across_classes=True)
            found.append(to_guesses(rows, labels, provenance))
        return found

    def close(self) -> None:
        del self._model

    def _ask(self, inputs: Tensor, numbers: Sequence[int]) -> Any:
        import torch

        with torch.inference_mode(), autocast(self._device):
            return self._model(pixel_values=upload(inputs, self._device))


def find_rows(
    ask: Callable[[Tensor, Sequence[int]], Any], processor: Any, images: Sequence[Pixels], threshold: float
) -> list[NDArray]:
    """Rows of x1, y1, x2, y2, score, class for each image, as the model gives them, some outside the image.

    `ask` gives the model's outputs for pixel values on the host, and is told the numbers of their images.
    """
    rows: list[NDArray] = [np.empty((0, 6))] * len(images)
    for numbers, inputs in same_size_batches(processor, images):
        outputs = ask(inputs, numbers)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        sizes = [images[number].shape[:2] for number in numbers]
        found = processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=sizes)
        for number, result in zip(numbers, found, strict=True):
            parts = (result["boxes"], result["scores"][:, None], result["labels"][:, None])
            rows[number] = np.hstack([part.float().cpu().numpy() for part in parts])
    return rows


def same_size_batches(processor: Any, images: Sequence[Pixels]) -> list[tuple[list[int], Any]]:
    """Pixel values of images that come out of the processor at one size, with the images' numbers.

    Padding images of other sizes to a common one would make an image's guesses depend on its neighbours.
    """
    import torch

    groups: dict[tuple[int, ...], list[tuple[int, Any]]] = {}
    for number, image in enumerate(images):
        # torch warns of memory that it may not write to.
        writable = np.require(image, requirements="W")
        inputs = processor(images=[writable], input_data_format="channels_last", return_tensors="pt")
        pixels = inputs["pixel_values"]
        groups.setdefault(tuple(pixels.shape), []).append((number, pixels))
    return [
        ([number for number, _ in group], torch.cat([pixels for _, pixels in group]))
        for group in groups.values()
    ]


def fetch(checkpoint: str, folder: Path) -> None:
    hub.fetch("detr", checkpoint)


def on_this_machine() -> list[str]:
    """The checkpoints of this family in the hub's cache."""
    return list(hub.cached_checkpoints(_is_detector))


def _is_detector(config: dict[str, Any]) -> bool:
    names = config.get("architectures") or []
    return config.get("model_type") not in OPEN_VOCABULARY and any(
        name.endswith("ForObjectDetection") for name in names
    )


OPEN_VOCABULARY = {"grounding-dino", "mm-grounding-dino", "omdet-turbo", "owlv2", "owlvit"}

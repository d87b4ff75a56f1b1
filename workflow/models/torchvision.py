"""torchvision's own models (BSD-3-Clause): classifiers of ImageNet, detectors and Mask R-CNN of COCO.

How a checkpoint is named is in `workflow.models.torchvision_weights`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.models import Guesses, Options, Pixels
from workflow.models import torchvision_weights as weights
from workflow.models.boxes import THRESHOLD, best_of_each_place, clip_rows, known_labels, to_guesses
from workflow.models.device import autocast, pick_device, upload
from workflow.models.labels import probabilities, to_labels
from workflow.project.rows import digest
from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor

# These stand in COCO's list for no class.
NO_CLASS = {"__background__", "N/A"}
# So many masks are spread over the whole image at a time: at twelve megapixels, one takes 48 MB.
PASTED = 8


class Torchvision:
    """One of torchvision's classifiers, box detectors or Mask R-CNNs as an Annotator.

    A detector's `image_size` is the longer side that images are scaled to, except for SSD, which has one
    size; without it, the sides are torchvision's. A classifier's is that of its weights.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        self._device = pick_device(options.device)
        parts = (
            weights.open_file(spec, checkpoint)
            if isinstance(checkpoint, Path)
            else weights.open_cached(spec, checkpoint)
        )
        self._model = parts.model.to(self._device).eval()
        self.name = spec
        self.task: TaskName = weights.task(parts.architecture)
        self.revision = digest([parts.content, options.identity()])
        self._own_names = {number: name for number, name in enumerate(parts.names) if name not in NO_CLASS}
        self._class_map = options.class_map
        self._one_label_a_place = options.one_label_a_place
        self._transforms = weights.best(parts.architecture).transforms()
        if self.task == "classification":
            self._threshold = options.threshold or 0.0
        else:
            self._threshold = THRESHOLD if options.threshold is None else options.threshold
            _set_up(self._model, self._threshold, options.image_size)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._class_map.get(n, n) for n in self._own_names.values()))

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        import torch

        labels = known_labels(self.name, self._own_names, self._class_map, classes)
        provenance = Provenance("model", self.name, self.revision)
        with torch.inference_mode():
            if self.task == "classification":
                return self._classify(images, labels, provenance) if images else []
            found: list[Guesses] = [()] * len(images)
            for numbers in _same_shape(images):
                guesses = self._detect([images[number] for number in numbers], labels, provenance)
                for number, said in zip(numbers, guesses, strict=True):
                    found[number] = said
            return found

    def close(self) -> None:
        del self._model

    def _classify(self, images: Sequence[Pixels], labels: Mapping[int, str], by: Provenance) -> list[Guesses]:
        import torch

        pixels = torch.stack([self._prepare(image) for image in images])
        with autocast(self._device):
            logits = self._model(upload(pixels, self._device))
        scores = probabilities(logits, exclusive=True)
        return [to_labels(one, labels, True, self._threshold, by) for one in scores]

    def _detect(self, images: Sequence[Pixels], labels: Mapping[int, str], by: Provenance) -> list[Guesses]:
        """Guesses of images of one size, so that none is padded to the size of another."""
        # Not in mixed precision: the boxes would be, too, and a bfloat16 near 800 is up to 2 pixels off.
        pixels = [upload(self._prepare(image), self._device) for image in images]
        shape = images[0].shape[:2]
        if self.task == "detection":
            return [self._boxes(one, shape, labels, by) for one in self._model(pixels)]
        detections, small = _before_pasting(self._model, pixels)
        return [self._masks(one, small, shape, labels, by) for one in detections]

    def _prepare(self, image: Pixels) -> Tensor:
        import torch

        return self._transforms(torch.from_numpy(image.transpose(2, 0, 1).copy()))

    def _boxes(
        self, found: Mapping[str, Tensor], shape: tuple[int, ...], labels: Mapping[int, str], by: Provenance
    ) -> Guesses:
        rows = self._chosen(found, labels)
        return to_guesses(clip_rows(rows, *shape)[:, :6], labels, by)

    def _masks(
        self,
        found: Mapping[str, Tensor],
        small: tuple[int, int],
        shape: tuple[int, ...],
        labels: Mapping[int, str],
        by: Provenance,
    ) -> Guesses:
        """Masks over the whole image, where the model is more sure than not; one without a pixel is none."""
        rows = self._chosen(found, labels)
        guesses: list[Annotation] = []
        for start in range(0, len(rows), PASTED):
            some = rows[start : start + PASTED]
            chosen = some[:, 6].astype(int).tolist()
            parts = {name: found[name][chosen] for name in ("boxes", "masks")}
            (pasted,) = self._model.transform.postprocess([parts], [small], [shape])
            bits = (pasted["masks"][:, 0] > 0.5).cpu().numpy()
            guesses += [
                Annotation(labels[int(row[5])], by, mask=masks.encode(mask), score=float(row[4]))
                for row, mask in zip(some, bits, strict=True)
                if mask.any()
            ]
        return tuple(guesses)

    def _chosen(self, found: Mapping[str, Tensor], labels: Mapping[int, str]) -> np.ndarray:
        """Rows of x1, y1, x2, y2, score, class, number of the detection: of `labels`, best first."""
        import torch

        numbers = torch.arange(len(found["scores"]), device=found["scores"].device)
        columns = [found["scores"], found["labels"], numbers]
        rows = torch.cat([found["boxes"], torch.stack(columns, dim=1)], dim=1).double().cpu().numpy()
        rows = rows[np.isin(rows[:, 5], list(labels))]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return best_of_each_place(rows, across_classes=True) if self._one_label_a_place else rows


def _same_shape(images: Sequence[Pixels]) -> Iterator[list[int]]:
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        groups.setdefault(image.shape, []).append(number)
    yield from groups.values()


def _before_pasting(model: Any, pixels: list[Tensor]) -> tuple[list[dict[str, Tensor]], tuple[int, int]]:
    """What a Mask R-CNN's heads find in images of one size, in pixels of the scaled image, and its size.

    As the model's own `forward`, which would spread every mask over the whole image at once.
    """
    images, _ = model.transform(pixels)
    features = model.backbone(images.tensors)
    proposals, _ = model.rpn(images, features)
    detections, _ = model.roi_heads(features, proposals, images.image_sizes)
    return detections, images.image_sizes[0]


def _set_up(model: Any, threshold: float, image_size: int | None) -> None:
    (model.roi_heads if hasattr(model, "roi_heads") else model).score_thresh = threshold
    if image_size and model.transform.fixed_size is None:
        model.transform.min_size, model.transform.max_size = (image_size,), image_size


def fetch(checkpoint: str, folder: Path) -> None:
    weights.fetch(checkpoint)


def on_this_machine() -> list[str]:
    """The models whose weights are in torch's cache."""
    return [name for name in weights.architectures() if weights.cached_file(name).exists()]

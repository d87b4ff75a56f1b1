"""torchvision's own models (BSD-3-Clause): classifiers of ImageNet, detectors and Mask R-CNN of COCO.

How a checkpoint is named is in `workflow.models.torchvision_weights`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.models import Guesses, Later, Options, Pixels
from workflow.models import torchvision_weights as weights
from workflow.models.batches import Batch, fitted, same_shape
from workflow.models.boxes import best_of_each_place, clip_rows, to_guesses
from workflow.models.device import autocast, pick_device, ready, upload
from workflow.models.frame import NAMES_TOO, Frame, Size
from workflow.models.labels import probabilities, to_labels
from workflow.records import Annotation
from workflow.shapes import masks

if TYPE_CHECKING:
    from torch import Tensor

# These stand in COCO's list for no class.
NO_CLASS = {"__background__", "N/A"}
# So many masks are spread over the whole image at a time: at twelve megapixels, one takes 48 MB.
PASTED = 8


class Torchvision(Frame):
    """One of torchvision's classifiers, box detectors or Mask R-CNNs as an Annotator.

    A detector's `image_size` is the longer side that images are scaled to, except for SSD, which has one
    size; without it, the sides are torchvision's. A classifier's is that of its weights.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        self._device = pick_device(options.device)
        self.engine = f"PyTorch, {self._device}"
        parts = (
            weights.open_file(spec, checkpoint)
            if isinstance(checkpoint, Path)
            else weights.open_cached(spec, checkpoint)
        )
        self._model = ready(parts.model, self._device, options.compiled).eval()
        names = {number: name for number, name in enumerate(parts.names) if name not in NO_CLASS}
        super().__init__(spec, options, weights.task(parts.architecture), [parts.content], names)
        self._transforms = weights.best(parts.architecture).transforms()
        if self.task != "classification":
            _set_up(self._model, self._threshold, options)

    @property
    def decided_later(self) -> frozenset[Later]:  # type: ignore[override]
        """Of classifiers all of it. A detector's suppression moves boxes apart by the largest of them, among
        which those of low scores would be too: by a rounding error, it leaves others."""
        return NAMES_TOO if self.task == "classification" else frozenset()

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        weights.fetch(checkpoint)

    @classmethod
    def on_this_machine(cls) -> list[str]:
        """The models whose weights are in torch's cache."""
        return [name for name in weights.architectures() if weights.cached_file(name).exists()]

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        if self.task == "classification":
            return [(list(range(len(images))), images)] if images else []
        return same_shape(images)

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        import torch

        with torch.inference_mode():
            if self.task == "classification":
                return self._classify(inputs, labels)
            # Not in mixed precision: the boxes would be, too, and a bfloat16 near 800 is up to 2 pixels off.
            pixels = [upload(self._prepare(image), self._device) for image in inputs]
            if self.task == "detection":
                detections = self._model(pixels)
                return [
                    self._boxes(place, _enlarged(one, size[0] / image.shape[0]), size, labels)
                    for place, (one, image, size) in enumerate(zip(detections, inputs, sizes, strict=True))
                ]
            detections, small = _before_pasting(self._model, pixels)
            return [
                self._masks(place, one, small, size, labels)
                for place, (one, size) in enumerate(zip(detections, sizes, strict=True))
            ]

    def _seen_at(self, height: int, width: int) -> Size | None:
        if self.task == "classification":
            (short,) = self._transforms.resize_size
            return fitted(height, width, short / min(height, width))
        scaling = self._model.transform
        if scaling.fixed_size is not None:
            wide, high = scaling.fixed_size
            return high, wide
        (short,) = scaling.min_size
        return fitted(height, width, min(short / min(height, width), scaling.max_size / max(height, width)))

    def _classify(self, images: Sequence[Pixels], labels: Mapping[int, str]) -> list[Guesses]:
        import torch

        pixels = torch.stack([self._prepare(image) for image in images])
        with autocast(self._device):
            logits = self._model(upload(pixels, self._device))
        scores = probabilities(logits, exclusive=True)
        return [to_labels(one, labels, True, self._threshold, self._provenance()) for one in scores]

    def _prepare(self, image: Pixels) -> Tensor:
        import torch

        return self._transforms(torch.from_numpy(image.transpose(2, 0, 1).copy()))

    def _boxes(
        self, place: int, detections: Mapping[str, Tensor], size: Size, labels: Mapping[int, str]
    ) -> Guesses:
        rows = self._chosen(place, detections, labels)
        return to_guesses(clip_rows(rows, *size)[:, :6], labels, self._provenance())

    def _masks(
        self,
        place: int,
        detections: Mapping[str, Tensor],
        small: Size,
        size: Size,
        labels: Mapping[int, str],
    ) -> Guesses:
        """Masks over the whole image, where the model is more sure than not; one without a pixel is none."""
        rows = self._chosen(place, detections, labels)
        guesses: list[Annotation] = []
        for start in range(0, len(rows), PASTED):
            some = rows[start : start + PASTED]
            chosen = some[:, 6].astype(int).tolist()
            parts = {name: detections[name][chosen] for name in ("boxes", "masks")}
            (pasted,) = self._model.transform.postprocess([parts], [small], [size])
            bits = (pasted["masks"][:, 0] > 0.5).cpu().numpy()
            guesses += [
                Annotation(
                    labels[int(row[5])], self._provenance(), mask=masks.encode(mask), score=float(row[4])
                )
                for row, mask in zip(some, bits, strict=True)
                if mask.any()
            ]
        return tuple(guesses)

    def _chosen(self, place: int, detections: Mapping[str, Tensor], labels: Mapping[int, str]) -> np.ndarray:
        """Rows of x1, y1, x2, y2, score, class, number of the detection: of `labels`, best first."""
        import torch

        self._count_full(place, detections["scores"].tolist(), self._options.max_det)
        numbers = torch.arange(len(detections["scores"]), device=detections["scores"].device)
        columns = [detections["scores"], detections["labels"], numbers]
        rows = torch.cat([detections["boxes"], torch.stack(columns, dim=1)], dim=1).double().cpu().numpy()
        rows = rows[np.isin(rows[:, 5], list(labels))]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return best_of_each_place(rows, across_classes=True) if self._options.one_label_a_place else rows


def _enlarged(detections: Mapping[str, Tensor], scale: float) -> Mapping[str, Tensor]:
    """Detections in the pixels of an image that was shown at a reduced scale."""
    return {**detections, "boxes": detections["boxes"] * scale}


def _before_pasting(model: Any, pixels: list[Tensor]) -> tuple[list[dict[str, Tensor]], tuple[int, int]]:
    """What a Mask R-CNN's heads find in images of one size, in pixels of the scaled image, and its size.

    As the model's own `forward`, which would spread every mask over the whole image at once.
    """
    images, _ = model.transform(pixels)
    features = model.backbone(images.tensors)
    proposals, _ = model.rpn(images, features)
    detections, _ = model.roi_heads(features, proposals, images.image_sizes)
    return detections, images.image_sizes[0]


def _set_up(model: Any, threshold: float, options: Options) -> None:
    heads = model.roi_heads if hasattr(model, "roi_heads") else model
    heads.score_thresh, heads.detections_per_img = threshold, options.max_det
    # As many candidates must get that far: of a level's boxes, or of the first look's.
    if hasattr(model, "topk_candidates"):
        model.topk_candidates = max(model.topk_candidates, options.max_det)
    if hasattr(model, "rpn"):
        for kept in (model.rpn._pre_nms_top_n, model.rpn._post_nms_top_n):
            kept["testing"] = max(kept["testing"], options.max_det)
    if options.image_size and model.transform.fixed_size is None:
        model.transform.min_size, model.transform.max_size = (options.image_size,), options.image_size

"""Mask2Former and MaskFormer through transformers (Apache-2.0): masks of objects, or a mask a class.

Both give the same network outputs, so a checkpoint does not say by itself which it was trained for. Its
name does, as the publisher's are called (`...-coco-instance`, `...-ade-semantic`); where it does not, the
spec must: `mask2former:models/cells#instance`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Later, Options
from workflow.models.device import autocast, upload
from workflow.models.frame import THRESHOLD, HubFrame, Size
from workflow.models.segments import AT_ONCE, best_of_each_place, class_masks, without_background
from workflow.records import Annotation
from workflow.shapes import masks
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor

TASKS: dict[str, TaskName] = {"instance": "instance-segmentation", "semantic": "semantic-segmentation"}


class Mask2Former(HubFrame):
    """A Mask2Former or MaskFormer checkpoint as an Annotator.

    Its task is what the card of a run says, else what the spec tells. It gives as many objects as it has
    queries at most.
    """

    family = "mask2former"
    auto = "AutoModelForUniversalSegmentation"
    reduces = True
    kinds = ("mask2former", "maskformer")

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        task = options.task or task_of(spec)
        super().__init__(spec, checkpoint, options, task, task)

    @property
    def decided_later(self) -> frozenset[Later]:  # type: ignore[override]
        """Of classes the threshold: which names it is asked for decides whose a pixel is. Of objects nothing:
        how many are drawn at a time moves their scores in the last bits."""
        return THRESHOLD if self.task == "semantic-segmentation" else frozenset()

    def _classes(self, options: Options) -> Mapping[int, str]:
        return without_background(self._model.config.id2label, options.class_map)

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        """From class probabilities (image, query, class) and mask logits (image, query, h, w)."""
        import torch

        with torch.inference_mode(), autocast(self._device):
            outputs = self._model(pixel_values=upload(inputs, self._device))
        # The last class is that of a query which found nothing.
        likely = outputs.class_queries_logits.float().softmax(dim=-1)[..., :-1]
        guess = self._instances if self.task == "instance-segmentation" else self._semantic
        return guess(likely, outputs.masks_queries_logits.float(), sizes, labels)

    def _semantic(
        self, likely: Tensor, drawn: Tensor, sizes: Sequence[Size], labels: Mapping[int, str]
    ) -> list[Guesses]:
        """Each pixel's class is that of the queries which claim it (Cheng et al. 2022, section 3)."""
        import torch

        rasters = [
            torch.einsum("qc,qhw->chw", one, self._within(logits, size).sigmoid())
            for one, logits, size in zip(likely, drawn, sizes, strict=True)
        ]
        return class_masks(rasters, sizes, labels, claims, self._threshold, self._provenance())

    def _instances(
        self, likely: Tensor, drawn: Tensor, sizes: Sequence[Size], labels: Mapping[int, str]
    ) -> list[Guesses]:
        results: list[Guesses] = []
        most = min(likely.shape[1], self._options.max_det)
        for place, (one, logits, (height, width)) in enumerate(zip(likely, drawn, sizes, strict=True)):
            names, queries, chances = _best(one, labels, self._threshold)
            inside = self._within(logits[queries], (height, width))
            bits, scores = _at_full_size(inside, chances, height, width)
            guesses = [
                Annotation(name, self._provenance(), mask=masks.encode(mask), score=score)
                for name, mask, score in zip(names, bits, scores, strict=True)
                if score > self._threshold and mask.any()
            ]
            self._count_full(place, [a.score or 0.0 for a in guesses], most)
            guesses.sort(key=lambda a: -(a.score or 0))
            kept = best_of_each_place(guesses) if self._options.one_label_a_place else guesses
            results.append(tuple(kept[: self._options.max_det]))
        return results

    def _within(self, logits: Tensor, size: Size) -> Tensor:
        """The part of masks (n, h, w) in which the image of (height, width) lies: all of them."""
        return logits


def task_of(spec: str) -> TaskName:
    """What a checkpoint is of, by the `#` in its spec or else by its name; ModelError where neither says."""
    checkpoint, _, suffix = spec.partition("#")
    words = {suffix} if suffix else set(re.split(r"[^a-z]+", Path(checkpoint).name.lower()))
    tasks = [task for word, task in TASKS.items() if word in words]
    if len(tasks) != 1:
        what = f"model {spec!r}: does not say whether it is of instances or of classes"
        raise ModelError(what, f"write {checkpoint}#instance or {checkpoint}#semantic")
    return tasks[0]


def claims(raster: Tensor) -> Tensor:
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

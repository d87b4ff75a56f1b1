"""Semantic segmentation through transformers (Apache-2.0): SegFormer, UperNet, BEiT, DPT and their kin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow.models import Guesses, Options
from workflow.models.device import autocast, upload
from workflow.models.frame import THRESHOLD, HubFrame, Size
from workflow.models.segments import class_masks, softmax, without_background


class Semantic(HubFrame):
    """Any checkpoint that transformers' AutoModelForSemanticSegmentation knows, as an Annotator.

    One mask a class, of the pixels where it is the likeliest; its score is their mean probability, and
    without a threshold all come back. Images are never cut: every pixel gets its class.
    """

    family = "semantic"
    auto = "AutoModelForSemanticSegmentation"
    reduces = True
    # Which names it is asked for decides whose a pixel is.
    decided_later = THRESHOLD

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "semantic-segmentation")
        self._processor.do_center_crop = False

    def _classes(self, options: Options) -> Mapping[int, str]:
        return without_background(self._model.config.id2label, options.class_map)

    @classmethod
    def _takes(cls, config: Mapping[str, Any]) -> bool:
        return any(name.endswith("ForSemanticSegmentation") for name in config.get("architectures") or [])

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        import torch

        with torch.inference_mode(), autocast(self._device):
            rasters = self._model(pixel_values=upload(inputs, self._device)).logits.float()
        return class_masks(rasters, sizes, labels, softmax, self._threshold, self._provenance())

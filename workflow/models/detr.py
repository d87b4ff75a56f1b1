"""Detection transformers through transformers (Apache-2.0): RF-DETR, LW-DETR, D-FINE, DETR and their kin.

DEIM has D-FINE's network, and DEIMv2 one of its own. The library asks each for its boxes in the same way.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.models import Guesses, Options, hub
from workflow.models.boxes import best_of_each_place, clip_rows, to_guesses
from workflow.models.device import autocast, upload
from workflow.models.frame import NAMES_TOO, HubFrame, Size
from workflow.models.open_vocabulary import OpenVocabulary
from workflow.project.settings import MAX_DET


class Detr(HubFrame):
    """Any checkpoint that transformers' AutoModelForObjectDetection knows, as an Annotator.

    It gives as many boxes as it has queries at most, 300 in most checkpoints.
    """

    family = "detr"
    auto = "AutoModelForObjectDetection"
    reduces = True
    head = hub.DETECTION_HEAD
    decided_later = NAMES_TOO

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "detection")

    def _classes(self, options: Options) -> Mapping[int, str]:
        return self._model.config.id2label

    @classmethod
    def _takes(cls, config: Mapping[str, Any]) -> bool:
        names = config.get("architectures") or []
        return config.get("model_type") not in OpenVocabulary.kinds and any(
            name.endswith("ForObjectDetection") for name in names
        )

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        import torch

        with torch.inference_mode(), autocast(self._device):
            outputs = self._model(pixel_values=upload(inputs, self._device))
        _, queries, classes = outputs.logits.shape
        # Some give a query's box for one class, others for any number of them.
        most = queries * classes if _ranks(self._processor) else queries
        every = to_rows(outputs, self._processor, sizes, self._threshold, self._options.max_det)
        for place, (rows, size) in enumerate(zip(every, sizes, strict=True)):
            self._count_full(place, rows[:, 4], min(most, self._options.max_det))
            known = clip_rows(rows[np.isin(rows[:, 5], list(labels))], *size)
            if self._options.one_label_a_place:
                known = best_of_each_place(known, across_classes=True)
            yield to_guesses(known[: self._options.max_det], labels, self._provenance())


def to_rows(
    outputs: Any, processor: Any, sizes: Sequence[Size], threshold: float, most: int = MAX_DET
) -> list[NDArray]:
    """Rows of x1, y1, x2, y2, score, class for each image of (height, width), some outside the image.

    `most` is for processors that rank all pairs of query and class, and keep 100 by themselves.
    """
    ranked = {"top_k": most} if _ranks(processor) else {}
    outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
    results = processor.post_process_object_detection(
        outputs, threshold=threshold, target_sizes=[tuple(size) for size in sizes], **ranked
    )
    columns = [(r["boxes"], r["scores"][:, None], r["labels"][:, None]) for r in results]
    return [np.hstack([part.float().cpu().numpy() for part in parts]) for parts in columns]


def _ranks(processor: Any) -> bool:
    return "top_k" in inspect.signature(processor.post_process_object_detection).parameters

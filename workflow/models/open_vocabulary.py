"""Detectors that find what a prompt names, through transformers (Apache-2.0): Grounding DINO and OWLv2.

The prompts are the project's class names. `prompts` say otherwise, as does `class_map`, prompt -> class:
{"a school bus": "bus", "a minibus": "bus"} asks for two things and calls both bus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import ModelError
from workflow.models import Guesses, Options, hub
from workflow.models.boxes import best_of_each_place, clip_rows, to_guesses
from workflow.models.device import autocast, upload
from workflow.models.frame import THRESHOLD, HubFrame, Size
from workflow.models.prompts import sentences

GROUNDED = ("grounding-dino", "mm-grounding-dino")
OWL = ("owlv2", "owlvit")


class OpenVocabulary(HubFrame):
    """A Grounding DINO, MM Grounding DINO, OWL-ViT or OWLv2 checkpoint as an Annotator.

    It gives as many boxes as it has queries at most, 900 in Grounding DINO.
    """

    family = "open-vocabulary"
    auto = "AutoModelForZeroShotObjectDetection"
    reduces = True
    processor = "AutoProcessor"
    kinds = (*GROUNDED, *OWL)
    head = hub.DETECTION_HEAD
    # It is asked in the words of the project.
    decided_later = THRESHOLD

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "detection")
        self._kind: str = self._model.config.model_type

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        # Any words do, so no class is unknown; two prompts of a class are one class.
        return dict(enumerate(classes))

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        classes = list(labels.values())
        prompts = {
            sentence: classes.index(label)
            for label, some in sentences(self.name, classes, self._options).items()
            for sentence in some
        }
        meaning = np.array([*prompts.values()])
        predicted = self._predict(inputs, sizes, list(prompts))
        for place, (rows, size) in enumerate(zip(predicted, sizes, strict=True)):
            rows = clip_rows(rows, *size)
            rows[:, 5] = meaning[rows[:, 5].astype(int)]
            rows = best_of_each_place(rows, self._options.one_label_a_place)
            self._count_full(place, rows[:, 4], self._options.max_det)
            yield to_guesses(rows[: self._options.max_det], labels, self._provenance())

    def _predict(self, pixels: Any, sizes: Sequence[Size], prompts: list[str]) -> list[np.ndarray]:
        """Rows of x1, y1, x2, y2, score, prompt number for each image: each box's best prompt."""
        rows: list[list[np.ndarray]] = [[] for _ in sizes]
        first = 0
        for part in self._parts(prompts):
            scores, boxes = self._forward(pixels, part)
            for place, (one_scores, one_boxes, size) in enumerate(zip(scores, boxes, sizes, strict=True)):
                some = self._rows(one_scores, one_boxes, size)
                self._count_full(place, some[:, 4], len(one_scores))
                some[:, 5] += first
                rows[place].append(some)
            first += len(part)
        return [np.concatenate(own) for own in rows]

    def _parts(self, prompts: list[str]) -> list[list[str]]:
        """As many prompts at a time as the text model can read; OWL reads each by itself."""
        if self._kind in OWL:
            return [prompts]
        room = self._model.config.max_text_len - 2
        parts: list[list[str]] = [[]]
        used = 0
        for prompt in prompts:
            tokens = self._processor.tokenizer(f"{_clean(prompt)}.", add_special_tokens=False)["input_ids"]
            length = len(tokens)
            if not 1 < length <= room:
                what = f"model {self.name!r}: cannot read {prompt[:40]!r} as a prompt ({length - 1} words)"
                raise ModelError(what, "name the class otherwise in preannotate.prompts")
            if used + length > room:
                parts.append([])
                used = 0
            parts[-1].append(prompt)
            used += length
        return parts

    def _forward(self, pixels: Any, prompts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (image, box, prompt) and boxes (image, box, cx cy w h as shares)."""
        import torch

        count = len(pixels)
        if self._kind in OWL:
            text = self._processor.tokenizer(
                prompts, padding="max_length", truncation=True, return_tensors="pt"
            )
            text = {k: text[k].repeat(count, 1) for k in ("input_ids", "attention_mask")}
        else:
            sentence = " ".join(f"{_clean(prompt)}." for prompt in prompts)
            text = self._processor.tokenizer(
                [sentence] * count, return_tensors="pt", return_token_type_ids=True
            )
        text = {k: upload(v, self._device) for k, v in text.items()}
        with torch.inference_mode(), autocast(self._device):
            outputs = self._model(pixel_values=upload(pixels, self._device), **text)
        scores = outputs.logits.float().sigmoid().cpu().numpy()
        if self._kind in GROUNDED:
            scores = _by_prompt(scores, text["input_ids"][0].tolist(), self._full_stop(), len(prompts))
        return scores, outputs.pred_boxes.float().cpu().numpy()

    def _full_stop(self) -> int:
        return self._processor.tokenizer.convert_tokens_to_ids(".")

    def _rows(self, scores: np.ndarray, boxes: np.ndarray, size: Size) -> np.ndarray:
        height, width = size
        # OWLv2 pads an image to a square, to the right and below; boxes are shares of that square.
        span = np.array([max(height, width)] * 2 if self._kind == "owlv2" else [width, height])
        centre, half = boxes[:, :2] * span, boxes[:, 2:] * span / 2
        best = scores.max(axis=1)
        rows = np.hstack([centre - half, centre + half, best[:, None], scores.argmax(axis=1)[:, None]])
        return rows[best > self._threshold]


def _clean(prompt: str) -> str:
    """A prompt as Grounding DINO reads it: lower case, and no full stop, which ends a prompt there."""
    return " ".join(prompt.lower().replace(".", " ").replace("?", " ").split())


def _by_prompt(scores: np.ndarray, tokens: list[int], full_stop: int, count: int) -> np.ndarray:
    """Scores of tokens (image, box, token) to those of prompts: a prompt's best token counts.

    The library would spell the tokens above a threshold back into a phrase, which may be a part of a
    prompt or of two; scores by position say which prompt is meant.
    """
    ends = [position for position, token in enumerate(tokens) if token == full_stop]
    starts = [1, *(end + 1 for end in ends[:-1])]
    assert len(ends) == count
    return np.stack([scores[..., a:b].max(axis=-1) for a, b in zip(starts, ends, strict=True)], axis=-1)

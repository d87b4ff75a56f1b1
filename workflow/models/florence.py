"""Florence-2 through transformers (Apache-2.0): boxes of what words name, written as text, without scores.

It is asked for one prompt at a time, so that whatever it answers is of that prompt, and answers with four
tokens a box, each the number of one of 1,000 equal bins of the image's width or height.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.errors import ModelError
from workflow.models import Guesses, Options
from workflow.models.boxes import best_of_each_place, clip_rows, to_guesses
from workflow.models.device import autocast, upload
from workflow.models.frame import HubFrame, Size
from workflow.models.prompts import sentences

TASK = "<OPEN_VOCABULARY_DETECTION>"
BINS = 1000
# What an answer may have at most where the checkpoint says nothing else: some 250 boxes.
TOKENS = 1024
# As its publisher asks it.
BEAMS = 3


class Florence(HubFrame):
    """A Florence-2 checkpoint as an Annotator.

    A guess has no score: the model writes that it is there. Of what is not there it may write so, too, for it
    has been asked where that is.
    """

    family = "florence"
    auto = "AutoModelForImageTextToText"
    processor = "AutoProcessor"
    kinds = ("florence2",)
    reduces = True

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "detection")
        tokenizer = self._processor.tokenizer
        bins = [tokenizer.convert_tokens_to_ids(f"<loc_{number}>") for number in range(BINS)]
        if {None, tokenizer.unk_token_id} & {*bins}:
            what = f"model {spec!r}: its tokenizer lacks some of <loc_0> to <loc_{BINS - 1}>"
            raise ModelError(what, "take florence:florence-community/Florence-2-base-ft")
        self._bins = {token: number for number, token in enumerate(bins)}
        self._most: int = self._model.generation_config.max_new_tokens or TOKENS

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        # Any words do, so no class is unknown.
        return dict(enumerate(classes))

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        classes = list(labels.values())
        asked = sentences(self.name, classes, self._options)
        rows: list[list[NDArray]] = [[] for _ in sizes]
        cut_off = set()
        # Without scores the first is as good as the last: the order is the words', not the project's.
        for label, prompt in sorted((label, prompt) for label, some in asked.items() for prompt in some):
            for place, tokens in enumerate(self._answers(inputs, prompt)):
                rows[place].append(self._rows(tokens, sizes[place], classes.index(label)))
                cut_off |= {place} if len(tokens) >= self._most else set()
        for place, size in enumerate(sizes):
            if place in cut_off:
                self._count_full(place, [1.0] * (self._most // 4), self._most // 4)
            every = clip_rows(np.concatenate(rows[place]), *size)
            known = best_of_each_place(every, self._options.one_label_a_place)
            self._count_full(place, known[:, 4], self._options.max_det)
            guesses = to_guesses(known[: self._options.max_det], labels, self._provenance())
            yield tuple(replace(a, score=None) for a in guesses)

    def _answers(self, pixels: Any, prompt: str) -> list[list[int]]:
        """The tokens of the answer for each image, without what stands before and after."""
        import torch

        tokenizer = self._processor.tokenizer
        sentence = self._processor.task_prompts_with_input[TASK].format(input=prompt)
        image = self._processor.image_token * self._processor.num_image_tokens
        text = image + tokenizer.bos_token + sentence + tokenizer.eos_token
        words = tokenizer([text] * len(pixels), add_special_tokens=False, return_tensors="pt")
        words = {k: upload(words[k], self._device) for k in ("input_ids", "attention_mask")}
        with torch.inference_mode(), autocast(self._device):
            answers = self._model.generate(
                pixel_values=upload(pixels, self._device),
                max_new_tokens=self._most,
                num_beams=BEAMS,
                do_sample=False,
                **words,
            ).tolist()
        # The first is what the decoder starts with.
        return [[token for token in answer[1:] if token != tokenizer.pad_token_id] for answer in answers]

    def _rows(self, tokens: Sequence[int], size: Size, number: int) -> NDArray:
        """Rows of x1, y1, x2, y2, score, class: each four bins that follow each other, by their middles."""
        height, width = size
        boxes: list[list[int]] = []
        run: list[int] = []
        for token in tokens:
            run = [*run, self._bins[token]] if token in self._bins else []
            if len(run) == 4:
                boxes.append(run)
                run = []
        corners = (np.array(boxes, dtype=float).reshape(-1, 4) + 0.5) / BINS * [width, height, width, height]
        low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
        # It has no score. Here all are as good as any, and stay in their order.
        return np.hstack([low, high, np.ones((len(low), 1)), np.full((len(low), 1), number)])

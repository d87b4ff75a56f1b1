"""SAM 3 through transformers (Apache-2.0; the weights have a licence of their own): masks of what words name.

Each image is looked at once, and asked for each prompt by itself. A checkpoint as it is published, for
videos, holds two networks: the detector is this family, what draws where a person clicks is `sam:CHECKPOINT`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options
from workflow.models.device import autocast, upload
from workflow.models.frame import THRESHOLD, HubFrame, Size
from workflow.models.prompts import sentences
from workflow.models.segments import AT_ONCE, best_of_each_place
from workflow.records import Annotation
from workflow.shapes import masks

if TYPE_CHECKING:
    from torch import Tensor

# The longest prompt in tokens, by the processor's own code.
ROOM = 32


class Sam3(HubFrame):
    """A SAM 3 checkpoint as an Annotator: a mask for each thing that a prompt names.

    A score is how sure the model is of the thing times how sure it is that the image has any such thing. It
    gives as many things of a prompt as it has queries at most, 200 in the published one.
    """

    family = "sam3"
    auto = "Sam3Model"
    processor = "Sam3Processor"
    kinds = ("sam3", "sam3_video")
    # It is asked in the words of the project.
    decided_later = THRESHOLD

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "instance-segmentation")
        self._embeddings: dict[str, tuple[Tensor, Tensor]] = {}

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        # Any words do, so no class is unknown.
        return dict(enumerate(sentences(self.name, classes, self._options)))

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        import torch

        results: list[list[Annotation]] = [[] for _ in sizes]
        with torch.inference_mode(), autocast(self._device):
            seen = self._model.get_vision_features(pixel_values=upload(inputs, self._device))
            for label, prompts in sentences(self.name, list(labels.values()), self._options).items():
                for prompt in prompts:
                    outputs = self._ask(seen, prompt, len(sizes))
                    likely = outputs.pred_logits.float().sigmoid() * outputs.presence_logits.float().sigmoid()
                    answers = zip(likely, outputs.pred_masks, sizes, strict=True)
                    for place, (scores, logits, size) in enumerate(answers):
                        sure = scores > self._threshold
                        self._count_full(place, scores[sure].tolist(), len(scores))
                        results[place] += self._things(label, scores[sure], logits[sure].float(), size)
        return [self._best(place, guesses) for place, guesses in enumerate(results)]

    def _ask(self, seen: Any, prompt: str, count: int) -> Any:
        """What the model says of one prompt on `count` images that it has seen."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        words, mask = self._read(prompt)
        text = BaseModelOutputWithPooling(pooler_output=words.expand(count, -1, -1))
        return self._model(vision_embeds=seen, text_embeds=text, attention_mask=mask.expand(count, -1))

    def _read(self, prompt: str) -> tuple[Tensor, Tensor]:
        """The embeddings (1, token, dimension) of a prompt's words and which of them count, computed once."""
        if prompt not in self._embeddings:
            length = len(self._processor.tokenizer(prompt)["input_ids"])
            if length > ROOM:
                what = f"model {self.name!r}: cannot read {prompt[:40]!r}... ({length} tokens)"
                raise ModelError(what, f"shorten the prompt to {ROOM} tokens")
            tokens = self._processor.tokenizer(
                [prompt], padding="max_length", max_length=ROOM, return_tensors="pt"
            )
            ids, mask = (upload(tokens[name], self._device) for name in ("input_ids", "attention_mask"))
            words = self._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
            self._embeddings[prompt] = words, mask
        return self._embeddings[prompt]

    def _things(self, label: str, scores: Tensor, logits: Tensor, size: Size) -> list[Annotation]:
        """One prompt's things on one image, from scores (query,) and mask logits (query, h, w)."""
        from torch.nn.functional import interpolate

        height, width = size
        things: list[Annotation] = []
        some = max(1, AT_ONCE // (height * width))
        for first in range(0, len(logits), some):
            large = interpolate(
                logits[None, first : first + some], size, mode="bilinear", align_corners=False
            )[0]
            for score, bits in zip(
                scores[first : first + some].tolist(), (large > 0).cpu().numpy(), strict=True
            ):
                if bits.any():
                    mask = masks.encode(bits)
                    things.append(Annotation(label, self._provenance(), mask=mask, score=score))
        return things

    def _best(self, place: int, guesses: list[Annotation]) -> Guesses:
        guesses.sort(key=lambda a: -(a.score or 0.0))
        kept = best_of_each_place(guesses) if self._options.one_label_a_place else tuple(guesses)
        self._count_full(place, [a.score or 0.0 for a in kept], self._options.max_det)
        return kept[: self._options.max_det]

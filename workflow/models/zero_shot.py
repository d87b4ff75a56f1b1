"""Classifiers that are told their classes, through transformers (Apache-2.0): SigLIP, SigLIP 2 and CLIP.

Each class is asked for by one sentence or more; what decides is how close the picture's embedding is to the
mean of theirs. Scores are as the model was trained: SigLIP says of each class by itself how likely it is,
CLIP which of the classes it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels
from workflow.models.batches import Batch, same_size_inputs
from workflow.models.device import autocast, upload
from workflow.models.frame import THRESHOLD, HubFrame, Size
from workflow.models.labels import probabilities, to_labels
from workflow.models.prompts import sentences

if TYPE_CHECKING:
    from torch import Tensor

# The kinds of model, as their configs name them, and the template each was published with.
TEMPLATES = {
    "siglip": "This is a photo of {}.",
    "siglip2": "This is a photo of {}.",
    "clip": "a photo of a {}.",
}
# So many sentences are read at a time.
BATCH = 64


class ZeroShot(HubFrame):
    """A SigLIP, SigLIP 2 (fixed size or NaFlex) or CLIP checkpoint as an Annotator.

    `image_size` is for NaFlex, which then sees as many patches as a square of that size has.
    """

    family = "zero-shot"
    auto = "AutoModel"
    reduces = True
    processor = "AutoProcessor"
    kinds = tuple(TEMPLATES)
    # It is asked in the words of the project.
    decided_later = THRESHOLD

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "classification")
        self._kind: str = self._model.config.model_type
        self._exclusive = self._kind == "clip"
        self._scaling = {}
        if self._kind == "siglip2" and options.image_size:
            side = options.image_size // self._processor.image_processor.patch_size
            self._scaling["max_num_patches"] = side**2
        self._embeddings: dict[tuple[tuple[str, ...], ...], Tensor] = {}

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        # Sorted, so that the order in which a project names its classes moves no score by a rounding error.
        prompts = self._prompts(sorted(classes))
        if self._exclusive and len(prompts) == 1:
            what = f"model {self.name!r}: says which class it is, so one alone is always right"
            raise ModelError(what, "name a second class, such as background")
        return dict(enumerate(prompts))

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        return list(same_size_inputs(self._processor.image_processor, images, **self._scaling))

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        for scores in self._scores(inputs, self._prompts(list(labels.values()))):
            yield to_labels(scores, labels, self._exclusive, self._threshold, self._provenance())

    def _prompts(self, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return sentences(self.name, classes, self._options, [TEMPLATES[self._kind]])

    def _scores(self, inputs: Mapping[str, Tensor], prompts: Mapping[str, tuple[str, ...]]) -> Any:
        """Scores (image, class) in [0, 1]."""
        import torch
        from torch.nn.functional import normalize

        classes = self._embed(tuple(prompts.values()))
        on_device = {name: upload(values, self._device) for name, values in inputs.items()}
        with torch.inference_mode():
            with autocast(self._device):
                seen = self._model.get_image_features(**on_device).pooler_output
            logits = normalize(seen.float(), dim=-1) @ classes.T * self._model.logit_scale.exp()
            if not self._exclusive:
                logits = logits + self._model.logit_bias
        return probabilities(logits, self._exclusive)

    def _embed(self, prompts: tuple[tuple[str, ...], ...]) -> Tensor:
        """The mean embedding (class, dimension) of each class's sentences, computed once."""
        import torch
        from torch.nn.functional import normalize

        if prompts not in self._embeddings:
            flat = [sentence for some in prompts for sentence in some]
            parts = [self._read(flat[start : start + BATCH]) for start in range(0, len(flat), BATCH)]
            of_classes = torch.cat(parts).split([len(some) for some in prompts])
            means = torch.stack([some.mean(dim=0) for some in of_classes])
            self._embeddings[prompts] = normalize(means, dim=-1)
        return self._embeddings[prompts]

    def _read(self, some: Sequence[str]) -> Tensor:
        """The normalised embeddings (sentence, dimension) of some sentences."""
        import torch
        from torch.nn.functional import normalize

        # All of these models learned from lower case, and not every tokenizer sees to it.
        lower = [sentence.lower() for sentence in some]
        room = self._model.config.text_config.max_position_embeddings
        self._refuse_too_long(lower, room)
        # SigLIP was trained on sentences that are filled up to one length, and attends to the filling.
        filling = {"padding": True} if self._exclusive else {"padding": "max_length", "max_length": room}
        tokens = self._processor.tokenizer(lower, return_tensors="pt", **filling)
        kept = ("input_ids", "attention_mask") if self._exclusive else ("input_ids",)
        inputs = {name: upload(tokens[name], self._device) for name in kept}
        with torch.inference_mode(), autocast(self._device):
            read = self._model.get_text_features(**inputs).pooler_output
        return normalize(read.float(), dim=-1)

    def _refuse_too_long(self, some: Sequence[str], room: int) -> None:
        """A sentence that is cut off might ask for something else."""
        for sentence, tokens in zip(some, self._processor.tokenizer(list(some))["input_ids"], strict=True):
            if len(tokens) > room:
                what = f"model {self.name!r}: cannot read {sentence[:40]!r}... ({len(tokens)} tokens)"
                raise ModelError(what, f"shorten the prompt or template to {room} tokens")

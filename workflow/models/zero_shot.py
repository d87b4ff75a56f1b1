"""Classifiers that are told their classes, through transformers (Apache-2.0): SigLIP, SigLIP 2 and CLIP.

Each class is asked for by one sentence or more; what decides is how close the picture's embedding is to the
mean of theirs. Scores are as the model was trained: SigLIP says of each class by itself how likely it is,
CLIP which of the classes it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels, hub
from workflow.models.classifier import same_size_inputs
from workflow.models.device import autocast, pick_device, upload
from workflow.models.labels import probabilities, to_labels
from workflow.models.prompts import sentences
from workflow.project.rows import digest, read_json
from workflow.records import Provenance
from workflow.tasks import TaskName

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


class ZeroShot:
    """A SigLIP, SigLIP 2 (fixed size or NaFlex) or CLIP checkpoint as an Annotator.

    Images are scaled as the checkpoint's own processor says; `image_size` is for NaFlex, which then sees as
    many patches as a square of that size has.
    """

    names: tuple[str, ...] = ()

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        folder, content = hub.find("zero-shot", spec, checkpoint)
        self._kind = str((read_json(folder / "config.json") or {}).get("model_type"))
        if self._kind not in TEMPLATES:
            what = f"model {spec!r}: a model of type {self._kind} is not of this family"
            raise ModelError(what, f"take {', '.join(TEMPLATES)}")
        self._device = pick_device(options.device)
        from transformers import AutoModel, AutoProcessor

        self._model, self._processor = hub.load_parts(AutoModel, AutoProcessor, spec, folder, head=hub.WHOLE)
        self._model.to(self._device)
        self.name = spec
        self.task: TaskName = "classification"
        self.revision = digest([content, options.identity()])
        self._options = options
        self._threshold = options.threshold or 0.0
        self._exclusive = self._kind == "clip"
        self._scaling = {}
        if self._kind == "siglip2" and options.image_size:
            side = options.image_size // self._processor.image_processor.patch_size
            self._scaling["max_num_patches"] = side**2
        self._embeddings: dict[tuple[tuple[str, ...], ...], Tensor] = {}

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        # Sorted, so that the order in which a project names its classes moves no score by a rounding error.
        asked = sentences(self.name, sorted(classes), self._options, [TEMPLATES[self._kind]])
        if self._exclusive and len(asked) == 1:
            what = f"model {self.name!r}: says which class it is, so one alone is always right"
            raise ModelError(what, "name a second class, such as background")
        labels = dict(enumerate(asked))
        provenance = Provenance("model", self.name, self.revision)
        found: list[Guesses] = [()] * len(images)
        for numbers, inputs in same_size_inputs(self._processor.image_processor, images, **self._scaling):
            for number, scores in zip(numbers, self._scores(inputs, asked), strict=True):
                found[number] = to_labels(scores, labels, self._exclusive, self._threshold, provenance)
        return found

    def close(self) -> None:
        del self._model

    def _scores(self, inputs: Mapping[str, Tensor], asked: Mapping[str, tuple[str, ...]]) -> Any:
        """Scores (image, class) in [0, 1]."""
        import torch
        from torch.nn.functional import normalize

        classes = self._embed(tuple(asked.values()))
        on_device = {name: upload(values, self._device) for name, values in inputs.items()}
        with torch.inference_mode():
            with autocast(self._device):
                seen = self._model.get_image_features(**on_device).pooler_output
            logits = normalize(seen.float(), dim=-1) @ classes.T * self._model.logit_scale.exp()
            if not self._exclusive:
                logits = logits + self._model.logit_bias
        return probabilities(logits, self._exclusive)

    def _embed(self, asked: tuple[tuple[str, ...], ...]) -> Tensor:
        """The mean embedding (class, dimension) of each class's sentences, computed once."""
        import torch
        from torch.nn.functional import normalize

        if asked not in self._embeddings:
            flat = [sentence for some in asked for sentence in some]
            parts = [self._read(flat[start : start + BATCH]) for start in range(0, len(flat), BATCH)]
            of_classes = torch.cat(parts).split([len(some) for some in asked])
            means = torch.stack([some.mean(dim=0) for some in of_classes])
            self._embeddings[asked] = normalize(means, dim=-1)
        return self._embeddings[asked]

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


def fetch(checkpoint: str, folder: Path) -> None:
    hub.fetch("zero-shot", checkpoint)


def on_this_machine() -> list[str]:
    """The checkpoints of this family in the hub's cache."""
    return list(hub.cached_checkpoints(lambda config: config.get("model_type") in TEMPLATES))

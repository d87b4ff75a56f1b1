"""CLIPSeg through transformers (Apache-2.0): the pixels of what a sentence names, untrained.

Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels, hub
from workflow.models.detr import same_size_batches
from workflow.models.device import autocast, pick_device, upload
from workflow.models.prompts import sentences
from workflow.models.segments import class_masks
from workflow.project.rows import digest, read_json
from workflow.records import Provenance
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor

KIND = "clipseg"


class ClipSeg:
    """A CLIPSeg checkpoint as an Annotator: one mask a class, of the pixels that are more likely it than not.

    Where two classes are, the likelier has the pixel; of a class's prompts the best counts. A mask's score is
    the mean probability of its pixels. Images are scaled as the checkpoint's own processor says.
    """

    names: tuple[str, ...] = ()

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        folder, content = hub.find("clipseg", spec, checkpoint)
        kind = (read_json(folder / "config.json") or {}).get("model_type")
        if kind != KIND:
            raise ModelError(f"model {spec!r}: a model of type {kind} is not of this family", f"take {KIND}")
        self._device = pick_device(options.device)
        from transformers import AutoProcessor, CLIPSegForImageSegmentation

        self._model, self._processor = hub.load_parts(
            CLIPSegForImageSegmentation, AutoProcessor, spec, folder, hub.WHOLE
        )
        self._model.to(self._device)
        self.name = spec
        self.task: TaskName = "semantic-segmentation"
        self.revision = digest([content, options.identity()])
        self._options = options
        self._threshold = options.threshold or 0.0
        self._embeddings: dict[tuple[str, ...], Tensor] = {}

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        # Sorted, so that the order in which a project names its classes moves no score by a rounding error.
        asked = sentences(self.name, sorted(classes), self._options)
        labels = dict(enumerate(asked))
        provenance = Provenance("model", self.name, self.revision)
        found: list[Guesses] = [()] * len(images)
        for numbers, pixels in same_size_batches(self._processor.image_processor, images):
            rasters = self._rasters(pixels, list(asked.values()))
            sizes = [images[number].shape[:2] for number in numbers]
            said = class_masks(rasters, sizes, labels, _sigmoid, self._threshold, provenance)
            for number, guesses in zip(numbers, said, strict=True):
                found[number] = guesses
        return found

    def close(self) -> None:
        del self._model

    def _rasters(self, pixels: Tensor, asked: Sequence[tuple[str, ...]]) -> Tensor:
        """Logits (image, class and at last nothing, h, w); each image is looked at once for all prompts."""
        import torch

        with torch.inference_mode(), autocast(self._device):
            seen = self._model.clip.get_image_features(
                pixel_values=upload(pixels, self._device),
                interpolate_pos_encoding=True,
                output_hidden_states=True,
            )
            layers = [seen.hidden_states[layer + 1] for layer in self._model.extract_layers]
            classes = [
                torch.stack([self._decode(layers, said) for said in self._embed(some)]).amax(dim=0)
                for some in asked
            ]
        # Sigmoid of nothing is a half: a pixel that is less likely any class than not is none.
        return torch.stack([*classes, torch.zeros_like(classes[0])], dim=1)

    def _decode(self, layers: list[Tensor], said: Tensor) -> Tensor:
        """Logits (image, h, w) of one prompt."""
        count = len(layers[0])
        logits = self._model.decoder(layers, said.expand(count, -1)).logits.float()
        return logits.reshape(count, *logits.shape[-2:])

    def _embed(self, some: tuple[str, ...]) -> Tensor:
        """Embeddings (prompt, dimension), computed once."""
        if some not in self._embeddings:
            room = self._model.config.text_config.max_position_embeddings
            tokens = self._processor.tokenizer(
                list(some), padding="max_length", max_length=room, truncation=True, return_tensors="pt"
            )
            inputs = {name: upload(tokens[name], self._device) for name in ("input_ids", "attention_mask")}
            self._embeddings[some] = self._model.clip.get_text_features(**inputs).pooler_output
        return self._embeddings[some]


def _sigmoid(raster: Any) -> Any:
    return raster.sigmoid()


def fetch(checkpoint: str, folder: Path) -> None:
    hub.fetch("clipseg", checkpoint)


def on_this_machine() -> list[str]:
    """The checkpoints of this family in the hub's cache."""
    return list(hub.cached_checkpoints(lambda config: config.get("model_type") == KIND))

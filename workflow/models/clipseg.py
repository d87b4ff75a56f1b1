"""CLIPSeg through transformers (Apache-2.0): the pixels of what a sentence names, untrained.

Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.models import Guesses, Options
from workflow.models.device import autocast, upload
from workflow.models.frame import THRESHOLD, HubFrame, Size
from workflow.models.prompts import sentences
from workflow.models.segments import class_masks

if TYPE_CHECKING:
    from torch import Tensor


class ClipSeg(HubFrame):
    """A CLIPSeg checkpoint as an Annotator: one mask a class, of the pixels that are more likely it than not.

    Where two classes are, the likelier has the pixel; of a class's prompts the best counts. A mask's score is
    the mean probability of its pixels.
    """

    family = "clipseg"
    auto = "CLIPSegForImageSegmentation"
    reduces = True
    processor = "AutoProcessor"
    kinds = ("clipseg",)
    # It is asked in the words of the project.
    decided_later = THRESHOLD

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        super().__init__(spec, checkpoint, options, "semantic-segmentation")
        self._embeddings: dict[tuple[str, ...], Tensor] = {}

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        # Sorted, so that the order in which a project names its classes moves no score by a rounding error.
        return dict(enumerate(sentences(self.name, sorted(classes), self._options)))

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        prompts = sentences(self.name, list(labels.values()), self._options)
        rasters = self._rasters(inputs, list(prompts.values()))
        return class_masks(rasters, sizes, labels, _sigmoid, self._threshold, self._provenance())

    def _rasters(self, pixels: Tensor, prompts: Sequence[tuple[str, ...]]) -> Tensor:
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
                torch.stack([self._decode(layers, one) for one in self._embed(some)]).amax(dim=0)
                for some in prompts
            ]
        # Sigmoid of nothing is a half: a pixel that is less likely any class than not is none.
        return torch.stack([*classes, torch.zeros_like(classes[0])], dim=1)

    def _decode(self, layers: list[Tensor], prompt: Tensor) -> Tensor:
        """Logits (image, h, w) of one prompt, by its embedding (dimension,)."""
        count = len(layers[0])
        logits = self._model.decoder(layers, prompt.expand(count, -1)).logits.float()
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

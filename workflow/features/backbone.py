"""The backbone of an annotator, asked by the engine like the annotator itself: a vector an image.

Classifiers give what their last layer reads, models of images and words what they compare words with. For
what has no single vector of an image, such as a detector, there is none to be had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow import models
from workflow.errors import ModelError
from workflow.models import Options, Pixels, Size, Whole, classifier, hub
from workflow.models.batches import by_batch, filled_up, same_size_inputs, seen_by
from workflow.models.device import autocast, pick_device, ready, upload
from workflow.project.rows import digest

Vector = NDArray[np.float16]
# Backbones that name nothing are opened as if they told these.
HEAD = ("one", "other")


class Backbone:
    """A network without its last layer; `annotate` gives vectors, `revision` names what decides them."""

    def __init__(self, spec: str, project: Path, options: Options) -> None:
        family, checkpoint = models.resolve(spec, project)
        if family not in _OPENED:
            what = f"model {spec!r}: {family} has no one vector of a whole image"
            raise ModelError(what, "efficientnet-lite0, a classifier, or siglip2")
        self._device = pick_device(options.device)
        model, self._processor, content, self._vectors = _OPENED[family](spec, checkpoint)
        self._model = ready(model, self._device)
        self._exact = options.exact_decode
        self.name, self.revision = spec, digest([content, "features", self._exact])

    def least(self, height: int, width: int) -> Size | None:
        """At what size it sees an image of this one; None where it may be shown the whole alone."""
        return None if self._exact else seen_by(self._processor, height, width)

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Any], classes: Sequence[str]
    ) -> list[Vector]:
        """The vectors of upright RGB images, as long as the network is wide."""
        grounds = [filled_up(image) for image in images]
        batches = same_size_inputs(self._processor, grounds)
        return by_batch(batches, len(grounds), lambda inputs, numbers: self._look(inputs))

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Vector]:
        return self.annotate(images, (), classes)

    def close(self) -> None:
        self.__dict__.pop("_model", None)

    def _look(self, inputs: Mapping[str, Any]) -> list[Vector]:
        import torch

        on_device = {name: upload(values, self._device) for name, values in inputs.items()}
        with torch.inference_mode(), autocast(self._device):
            vectors = self._vectors(self._model, on_device)
        lengths = torch.linalg.vector_norm(vectors.float(), dim=-1, keepdim=True)
        # Of length 1, so that their products are cosines, and fit float16.
        unit = vectors.float() / lengths.clamp(min=1e-12)
        return list(unit.cpu().numpy().astype(np.float16))


def _classifier(spec: str, checkpoint: Path | str) -> tuple[Any, Any, str, Callable[..., Any]]:
    model, processor, content = classifier.open_model(spec, checkpoint, HEAD)
    return model.eval(), processor, content, _of_classifier


def _of_classifier(model: Any, inputs: Mapping[str, Any]) -> Any:
    """What timm's last layer reads; else the backbone's own summary, or the mean over its places."""
    if timm := getattr(model, "timm_model", None):
        return timm.forward_head(timm.forward_features(inputs["pixel_values"]), pre_logits=True)
    seen = model.base_model(**inputs)
    pooled = getattr(seen, "pooler_output", None)
    if pooled is not None:
        return pooled.flatten(1)
    places = seen.last_hidden_state
    return places.mean(dim=1) if places.ndim == 3 else places.flatten(2).mean(dim=2)


def _words_and_images(spec: str, checkpoint: Path | str) -> tuple[Any, Any, str, Callable[..., Any]]:
    from transformers import AutoModel, AutoProcessor

    folder, content = hub.find("zero-shot", spec, checkpoint)
    model, processor = hub.load_parts(AutoModel, AutoProcessor, spec, folder, hub.WHOLE)
    return model.eval(), processor.image_processor, content, _of_words_and_images


def _of_words_and_images(model: Any, inputs: Mapping[str, Any]) -> Any:
    return model.get_image_features(**inputs).pooler_output


_OPENED: dict[str, Callable[..., tuple[Any, Any, str, Callable[..., Any]]]] = {
    "classifier": _classifier,
    "zero-shot": _words_and_images,
}

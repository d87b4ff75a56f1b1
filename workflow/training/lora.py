"""What of a model learns: a new head; low-rank adapters with it (LoRA); all of it.

LoRA: https://arxiv.org/abs/2106.09685, by peft. The head always learns. Adapters are merged into the model
that is kept, which then is a checkpoint like any other; they are saved beside it too.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from workflow.errors import ModelError

# Where adapters go, by the layers' names in transformers and timm; the first kind that a model has.
ATTENTION = ("q_proj", "v_proj", "query", "value", "qkv", "value_proj", "output_proj")
# In detectors attention is a small part, over a convolutional backbone, and too little to learn with.
DETECTION = (*ATTENTION, "fc1", "fc2")
CHANNEL_MIXING = ("pwconv1", "pwconv2")


def apply(model: Any, method: str, rank: int, head: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The model with only that left free to learn which the method wants; what to show of it.

    `head` are the dotted names of the modules that are new. By "lora" the model comes wrapped, and takes
    what it took. ModelError where it has no layer that adapters could go to.
    """
    shown: dict[str, Any] = {}
    if method == "head":
        model.requires_grad_(False)
        _free(model, head)
    elif method == "lora":
        model, shown = _adapted(model, rank, head)
    learning = sum(w.numel() for w in model.parameters() if w.requires_grad)
    total = sum(w.numel() for w in model.parameters())
    if method != "full":
        shown["head"] = list(head)
    return model, shown | {"parameters": total, "trainable": learning, "share": round(learning / total, 5)}


def merge(model: Any) -> Any:
    """The plain model, adapters added into the weights they stand beside; any other as it is."""
    return model.merge_and_unload() if _is_adapted(model) else model


def save(model: Any, folder: Path, base: str = "") -> Any:
    """Write `model/`, merged, and `adapter/` where there are adapters; the merged model.

    The adapter holds the head too; one made of lists, which peft does not take, lies beside it as
    `head.safetensors`. `base` is what the adapter says that it belongs to: the name, not the place on this
    machine.
    """
    from transformers.utils import logging

    # The command line has its own bar.
    logging.disable_progress_bar()
    if _is_adapted(model):
        model.peft_config["default"].base_model_name_or_path = base
        # Else peft asks the hub for the base's vocabulary.
        model.save_pretrained(folder / "adapter", save_embedding_layers=False)
        (folder / "adapter" / "README.md").unlink()
        if apart := _heads_apart(model):
            save_file(apart, folder / "adapter" / "head.safetensors")
    merged = merge(model)
    vars(merged).pop("get_input_embeddings", None)
    merged.save_pretrained(folder / "model")
    return merged


def targets(model: nn.Module, head: Sequence[str]) -> list[str]:
    """The dotted names of the layers that get adapters, none of them in the head."""
    linear = {name: m for name, m in model.named_modules() if type(m) is nn.Linear}
    # A first layer that sees colours has too few inputs to be worth one; grouped layers take none.
    mixing = {
        name
        for name, m in model.named_modules()
        if type(m) is nn.Conv2d and m.groups == 1 and m.in_channels > 4
    }
    attention = DETECTION if type(model).__name__.endswith("ForObjectDetection") else ATTENTION
    for layers in (_called(linear, attention), _called(linear, CHANNEL_MIXING), mixing):
        if outside := [name for name in layers if not any(_within(name, one) for one in head)]:
            return sorted(outside)
    looked_for = ", ".join((*ATTENTION, *CHANNEL_MIXING))
    raise ModelError(
        f"{type(model).__name__} has no layer for LoRA: no {looked_for}, no ungrouped convolution",
        'set train.method to "head" or "full"',
    )


def _adapted(model: Any, rank: int, head: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    from peft import LoraConfig, get_peft_model

    names = targets(model, head)
    lists = any(isinstance(model.get_submodule(name), nn.ModuleList) for name in head)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=names,
        modules_to_save=None if lists else list(head),
    )
    _answer_for_embeddings(model)
    with warnings.catch_warnings():
        # transformers is about to rename what peft, too, asks for by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model, config)
        if getattr(model, "supports_gradient_checkpointing", False):
            # Half the memory for a third more time: what one takes LoRA for.
            model.gradient_checkpointing_enable({"use_reentrant": False})
    if lists:
        _free(adapted.get_base_model(), head)
    counts = Counter(name.rpartition(".")[2] for name in names)
    return adapted, {"targets": dict(counts), "lora_alpha": 2 * rank}


def _answer_for_embeddings(model: Any) -> None:
    """peft asks every model for its embeddings of words; some have none and raise."""
    try:
        model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        model.get_input_embeddings = nn.Module


def _free(model: nn.Module, head: Sequence[str]) -> None:
    for name in head:
        model.get_submodule(name).requires_grad_(True)


def _heads_apart(adapted: Any) -> dict[str, Tensor]:
    """Weights that learned and that peft does not save, by their names in the plain model."""
    model = adapted.get_base_model()
    return {
        name: weights.detach().cpu().clone()
        for name, weights in model.named_parameters()
        if weights.requires_grad and not any(part in name for part in ("lora_", "modules_to_save"))
    }


def _called(modules: dict[str, nn.Linear], names: Sequence[str]) -> set[str]:
    return {name for name in modules if name.rpartition(".")[2] in names}


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _is_adapted(model: Any) -> bool:
    return hasattr(model, "merge_and_unload")

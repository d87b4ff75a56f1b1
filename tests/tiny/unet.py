"""A U-Net as segmentation-models-pytorch saves it, over timm's smallest ResNet; names beside it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tiny import NAMES, Case

NORMAL = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def save_unet(folder: Path) -> None:
    import segmentation_models_pytorch
    import torch

    torch.manual_seed(0)
    model = segmentation_models_pytorch.Unet(
        "tu-test_resnet",
        encoder_weights=None,
        decoder_channels=(32, 16, 16, 8, 8),
        classes=len(NAMES) + 1,
        activation="softmax2d",
    )
    torch.nn.init.normal_(model.segmentation_head[0].weight, std=1.0)
    model.save_pretrained(folder)
    names = {"names": ["background", *NAMES.values()], **NORMAL}
    (folder / "names.json").write_text(json.dumps(names))


CASES = (Case("unet:tiny/unet", save_unet, task="semantic-segmentation", threshold=0.0),)

"""torchvision's smallest of each kind, as files of weights with the names of their classes beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny import NAMES, Case


def _save(model: Any, file: Path) -> None:
    import torch

    torch.save(model.state_dict(), file)
    file.with_suffix(".txt").write_text("\n".join(NAMES.values()) + "\n")


def save_resnet18(file: Path) -> None:
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    _save(resnet18(num_classes=len(NAMES)), file)


def save_faster_rcnn(file: Path) -> None:
    import torch
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(weights_backbone=None, num_classes=1 + len(NAMES))
    _save(_lively(model), file)


def save_mask_rcnn(file: Path) -> None:
    import torch
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(weights_backbone=None, num_classes=1 + len(NAMES))
    _save(_lively(model), file)


def _lively(model: Any) -> Any:
    """Boxes whose scores and masks differ, as those of a fresh model do not."""
    import torch

    with torch.no_grad():
        # A few looks at noise, so that each layer knows how large its inputs are.
        for _ in range(20):
            model.train().backbone(torch.rand(2, 3, 64, 64))
        model.roi_heads.box_predictor.cls_score.weight.normal_(std=0.3)
        if model.roi_heads.mask_predictor is not None:
            model.roi_heads.mask_predictor.mask_fcn_logits.weight.normal_(std=2.0)
    return model


CASES = (
    Case("torchvision:tiny/resnet18.pth", save_resnet18, "classification", threshold=0.01),
    Case(
        "torchvision:tiny/fasterrcnn_mobilenet_v3_large_320_fpn.pth",
        save_faster_rcnn,
        options={"image_size": 128},
    ),
    Case(
        "torchvision:tiny/maskrcnn_resnet50_fpn-mine.pth",
        save_mask_rcnn,
        "instance-segmentation",
        threshold=0.6,
        options={"image_size": 64},
    ),
)

"""EoMT on DINOv2, of objects and of classes, and on DINOv3; a name tells which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny import IDS, NAMES, Case

SIDE = 64
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "image_size": SIDE,
    "patch_size": 16,
    "num_blocks": 1,
    "num_queries": 12,
    "id2label": NAMES,
    "label2id": IDS,
}


def save_instances(folder: Path) -> None:
    """Images filled up to a square."""
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    _save(EomtForUniversalSegmentation, EomtConfig(**SMALL), folder)
    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    EomtImageProcessor(size=size, do_pad=True, do_split_image=False).save_pretrained(folder)


def save_classes(folder: Path) -> None:
    """Images cut into squares."""
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    _save(EomtForUniversalSegmentation, EomtConfig(**SMALL), folder)
    size = {"shortest_edge": SIDE, "longest_edge": None}
    EomtImageProcessor(size=size, do_pad=False, do_split_image=True).save_pretrained(folder)


def save_on_dinov3(folder: Path) -> None:
    from transformers import EomtDinov3Config, EomtDinov3ForUniversalSegmentation, EomtImageProcessor

    config = EomtDinov3Config(**{k: v for k, v in SMALL.items() if k != "mlp_ratio"}, intermediate_size=64)
    _save(EomtDinov3ForUniversalSegmentation, config, folder)
    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    EomtImageProcessor(size=size, do_pad=True, do_split_image=False).save_pretrained(folder)


def _save(kind: Any, config: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    model = kind(config)
    # Sure of its classes and of where its masks are, each query in its own way.
    with torch.no_grad():
        model.query.weight.normal_(std=1.0)
        model.class_predictor.weight.normal_(std=0.5)
        for name, weights in model.named_parameters():
            if "mask_head" in name and weights.dim() == 2:
                weights.normal_(std=0.5)
    model.save_pretrained(folder)


CASES = (
    Case("eomt:tiny/eomt-digits-instance", save_instances, task="instance-segmentation"),
    Case("eomt:tiny/eomt-digits-semantic", save_classes, task="semantic-segmentation", threshold=0.0),
    Case("eomt:tiny/eomt-dinov3-instance", save_on_dinov3, task="instance-segmentation"),
)

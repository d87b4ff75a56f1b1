"""SegFormer, as the hub has it; and UperNet, whose backbone is another model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny import IDS, NAMES, Case

# As models that were trained here have it: what no one painted comes first.
PAINTED = {0: "background", **{number + 1: name for number, name in NAMES.items()}}

SQUARE = {"height": 128, "width": 128}


def _enliven(model: Any) -> None:
    """A livelier head, so that classes take turns; in a fresh one, one of them wins everywhere."""
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.3 if "decode_head" in name else 0.15)


def save_segformer(folder: Path) -> None:
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
        id2label=PAINTED,
        label2id={name: number for number, name in PAINTED.items()},
    )
    model = SegformerForSemanticSegmentation(config)
    _enliven(model)
    model.save_pretrained(folder)
    SegformerImageProcessor(size=SQUARE, do_reduce_labels=False).save_pretrained(folder)


def save_upernet(folder: Path) -> None:
    import torch
    from transformers import (
        ConvNextConfig,
        SegformerImageProcessor,
        UperNetConfig,
        UperNetForSemanticSegmentation,
    )

    torch.manual_seed(0)
    backbone = ConvNextConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1] * 4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        auxiliary_in_channels=24,
        auxiliary_channels=16,
        id2label=NAMES,
        label2id=IDS,
    )
    model = UperNetForSemanticSegmentation(config)
    _enliven(model)
    model.save_pretrained(folder)
    SegformerImageProcessor(size=SQUARE, do_reduce_labels=True).save_pretrained(folder)


SEMANTIC: dict[str, Any] = {"task": "semantic-segmentation", "threshold": 0.0}
CASES = (
    Case("semantic:tiny/segformer", save_segformer, **SEMANTIC),
    Case("semantic:tiny/upernet", save_upernet, **SEMANTIC),
)

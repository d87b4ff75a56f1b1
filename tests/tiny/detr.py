"""DETR, Deformable DETR, RT-DETRv2, D-FINE: each of its own way to score and to draw boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tiny import IDS, NAMES, Case, enliven


def save_rtdetr_v2(folder: Path) -> None:
    """Boxes by focal loss, images squeezed to one square."""
    import torch
    from transformers import (
        RTDetrImageProcessor,
        RTDetrResNetConfig,
        RTDetrV2Config,
        RTDetrV2ForObjectDetection,
    )

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 48, 64],
        depths=[1] * 4,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[32, 48, 64],
        encoder_hidden_dim=32,
        encoder_ffn_dim=64,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32] * 3,
        decoder_ffn_dim=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        num_queries=30,
        num_denoising=0,
        hidden_expansion=0.5,
        id2label=NAMES,
        label2id=IDS,
    )
    RTDetrV2ForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 320, "width": 320}).save_pretrained(folder)


def save_d_fine(folder: Path) -> None:
    """Boxes as distributions over their edges."""
    import torch
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config, RTDetrImageProcessor

    torch.manual_seed(0)
    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 24, 32],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 24, 32, 48],
        stage_num_blocks=[1] * 4,
        stage_numb_of_layers=[1] * 4,
        hidden_sizes=[16, 24, 32, 48],
        depths=[1] * 4,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DFineConfig(
        backbone_config=backbone,
        encoder_in_channels=[24, 32, 48],
        encoder_hidden_dim=32,
        encoder_ffn_dim=64,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32] * 3,
        decoder_ffn_dim=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        num_queries=30,
        num_denoising=0,
        hidden_expansion=0.5,
        id2label=NAMES,
        label2id=IDS,
    )
    DFineForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 320, "width": 320}).save_pretrained(folder)


def _small_resnet(*out_features: str) -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1] * 4,
        layer_type="basic",
        out_features=list(out_features),
    )


def save_deformable_detr(folder: Path) -> None:
    """Boxes by sigmoid, images of any shape."""
    import torch
    from transformers import (
        DeformableDetrConfig,
        DeformableDetrForObjectDetection,
        DeformableDetrImageProcessor,
    )

    torch.manual_seed(0)
    config = DeformableDetrConfig(
        use_timm_backbone=False,
        backbone_config=_small_resnet("stage2", "stage3", "stage4"),
        backbone=None,
        use_pretrained_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=20,
        id2label=NAMES,
        label2id=IDS,
    )
    model = DeformableDetrForObjectDetection(config)
    # Its heads start out with scores of 0.01 for everything.
    for head in model.class_embed:
        torch.nn.init.normal_(head.weight, std=0.3)
        torch.nn.init.zeros_(head.bias)
    model.save_pretrained(folder)
    DeformableDetrImageProcessor(size={"shortest_edge": 160, "longest_edge": 240}).save_pretrained(folder)


def save_detr(folder: Path) -> None:
    """Boxes by softmax with a class for nothing, images of any shape."""
    import torch
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor

    torch.manual_seed(0)
    config = DetrConfig(
        use_timm_backbone=False,
        backbone_config=_small_resnet("stage4"),
        backbone=None,
        use_pretrained_backbone=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=20,
        id2label=NAMES,
        label2id=IDS,
    )
    model = DetrForObjectDetection(config)
    enliven(model)
    model.save_pretrained(folder)
    DetrImageProcessor(size={"shortest_edge": 160, "longest_edge": 240}).save_pretrained(folder)


CASES = (
    Case("detr:tiny/rtdetr-v2", save_rtdetr_v2),
    Case("detr:tiny/d-fine", save_d_fine),
    Case("detr:tiny/deformable-detr", save_deformable_detr),
    Case("detr:tiny/detr", save_detr),
)

"""DETR and its kin: each of its own way to score and to draw boxes."""

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


def save_deim_v2(folder: Path) -> None:
    """D-FINE's boxes; DEIM itself has D-FINE's network, and its checkpoints are of that type."""
    import torch
    from transformers import Deimv2Config, Deimv2ForObjectDetection, HGNetV2Config, RTDetrImageProcessor

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
    config = Deimv2Config(
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
    Deimv2ForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 320, "width": 320}).save_pretrained(folder)


# What LW-DETR and RF-DETR, which follows it, have in common.
LIGHT = {
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_ffn_dim": 32,
    "decoder_self_attention_heads": 4,
    "decoder_cross_attention_heads": 4,
    "decoder_n_points": 2,
    "num_queries": 20,
    "group_detr": 2,
    "c2f_num_blocks": 1,
    "id2label": NAMES,
    "label2id": IDS,
}
LIGHT_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "patch_size": 16,
}


def save_lw_detr(folder: Path) -> None:
    """Several groups of queries in training, one of them in use."""
    import torch
    from transformers import (
        DeformableDetrImageProcessor,
        LwDetrConfig,
        LwDetrForObjectDetection,
        LwDetrViTConfig,
    )

    torch.manual_seed(0)
    backbone = LwDetrViTConfig(
        **LIGHT_VIT,
        image_size=128,
        pretrain_image_size=128,
        window_block_indices=[0, 2],
        out_indices=[2, 4],
        num_windows=4,
    )
    config = LwDetrConfig(**LIGHT, backbone_config=backbone, projector_scale_factors=[1.0])
    model = LwDetrForObjectDetection(config)
    _even(model)
    model.save_pretrained(folder)
    DeformableDetrImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)


def save_rf_detr(folder: Path) -> None:
    """As LW-DETR, on DINOv2."""
    import torch
    from transformers import (
        RfDetrConfig,
        RfDetrDinov2Config,
        RfDetrForObjectDetection,
        RfDetrImageProcessor,
    )

    torch.manual_seed(0)
    backbone = RfDetrDinov2Config(**LIGHT_VIT, image_size=128, num_windows=2, out_indices=[2, 4])
    model = RfDetrForObjectDetection(RfDetrConfig(**LIGHT, backbone_config=backbone))
    _even(model)
    model.save_pretrained(folder)
    RfDetrImageProcessor(size={"height": 128, "width": 128}).save_pretrained(folder)


def _even(model: Any) -> None:
    """Scores that differ, of heads that start out with 0.01 for everything."""
    import torch

    for name, weights in model.named_parameters():
        if "class_embed" in name:
            (torch.nn.init.zeros_ if name.endswith("bias") else torch.nn.init.normal_)(weights)


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
    Case("detr:tiny/deim-v2", save_deim_v2),
    Case("detr:tiny/lw-detr", save_lw_detr),
    Case("detr:tiny/rf-detr", save_rf_detr),
    Case("detr:tiny/deformable-detr", save_deformable_detr),
    Case("detr:tiny/detr", save_detr),
)

"""Mask2Former, once of instances and once of classes; a name tells which."""

from __future__ import annotations

from pathlib import Path

from tests.tiny import IDS, NAMES, Case


def save_mask2former(folder: Path) -> None:
    import torch
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        num_queries=12,
        id2label=NAMES,
        label2id=IDS,
    )
    model = Mask2FormerForUniversalSegmentation(config)
    # Sure of its classes and of where its masks are, each query in its own way.
    with torch.no_grad():
        model.class_predictor.weight.normal_(std=0.5)
        for name, weights in model.named_parameters():
            if "mask_embedder" in name and weights.dim() == 2:
                weights.normal_(std=0.5)
    model.save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 128, "width": 192}).save_pretrained(folder)


CASES = (
    Case("mask2former:tiny/mask2former-digits-instance", save_mask2former, task="instance-segmentation"),
    Case(
        "mask2former:tiny/mask2former-digits-semantic",
        save_mask2former,
        task="semantic-segmentation",
        threshold=0.0,
    ),
)

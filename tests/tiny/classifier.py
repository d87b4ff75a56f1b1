"""ViT, DINOv2 with more labels than one an image; timm's and its DINOv3, saved as timm itself does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny import IDS, NAMES, Case, enliven

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
}


def save_vit(folder: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**SMALL, intermediate_size=64, id2label=NAMES, label2id=IDS))
    enliven(model)
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def save_dinov2(folder: Path, **settings: Any) -> None:
    """Multi-label, and scaled by the shorter side without a crop, so that images differ in size."""
    import torch
    from transformers import BitImageProcessor, Dinov2Config, Dinov2ForImageClassification

    torch.manual_seed(0)
    labels = {"id2label": NAMES, "label2id": IDS, "problem_type": "multi_label_classification"}
    model = Dinov2ForImageClassification(Dinov2Config(**(SMALL | {"mlp_ratio": 2} | labels | settings)))
    enliven(model)
    model.save_pretrained(folder)
    processor = BitImageProcessor(size={"shortest_edge": 64}, do_center_crop=False)
    processor.save_pretrained(folder)


def save_timm(folder: Path) -> None:
    """As a repository of timm's on the hub: no processor's file, and timm's own config."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=len(NAMES), pretrained=False)
    enliven(model)
    labels = {"label_names": list(NAMES.values()), "num_classes": len(NAMES)}
    save_for_hf(model, folder, model_config=labels, safe_serialization=True)
    assert "model_type" not in json.loads((folder / "config.json").read_text())


def save_dinov3(folder: Path, names: tuple[str, ...] = tuple(NAMES.values())) -> None:
    """timm's DINOv3, which is published as a backbone, without `names`."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    size = {"img_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3}
    model = timm.create_model("vit_small_patch16_dinov3", num_classes=len(names), pretrained=False, **size)
    enliven(model)
    labels = {"num_classes": len(names)} | ({"label_names": list(names)} if names else {})
    save_for_hf(model, folder, model_config=labels, model_args=size, safe_serialization=True)


CASES = (
    Case("classifier:tiny/vit", save_vit, "classification", threshold=0.01),
    Case("classifier:tiny/dinov2", save_dinov2, "multilabel-classification"),
    Case("classifier:tiny/timm", save_timm, "classification", threshold=0.01),
    Case("classifier:tiny/dinov3", save_dinov3, "classification", threshold=0.01),
)

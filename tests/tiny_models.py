"""Tiny models with random weights, saved as a hub's checkpoints are, so that they load as those do.

Weights are drawn from a fixed seed. The detectors know the ten digits, in the order a shuffled label
file may have them; thresholds must be low, since nothing was learned.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

# Before torch, whose threads it keeps from spinning.
import workflow.models.device  # noqa: F401

NAMES = {number: str(9 - number) for number in range(10)}
IDS = {name: number for number, name in NAMES.items()}


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


def _enliven(model: Any) -> None:
    """Larger weights, so that a box differs from the next; those of a fresh model all but agree."""
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 2 and "embed" not in name:
                weights.normal_(std=0.3)


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
    _enliven(model)
    model.save_pretrained(folder)
    DetrImageProcessor(size={"shortest_edge": 160, "longest_edge": 240}).save_pretrained(folder)


def save_grounding_dino(folder: Path) -> None:
    import torch
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    torch.manual_seed(0)
    # These ids are hard-coded in the model.
    words = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    for number, letter in enumerate(string.ascii_lowercase + string.digits):
        words[letter] = 1200 + number
        words["##" + letter] = 1300 + number
    for number in set(range(1400)) - set(words.values()):
        words[f"[unused{number}]"] = number
    tokenizer = BertTokenizer(vocab=words, do_lower_case=True)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 16,
            "depths": [1] * 4,
            "num_heads": [1, 1, 2, 2],
            "window_size": 4,
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": 1400,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 256,
        },
        d_model=32,
        encoder_layers=1,
        # One layer alone cannot tie its heads to a second one's.
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=20,
        max_text_len=64,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 160, "longest_edge": 240})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder)


def save_owlv2(folder: Path) -> None:
    import torch
    from transformers import (
        CLIPTokenizer,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessor,
        Owlv2Processor,
    )

    torch.manual_seed(0)
    letters = string.ascii_lowercase + string.digits
    pieces = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=16
    )
    text = {
        "vocab_size": len(pieces),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 16,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 96,
        "patch_size": 16,
    }
    model = Owlv2ForObjectDetection(Owlv2Config(text_config=text, vision_config=vision, projection_dim=32))
    _enliven(model)
    model.save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 96, "width": 96})
    Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


BUILDERS = {
    "rtdetr-v2": save_rtdetr_v2,
    "d-fine": save_d_fine,
    "deformable-detr": save_deformable_detr,
    "detr": save_detr,
    "grounding-dino": save_grounding_dino,
    "owlv2": save_owlv2,
}

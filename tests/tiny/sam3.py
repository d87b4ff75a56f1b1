"""SAM 3, saved as it is published: one checkpoint for videos, of which two families take a part each."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from tests.tiny import Case, enliven

SIDE = 112
# Of the square, how many patches of 14 pixels a side.
GRID = SIDE // 14


def save_sam3(folder: Path) -> None:
    import torch
    from transformers import (
        CLIPTokenizer,
        Sam3Config,
        Sam3ImageProcessor,
        Sam3Processor,
        Sam3VideoConfig,
        Sam3VideoModel,
    )

    torch.manual_seed(0)
    detector = Sam3Config(
        vision_config=_vision(),
        text_config=_text(),
        geometry_encoder_config=SMALL | {"num_layers": 1},
        detr_encoder_config=SMALL | {"num_layers": 1},
        detr_decoder_config=SMALL | {"num_layers": 2, "num_queries": 8},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 4, "num_upsampling_stages": 3},
    )
    model = Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=_tracker()))
    enliven(model.detector_model)
    model.save_pretrained(folder)
    _as_published(folder / "model.safetensors")
    ends = [f"{letter}</w>" for letter in LETTERS]
    pieces = ["!", "<|startoftext|>", "<|endoftext|>", *LETTERS, *ends]
    tokenizer = CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=32
    )
    images = Sam3ImageProcessor(
        size={"height": SIDE, "width": SIDE}, mask_size={"height": 4 * GRID, "width": 4 * GRID}
    )
    Sam3Processor(images, tokenizer).save_pretrained(folder)


def _as_published(file: Path) -> None:
    """Under the published checkpoint's names, of which the library doubles a part when it saves."""
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    doubled = "tracker_model.tracker_model."
    save_file(
        {name.replace(doubled, "tracker_model."): weights[name] for name in weights}, file, {"format": "pt"}
    )


LETTERS = string.ascii_lowercase + string.digits
SMALL: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "dropout": 0.0}


def _vision() -> dict[str, Any]:
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "pretrain_image_size": SIDE,
        "patch_size": 14,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    return {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[GRID * scale] * 2 for scale in (4, 2, 1)],
    }


def _text() -> dict[str, Any]:
    return {
        "model_type": "clip_text_model",
        "vocab_size": 3 + 2 * len(LETTERS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "projection_dim": 16,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }


def _tracker() -> dict[str, Any]:
    return {
        "model_type": "sam3_tracker_video",
        "vision_config": _vision(),
        "prompt_encoder_config": {
            "hidden_size": 32,
            "image_size": SIDE,
            "patch_size": 14,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
        "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [GRID, GRID],
        "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 32,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32,
        "memory_fuser_num_layers": 1,
        "image_size": SIDE,
    }


CASES = (
    Case(
        "sam3:tiny/sam3",
        save_sam3,
        "instance-segmentation",
        names=(),
    ),
)

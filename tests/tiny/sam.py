"""SAM, SAM-HQ, SAM 2 and 3, which draw in the boxes of others. 2 and 3 are saved as published, for videos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.tiny import Case
from tests.tiny.sam3 import save_sam3

SIDE = 128


def save_sam(folder: Path) -> None:
    import torch
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    SamModel(SamConfig(vision_config=_plain_vision(), **_prompted())).save_pretrained(folder)
    SamProcessor(SamImageProcessor(**_squared())).save_pretrained(folder)


def save_sam_hq(folder: Path) -> None:
    import torch
    from transformers import SamHQConfig, SamHQModel, SamHQProcessor, SamImageProcessor

    torch.manual_seed(0)
    prompted = _prompted()
    # Its decoder also looks at the first layers of the encoder, whose width it must know.
    prompted["mask_decoder_config"]["vit_dim"] = _plain_vision()["hidden_size"]
    SamHQModel(SamHQConfig(vision_config=_plain_vision(), **prompted)).save_pretrained(folder)
    SamHQProcessor(SamImageProcessor(**_squared())).save_pretrained(folder)


def _squared() -> dict[str, Any]:
    return {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}


def _plain_vision() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 4,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
        "num_pos_feats": 16,
    }


def save_sam2(folder: Path) -> None:
    import torch
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    torch.manual_seed(0)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 12,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 2, 7, 2],
        "embed_dim_per_stage": [12, 24, 48, 96],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 14, 7],
        "global_attention_blocks": [5, 7, 9],
        "window_positional_embedding_background_size": [7, 7],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [96, 48, 24, 12],
        "backbone_feature_sizes": [[SIDE // part] * 2 for part in (4, 8, 16)],
        "fpn_hidden_size": 32,
    }
    Sam2Model(Sam2Config(vision_config=vision, **_prompted())).save_pretrained(folder)
    size, mask = ({"height": side, "width": side} for side in (SIDE, SIDE // 4))
    Sam2Processor(image_processor=Sam2ImageProcessor(size=size, mask_size=mask)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "sam2_video", "architectures": ["Sam2VideoModel"]}
    (folder / "config.json").write_text(json.dumps(config))


def _prompted() -> dict[str, Any]:
    return {
        "prompt_encoder_config": {
            "hidden_size": 32,
            "image_size": SIDE,
            "patch_size": 16,
            "mask_input_channels": 4,
            "image_embedding_size": SIDE // 16,
        },
        "mask_decoder_config": {
            "hidden_size": 32,
            "mlp_dim": 64,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 32,
        },
    }


DRAWS: dict[str, Any] = {"task": "instance-segmentation", "names": (), "prior": True}
CASES = (
    Case("sam:tiny/sam2", save_sam2, **DRAWS),
    Case("sam:tiny/sam", save_sam, **DRAWS),
    Case("sam:tiny/sam-hq", save_sam_hq, **DRAWS),
    Case("sam:tiny/sam3-clicks", save_sam3, **DRAWS),
)

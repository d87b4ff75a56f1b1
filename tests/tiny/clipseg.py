"""CLIPSeg, whose text model spells letter by letter."""

from __future__ import annotations

import string
from pathlib import Path

from tests.tiny import Case


def save_clipseg(folder: Path) -> None:
    import torch
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        CLIPTokenizer,
        ViTImageProcessor,
    )

    torch.manual_seed(0)
    letters = string.ascii_lowercase + string.digits
    pieces = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], model_max_length=16
    )
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = CLIPSegConfig(
        text_config=layers
        | {"vocab_size": len(pieces), "max_position_embeddings": 16}
        | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
        vision_config=layers | {"image_size": 64, "patch_size": 16},
        projection_dim=32,
        extract_layers=[0, 1],
        reduce_dim=16,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=32,
    )
    model = CLIPSegForImageSegmentation(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # Livelier, so that classes take turns.
            if weights.dim() > 1:
                weights.normal_(std=1.0 if "film" in name else 0.3)
    model.save_pretrained(folder)
    images = ViTImageProcessor(size={"height": 64, "width": 64})
    CLIPSegProcessor(images, tokenizer).save_pretrained(folder)


CASES = (Case("clipseg:tiny/clipseg", save_clipseg, "semantic-segmentation", names=(), threshold=0.0),)

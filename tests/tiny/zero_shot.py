"""SigLIP, SigLIP 2's NaFlex and CLIP, whose text models spell letter by letter."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from tests.tiny import Case, enliven

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LETTERS = string.ascii_lowercase + string.digits


def _gemma_tokenizer() -> Any:
    from transformers import Siglip2Tokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *LETTERS, "▁", "."]
    return Siglip2Tokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[],
        model_max_length=64,
        padding_side="right",
        add_eos_token=True,
        model_input_names=["input_ids"],
    )


def _siglip_text() -> dict[str, Any]:
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    return TEXT | ids | {"vocab_size": len(_gemma_tokenizer()), "projection_size": 32}


def _save_lively(model: Any, folder: Path) -> None:
    """Scores that differ from class to class, as those of a fresh model do not."""
    import torch

    enliven(model)
    torch.nn.init.constant_(model.logit_scale, 1.5)
    model.save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    """Images of one size, as SigLIP and the fixed sizes of SigLIP 2 are."""
    import torch
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    torch.manual_seed(0)
    vision = VISION | {"image_size": 64, "patch_size": 16}
    _save_lively(SiglipModel(SiglipConfig(text_config=_siglip_text(), vision_config=vision)), folder)
    images = SiglipImageProcessor(size={"height": 64, "width": 64})
    SiglipProcessor(image_processor=images, tokenizer=_gemma_tokenizer()).save_pretrained(folder)


def save_naflex(folder: Path) -> None:
    """Images in their own aspect, as so many patches."""
    import torch
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    torch.manual_seed(0)
    vision = VISION | {"num_patches": 16, "patch_size": 16}
    _save_lively(Siglip2Model(Siglip2Config(text_config=_siglip_text(), vision_config=vision)), folder)
    images = Siglip2ImageProcessor(patch_size=16, max_num_patches=16)
    Siglip2Processor(image_processor=images, tokenizer=_gemma_tokenizer()).save_pretrained(folder)


def save_clip(folder: Path) -> None:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(0)
    ends = [f"{letter}</w>" for letter in [*LETTERS, "."]]
    pieces = ["!", "<|startoftext|>", "<|endoftext|>", *LETTERS, ".", *ends]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    text = TEXT | {"vocab_size": len(pieces), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    vision = VISION | {"image_size": 64, "patch_size": 16}
    _save_lively(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)), folder)
    images = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=64)
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


CASES = (
    Case("zero-shot:tiny/siglip", save_siglip, "classification", names=()),
    Case("zero-shot:tiny/naflex", save_naflex, "classification", names=()),
    Case(
        "zero-shot:tiny/clip",
        save_clip,
        "classification",
        names=(),
        threshold=0.01,
        skip={"mapped": "of one class alone it refuses to say which it is"},
    ),
)

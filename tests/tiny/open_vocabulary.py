"""Grounding DINO, MM Grounding DINO and OWLv2, whose text models spell letter by letter."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from tests.tiny import Case, enliven


def save_grounding_dino(folder: Path) -> None:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    _save_grounded(GroundingDinoForObjectDetection, GroundingDinoConfig, folder)


def save_mm_grounding_dino(folder: Path) -> None:
    """Its scores are biased, its heads its layers' own."""
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    _save_grounded(MMGroundingDinoForObjectDetection, MMGroundingDinoConfig, folder)


def _save_grounded(kind: Any, settings: Any, folder: Path) -> None:
    import torch
    from transformers import BertTokenizer, GroundingDinoImageProcessor, GroundingDinoProcessor

    torch.manual_seed(0)
    # These ids are hard-coded in the model.
    words = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    for number, letter in enumerate(string.ascii_lowercase + string.digits):
        words[letter] = 1200 + number
        words["##" + letter] = 1300 + number
    for number in set(range(1400)) - set(words.values()):
        words[f"[unused{number}]"] = number
    tokenizer = BertTokenizer(vocab=words, do_lower_case=True)
    config = settings(
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
    kind(config).save_pretrained(folder)
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
    enliven(model)
    model.save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 96, "width": 96})
    Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)


CASES = (
    Case(
        "open-vocabulary:tiny/grounding-dino",
        save_grounding_dino,
        names=(),
        skip={"order": "it reads the prompts as one sentence"},
    ),
    Case(
        "open-vocabulary:tiny/mm-grounding-dino",
        save_mm_grounding_dino,
        names=(),
        threshold=0.005,
        skip={"order": "it reads the prompts as one sentence"},
    ),
    Case("open-vocabulary:tiny/owlv2", save_owlv2, names=()),
)

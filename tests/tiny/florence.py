"""Florence-2, whose text model spells letter by letter, and writes nothing but places."""

from __future__ import annotations

import string
from pathlib import Path

from tests.tiny import Case, enliven

SIDE = 64
# Patches of 32 pixels, and one token for the whole.
SEEN = (SIDE // 32) ** 2 + 1


def save_florence2(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        Florence2VisionConfig,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    letters = string.ascii_lowercase + string.ascii_uppercase + string.digits + ".,? "
    special = ["<s>", "<pad>", "</s>", "<unk>", "<image>"]
    words = {word: number for number, word in enumerate([*special, *letters])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.add_tokens([f"<loc_{number}>" for number in range(1000)], special_tokens=True)
    text = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    vision = Florence2VisionConfig(
        depths=[1] * 4,
        embed_dim=[8, 8, 16, 16],
        num_heads=[1, 1, 2, 2],
        num_groups=[1, 1, 2, 2],
        window_size=4,
        projection_dim=32,
    )
    model = Florence2ForConditionalGeneration(
        Florence2Config(text_config=text, vision_config=vision, image_token_id=words["<image>"])
    )
    enliven(model)
    settings = model.generation_config
    # Letters would be no boxes.
    settings.suppress_tokens = [number for word, number in words.items() if word != "</s>"]
    settings.max_new_tokens = 14
    settings.decoder_start_token_id, settings.forced_eos_token_id = 2, 2
    settings.no_repeat_ngram_size = 3
    model.save_pretrained(folder)
    images = CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=False
    )
    images.image_seq_length = SEEN
    Florence2Processor(images, tokenizer).save_pretrained(folder)


CASES = (
    Case(
        "florence:tiny/florence2",
        save_florence2,
        names=(),
        scored=False,
        skip={"above_the_threshold": "it gives no scores"},
    ),
)

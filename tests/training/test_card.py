"""A model's card: what is known of a training, and nothing else."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from workflow.training import PRESETS, Recipe
from workflow.training.card import model_card, settings_of


def _run(**more: Any) -> dict[str, Any]:
    recipe = Recipe("full", 8, 4, None, None, 16, 3, 0, PRESETS["none"], ())
    curves = [{"epoch": n, "score": 0.1 * n if n < 3 else 0.15, "loss": 1.0} for n in (1, 2, 3)]
    return {
        "family": "classifier",
        "task": "detection",
        "classes": ["cat", "dog"],
        "base": {"spec": "hub:x/y", "digest": "0"},
        "dataset": "0123456789abcdef",
        "images": {"train": 20, "validation": 4},
        "settings": asdict(recipe),
        "arguments": {"learning_rate": 0.0005, "image_size": {"height": 64, "width": 64}},
        "selected_on": "validation",
        "metric": "mAP50-95",
        "curves": curves,
    } | more


def test_settings_are_those_that_decided() -> None:
    assert settings_of(_run()) == {
        "batch": 4,
        "epochs": 8,
        "image_size": "height 64, width 64",
        "learning_rate": 0.0005,
        "method": "full",
        "patience": 3,
        "seed": 0,
        "augment": "none",
    }
    # ultralytics' words; what a project set itself comes first, and LoRA's rank where there is LoRA.
    recipe = Recipe("lora", 8, 4, None, 0.1, 16, 3, 0, PRESETS["light"], ("flip",))
    shown = settings_of(_run(settings=asdict(recipe), arguments={"lr0": 0.002, "imgsz": 64}))
    assert (shown["learning_rate"], shown["image_size"], shown["lora_rank"]) == (0.1, 64, 16)
    wanted = {f"augment.{key}": value for key, value in asdict(PRESETS["light"]).items() if value}
    assert wanted["augment.flip"] is True
    wanted["augment.flip"] = "on"
    # Whatever a trainer keeps, no Python is shown.
    kept = settings_of(_run(settings={"frozen": ["a", 1], "sizes": {"s": (1, 2)}, "amp": False}))
    assert (kept["frozen"], kept["sizes"], kept["amp"]) == ("a, 1", "s 1, 2", "off")
    assert {key: value for key, value in shown.items() if key.startswith("augment")} == wanted
    # A run of which hardly anything is known.
    assert settings_of(_run(settings={"method": "full", "learning_rate": None}, arguments={})) == {
        "method": "full",
        "augment": "none",
    }


def test_the_card_says_what_is_known() -> None:
    card = model_card("Pets", _run(), ["20 images imported as coco from instances.json."])
    assert "asked" not in card
    assert "None" not in card
    assert "It has seen 20 images; chosen is epoch 2 of 3, by mAP50-95 0.200 on 4 others." in card
    assert (
        "The labels of that dataset:\n\n- 20 images imported as coco from instances.json.\n\nThe lic" in card
    )
    assert "labels" not in model_card("Pets", _run(), [])


def test_an_epoch_chosen_on_the_training_images_is_said_to_be() -> None:
    card = model_card("Pets", _run(selected_on="train", images={"train": 20, "validation": 0}), [])
    assert "by mAP50-95 0.200 on these images themselves, which says little of others: none was" in card

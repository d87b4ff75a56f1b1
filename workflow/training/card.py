"""A run's README.md: what is known of the model when it was trained, and nothing else.

Format: https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workflow.tasks import TASKS

# A setting -> what trainers call the value they took where it says nothing.
TAKEN = {"learning_rate": ("learning_rate", "lr0"), "image_size": ("image_size", "imgsz")}


def settings_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decided a training, by run.json's `run`: those set, and what the trainer took itself.

    Of the variations of images only those that were made.
    """
    settings = {key: value for key, value in run["settings"].items() if key not in ("augment", "asked")}
    if settings.get("method") != "lora":
        settings.pop("lora_rank", None)
    arguments = run.get("arguments", {})
    for key, names in TAKEN.items():
        if settings.get(key) is None:
            settings[key] = next((arguments[name] for name in names if arguments.get(name)), None)
    varied = {
        f"augment.{key}": _shown(value) for key, value in run["settings"].get("augment", {}).items() if value
    }
    shown = {key: _shown(value) for key, value in settings.items() if value is not None}
    return dict(sorted(shown.items())) | (varied or {"augment": "none"})


def _shown(value: Any) -> Any:
    """In words: a processor has several sizes, by name; switches are on or off."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(str(_shown(v)) for v in value) if isinstance(value, list | tuple) else value


def model_card(title: str, run: Mapping[str, Any], labels: Sequence[str]) -> str:
    """`run` is what run.json says; `labels` are sentences that say who labeled the dataset."""
    pipeline = TASKS[run["task"]].pipeline
    agpl = run["family"] == "ultralytics"
    licence = "license: agpl-3.0\n" if agpl else ""
    made_with = "Made with ultralytics, which is AGPL-3.0; its vendor holds that this covers the weights too."
    if not agpl:
        made_with = "The licence of the base model's weights covers these too: read its card."
    rows = "\n".join(f"| {key} | {value} |" for key, value in settings_of(run).items())
    origins = "".join(f"- {line}\n" for line in labels)
    return f"""---
pipeline_tag: {pipeline}
tags: [{pipeline}, {run["family"]}]
{licence}---
# {title}

A {run["task"]} model of {", ".join(run["classes"])}, fine-tuned from `{run["base"]["spec"]}` (method
`{run["settings"]["method"]}`) on version `{run["dataset"]}` of the project's dataset.
{_selection(run)}
`workflow evaluate` writes `metrics.json` and `report.html` beside this file.

{f"The labels of that dataset:{chr(10)}{chr(10)}{origins}{chr(10)}" if origins else ""}{made_with}

| setting | value |
|---|---|
{rows}
"""


def _selection(run: Mapping[str, Any]) -> str:
    """On how many images it was trained, and by what the epoch was chosen."""
    curves, images = run["curves"], run["images"]
    best = max(curves, key=lambda epoch: epoch["score"])
    chosen = f"epoch {best['epoch']:.0f} of {len(curves)}, by {run['metric']} {best['score']:.3f}"
    if run["selected_on"] == "train":
        own = "on these images themselves, which says little of others: none was set aside for validation"
        return f"It has seen {images['train']} images; chosen is {chosen} {own}."
    return f"It has seen {images['train']} images; chosen is {chosen} on {images['validation']} others."

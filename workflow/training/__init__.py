"""Fine-tuning: one file a kind of model, behind one door.

`TRAINERS` is the table: the family of the base model -> the file that trains it, and which methods each
task has there. A trainer is a module with `train(job, report)` and `preview(job, path)`; what it makes
is an annotator again, of the family it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.schema import Schema
from workflow.tasks import TaskName

# One row of the learning curve: epoch, seconds, loss, validation_loss, score, images_per_second.
Epoch = dict[str, float]
Report = Callable[[Epoch], None]
ALL = ("head", "lora", "full")


@dataclass(frozen=True)
class Augment:
    """How training images are varied: switches, degrees, and shares by which a thing may change."""

    flip: bool = False
    mosaic: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    colour: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    cutout: float = 0.0


PRESETS = {
    "none": Augment(),
    "light": Augment(flip=True, scale=0.25, colour=0.3, contrast=0.2),
    "strong": Augment(
        flip=True, mosaic=True, rotate=10, scale=0.5, colour=0.6, contrast=0.4, noise=0.05, cutout=0.2
    ),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what training learns; written into the run.

    Without `image_size` or `learning_rate` the trainer takes its own, and says which in the result's
    `arguments`. `asked` names the augmentations that the project set itself: a trainer that cannot do one
    of those refuses, and leaves out what merely came with a preset.
    """

    method: str
    epochs: int
    batch: int
    image_size: int | None
    learning_rate: float | None
    lora_rank: int
    patience: int
    seed: int
    augment: Augment = Augment()
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One training: `base` is a checkpoint as `models.resolve` gives it, `dataset` the Parquet's folder.

    `scratch` is kept when training is stopped and removed when it is done; it may hold what an earlier,
    stopped training of the same job left.
    """

    schema: Schema
    family: str
    base: Path | str
    spec: str
    dataset: Path
    recipe: Recipe
    scratch: Path
    device: str
    log: Path
    # The limits within which images are decoded; see `images.decode`.
    max_megapixels: float = 200.0
    memory: float | None = None


@dataclass(frozen=True)
class Trained:
    """What came of it. `files` is a folder whose content goes into the run; `checkpoint` is named in it.

    `family` loads the checkpoint again. `metric` names the curves' `score`. `arguments` are all values
    that were used, given or not. `images` counts them a split; `selected_on` is the split that chose the
    epoch.
    """

    family: str
    files: Path
    checkpoint: str
    metric: str
    curves: list[Epoch]
    device: str
    images: dict[str, int]
    selected_on: str
    peak_memory_mb: float
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainer:
    """`methods` a task; `refusals` say why a method is none, by its name."""

    place: str
    methods: Mapping[TaskName, tuple[str, ...]]
    refusals: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> Any:
        return import_module(self.place)


YOLO = Trainer(
    "workflow.training.yolo",
    {
        "classification": ("head", "full"),
        "detection": ("head", "full"),
        "oriented-detection": ("head", "full"),
        "keypoints": ("head", "full"),
        "instance-segmentation": ("head", "full"),
    },
    {"lora": "ultralytics has no LoRA, and its depthwise convolutions take no adapters"},
)
CLASSIFICATION = Trainer(
    "workflow.training.classification", {"classification": ALL, "multilabel-classification": ALL}
)
TRAINERS = {
    "ultralytics": YOLO,
    "classifier": CLASSIFICATION,
    "zero-shot": CLASSIFICATION,
    "detr": Trainer("workflow.training.detection", {"detection": ALL}),
    "semantic": Trainer("workflow.training.semantic", {"semantic-segmentation": ALL}),
    "unet": Trainer("workflow.training.unet", {"semantic-segmentation": ALL}),
}


def check(schema: Schema) -> None:
    """ModelError where there is nothing to learn: of one class alone, every answer is right."""
    if schema.task.exclusive and len(schema.classes) == 1:
        what = f"every image is {schema.classes[0]!r}: of one class alone there is nothing to learn"
        fix = 'add another to classes in project.toml, or set task to "multilabel-classification"'
        raise ModelError(what, fix)


def trainer(family: str, task: TaskName, method: str) -> Any:
    """The module that trains a family's models. ModelError says why there is none, and what there is."""
    row = TRAINERS.get(family)
    able = ", ".join(f"{name}:..." for name, other in TRAINERS.items() if task in other.methods)
    if row is None or task not in row.methods:
        fix = f"set train.base to one of {able}" if able else f"{task} has no training yet"
        raise ModelError(f"{family} models are not trained for {task}", fix)
    if method not in row.methods[task]:
        why = row.refusals.get(method, f"it has none for {task}")
        fix = f"set train.method to {' or '.join(row.methods[task])}"
        raise ModelError(f"{family} cannot train by method {method!r}: {why}", fix)
    return row.module

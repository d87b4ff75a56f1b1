"""Small datasets and jobs for the tests of training: drawn images whose labels are exactly known."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from workflow.dataset import parquet
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.tasks import TaskName
from workflow.training import Augment, Job, Recipe

PERSON = Provenance("person", "ann")
CLASSES = ("red", "blue")
COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}
Drawn = tuple[np.ndarray, list[Annotation]]


def shapes(count: int, task: TaskName, size: tuple[int, int] = (96, 128), seed: int = 1) -> list[Drawn]:
    """Images (height, width) of one red and one blue square each, apart; the last image has none."""
    rng = np.random.default_rng(seed)
    height, width = size
    short = min(height, width // 2)
    drawn = []
    for number in range(count):
        pixels = rng.integers(150, 170, (height, width, 3)).astype(np.uint8)
        annotations = []
        for part, label in enumerate(CLASSES if number < count - 1 else ()):
            side = int(rng.integers(short * 3 // 8, short * 3 // 4))
            x = int(rng.integers(0, width // 2 - side)) + part * width // 2
            y = int(rng.integers(0, height - side))
            pixels[y : y + side, x : x + side] = COLOURS[label]
            annotations.append(_annotation(label, (x, y, x + side, y + side), task, size))
        drawn.append((pixels, annotations))
    return drawn


def _annotation(
    label: str, box: tuple[int, int, int, int], task: TaskName, size: tuple[int, int]
) -> Annotation:
    x1, y1, x2, y2 = box
    if task == "detection":
        return Annotation(label, PERSON, box=(float(x1), float(y1), float(x2), float(y2)))
    painted = np.zeros(size, dtype=bool)
    painted[y1:y2, x1:x2] = True
    return Annotation(label, PERSON, mask=masks.encode(painted))


def write_dataset(
    folder: Path, task: TaskName, splits: Mapping[str, Sequence[Drawn]], classes: Sequence[str] = CLASSES
) -> None:
    """The Parquet that `workflow dataset` would write of these images."""
    for split, drawn in splits.items():
        rows = []
        for number, (pixels, annotations) in enumerate(drawn):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            height, width = pixels.shape[:2]
            record = ImageRecord(f"{split}-{number}", f"{split}-{number}.png", width, height, split, "")  # type: ignore[arg-type]
            row = parquet.to_row(record, buffer.getvalue(), annotations, Schema.of(task, classes))
            assert row is not None
            rows.append(row)
        parquet.write(folder / "data" / f"{split}.parquet", rows, parquet.features(Schema.of(task, classes)))


def make_job(folder: Path, task: TaskName, family: str, base: Path, **settings: Any) -> Job:
    """A job on `folder`/dataset. `settings` are the recipe's, and `classes` and `scratch`."""
    # Threads that share operations as small as these wait for each other longer than they work.
    torch.set_num_threads(1)
    defaults: dict[str, Any] = {
        "method": "full",
        "epochs": 2,
        "batch": 4,
        "image_size": None,
        "learning_rate": None,
        "lora_rank": 4,
        "patience": 1000,
        "seed": 0,
        "augment": Augment(),
    }
    classes = settings.pop("classes", CLASSES)
    scratch = folder / settings.pop("scratch", "scratch")
    scratch.mkdir(exist_ok=True)
    return Job(
        schema=Schema.of(task, classes),
        family=family,
        base=base,
        spec=f"{family}:{base.name}",
        dataset=folder / "dataset",
        recipe=Recipe(**(defaults | settings)),
        scratch=scratch,
        device="cpu",
        log=folder / "train.log",
    )

"""The dataset as training takes it: images by number, decoded upright, with their labels as tensors.

The Parquet is unpacked once to a file that is mapped into memory, so that images can be read in any order
and memory stays flat however many there are. Threads decode and vary them ahead of the model.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torchvision import tv_tensors

from workflow.dataset.parquet import ROW_GROUP, file_of, from_row, image_of
from workflow.errors import ModelError
from workflow.images import decode
from workflow.metrics import Metrics, measure
from workflow.models import Guesses, Pixels
from workflow.models.batches import ASPECT
from workflow.models.device import pick_device
from workflow.project.rows import atomic
from workflow.records import Annotation
from workflow.running.ahead import each_ahead
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.shapes.overlap import as_box, as_mask
from workflow.shapes.paint import paint
from workflow.training import Job, Trained
from workflow.training.augment import Example, vary
from workflow.training.ignored import counted, hidden
from workflow.training.loop import Fitted

Made = TypeVar("Made")
# Batches that are prepared before the model asks for them.
AHEAD = 2


class Samples:
    """One split of a job's dataset, by number; empty where the dataset has no such split.

    Images of which one side is more than `ASPECT` times the other are `left_out`, and counted: a network sees
    nothing in them.

    An example has `id`, `image` (uint8, 3 x height x width) and `labels` (class numbers), and what its task
    labels: `boxes` (n x 4, xyxy pixels), `masks` (n x height x width) or `mask` (height x width, 0 where
    no one painted, k for the k-th class, 255 where it is void).
    """

    def __init__(self, job: Job, split: str) -> None:
        self.split = split
        self.schema = job.schema
        self._limits = (job.max_megapixels, job.memory)
        self._parts = _mapped(file_of(job.dataset, split), job.scratch / f"{split}.arrow")
        self._ends = np.cumsum([len(part) for part in self._parts]).tolist()
        sizes = [
            size
            for part in self._parts
            for size in zip(part["width"].to_pylist(), part["height"].to_pylist(), strict=True)
        ]
        narrow = [max(size) > ASPECT * min(size) for size in sizes]
        self._numbers = [number for number, is_narrow in enumerate(narrow) if not is_narrow]
        self.left_out = sum(narrow)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Example:
        row = self._row(number)
        name = image_of(row)
        pixels = decode.from_bytes(row["image"]["bytes"], name, *self._limits)
        return to_example(name, pixels, self._annotations(row), self.schema)

    def picture(self, number: int) -> tuple[str, Pixels, list[Annotation]]:
        """An image's id, upright pixels and annotations, as an annotator and the metrics take them."""
        row = self._row(number)
        name = image_of(row)
        return name, decode.from_bytes(row["image"]["bytes"], name, *self._limits), self._annotations(row)

    def _row(self, number: int) -> dict[str, Any]:
        number = self._numbers[number]
        part = bisect_right(self._ends, number)
        first = self._ends[part - 1] if part else 0
        return self._parts[part].slice(number - first, 1).to_pylist()[0]

    def _annotations(self, row: dict[str, Any]) -> list[Annotation]:
        return from_row(row, self.schema)


def splits(job: Job) -> tuple[Samples, Samples]:
    """The images to train on and those to select the epoch on: the same ones where none are set aside.

    ModelError where there is nothing to train on.
    """
    train, validation = Samples(job, "train"), Samples(job, "validation")
    if not len(train):
        raise ModelError("the dataset has no training images", "label more images, then workflow pull")
    return train, validation if len(validation) else train


def counts(job: Job) -> dict[str, int]:
    """How many images each of the two splits has."""
    return {split: len(Samples(job, split)) for split in ("train", "validation")}


def trained(family: str, job: Job, learner: Any, fitted: Fitted, files: Path) -> Trained:
    """What came of a job whose model lies in `files`/model, by which `family` loads it."""
    return Trained(
        family=family,
        files=files,
        checkpoint="model",
        metric=learner.metric,
        curves=fitted.curves,
        device=learner.device,
        images=counts(job),
        selected_on=learner.selection.split,
        peak_memory_mb=fitted.peak_memory_mb,
        arguments=fitted.arguments | left_out(job),
    )


def left_out(job: Job) -> dict[str, dict[str, int]]:
    """What was not trained on, by reason; nothing where all was."""
    count = sum(Samples(job, split).left_out for split in ("train", "validation"))
    why = f"images with one side more than {ASPECT} times the other"
    return {"left_out": {why: count}} if count else {}


def to_example(name: str, pixels: Pixels, annotations: Sequence[Annotation], schema: Schema) -> Example:
    """One image with its labels as tensors; see `Samples`. Of objects, what is ignored is hidden."""
    size = pixels.shape[:2]
    if schema.task.kind == "objects":
        pixels, annotations = hidden(pixels, annotations), counted(annotations)
    example: Example = {
        "id": name,
        "image": tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))),
        "labels": torch.tensor(
            [schema.classes.index(a.label) for a in annotations if not a.ignored], dtype=torch.int64
        ),
    }
    if schema.task.kind == "pixels":
        painting = paint(annotations, schema.classes, *size)
        example["mask"] = tv_tensors.Mask(torch.from_numpy(painting.pixels))
    elif "mask" in schema.task.geometry:
        pixels_of = [masks.decode(as_mask(a, *size)) for a in annotations]
        example["masks"] = tv_tensors.Mask(torch.from_numpy(np.array(pixels_of).reshape(-1, *size)))
        example["boxes"] = _boxes(annotations, size)
    elif schema.task.geometry == ("box",):
        example["boxes"] = _boxes(annotations, size)
    return example


def _boxes(annotations: Sequence[Annotation], size: tuple[int, ...]) -> tv_tensors.BoundingBoxes:
    """Not cut by torchvision when they move, so that it can be told how much of each stays in view."""
    corners = torch.tensor([as_box(a) for a in annotations], dtype=torch.float32).reshape(-1, 4)
    made: Any = tv_tensors.BoundingBoxes
    return made(corners, format="XYXY", canvas_size=size, clamping_mode=None)


def batches(
    samples: Samples,
    make: Callable[[Example, np.random.Generator], Made],
    job: Job,
    epoch: int,
) -> Iterator[list[Made]]:
    """One epoch: all samples in an order drawn by lot, in batches all but equal in size.

    `make` turns an example, varied as the job says, into what the model takes. It runs in threads; the
    generator it gets, as all lots here, follows from (seed, epoch, number of the image), so that a training
    that was stopped sees what it would have seen.
    """
    seed = job.recipe.seed
    order = np.random.default_rng([seed, epoch]).permutation(len(samples))

    def one(number: int) -> Made:
        rng = np.random.default_rng([seed, epoch, number])
        return make(vary(samples[number], job.recipe.augment, rng), rng)

    # A single image is a batch of two.
    order = np.repeat(order, 2) if len(order) == 1 and job.recipe.batch > 1 else order
    parts = np.array_split(order, steps(samples, job))
    waiting = AHEAD * len(parts[0])
    with closing(each_ahead(one, order.tolist(), waiting, _threads(job.device))) as examples:
        for part in parts:
            yield list(islice(examples, len(part)))


def steps(samples: Samples, job: Job) -> int:
    """The number of batches an epoch. They are all but equal in size, and none is of one image.

    A last batch of one is noise, and what normalises over a batch cannot do with it: where batches of the
    size that was asked for would leave one, there are fewer, larger ones.
    """
    count = len(samples)
    number = -(-count // job.recipe.batch)
    return min(number, max(1, count // 2)) if job.recipe.batch > 1 else number


def score(
    samples: Samples, ask: Callable[[list[Pixels], list[list[Annotation]]], list[Guesses]], batch: int
) -> Metrics:
    """The metrics of what `ask` says of a batch of images, by the path that evaluation takes.

    `ask` gets the truth too, for the loss.
    """
    sizes: dict[str, tuple[int, int]] = {}
    truth: dict[str, list[Annotation]] = {}
    predicted: dict[str, Guesses] = {}
    for first in range(0, len(samples), batch):
        some = [samples.picture(number) for number in range(first, min(first + batch, len(samples)))]
        guesses_of_all = ask([pixels for _, pixels, _ in some], [annotations for _, _, annotations in some])
        for (name, pixels, annotations), guesses in zip(some, guesses_of_all, strict=True):
            sizes[name] = (pixels.shape[1], pixels.shape[0])
            truth[name], predicted[name] = annotations, guesses
    return measure(samples.schema, sizes, truth, predicted)


def _threads(device: str) -> int:
    """A GPU waits for images; on a CPU more than one thread would take the cores from the model."""
    return min(8, os.cpu_count() or 1) if pick_device(device).startswith("cuda") else 1


def _mapped(parquet: Path | None, unpacked: Path) -> list[Any]:
    """The rows of a Parquet file, if any, as record batches that lie on the disk until they are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if parquet is None:
        return []
    if not unpacked.exists():
        source = pq.ParquetFile(parquet)
        with atomic(unpacked) as file, pa.ipc.new_file(file, source.schema_arrow) as writer:
            for part in source.iter_batches(ROW_GROUP):
                writer.write_batch(part)
    reader = pa.ipc.open_file(pa.memory_map(str(unpacked)))
    return [reader.get_batch(number) for number in range(reader.num_record_batches)]

"""The training loop of every model that torch trains here: one epoch after another, resumable.

Each epoch starts from seeds made of (seed, epoch) and ends in a checkpoint that appears whole, so a
training that was killed goes on from its last epoch and ends as if it had not been: to the bit on the CPU.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from workflow.errors import ModelError
from workflow.models.device import autocast, peak_memory_mb, training_autocast, training_precision
from workflow.project.rows import atomic
from workflow.training import Epoch, Job, Report

WEIGHT_DECAY = 0.01
WARM_UP = 0.05
FLOOR = 0.01
State = dict[str, Tensor]


class Learner(Protocol):
    """One task's model and data, as the loop needs them.

    `model` is on `device`; what is frozen has `requires_grad` False. `steps` is the number of batches an
    epoch.
    """

    model: nn.Module
    device: str
    steps: int

    def batches(self, epoch: int) -> Iterable[Any]:
        """Training batches on the CPU, in an order and varied in a way that follow from (seed, epoch).

        Whoever prepares them in a thread must not draw from torch's global random numbers there: dropout
        draws from the same, and no two runs would be alike.
        """
        ...

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """Move the batch to the device; the mean loss over its images, and how many they are."""
        ...

    def validate(self) -> tuple[float | None, float]:
        """Loss (None if there is none) and score (higher is better) on the split that selects."""
        ...


@dataclass(frozen=True)
class Fitted:
    """What `fit` did; the model holds the best epoch's weights and is in evaluation mode."""

    curves: list[Epoch]
    arguments: dict[str, Any]
    peak_memory_mb: float


def seed_everything(seed: int, epoch: int = 0) -> None:
    """Call it before a model gets a new head; `fit` does at the start of each epoch (1, 2, ...)."""
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def fit(
    learner: Learner,
    job: Job,
    report: Report,
    *,
    learning_rate: float,
    arguments: dict[str, Any],
    clip: float = 1.0,
) -> Fitted:
    """Train by AdamW, warm-up and cosine, until the epochs or the patience are spent; keep the best epoch.

    `arguments` are the caller's own, to go into the run beside the loop's. ModelError where the loss is no
    number any more.
    """
    recipe = job.recipe
    optimizer = torch.optim.AdamW(_groups(learner.model), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    checkpoint = Checkpoint(job.scratch)
    curves = checkpoint.resume(learner.model, optimizer, learner.device)
    for epoch in curves:
        report(epoch)
    schedule = Schedule(learning_rate, learner.steps, recipe.epochs)
    while len(curves) < recipe.epochs and not _stalled(curves, recipe.patience):
        row = _epoch(learner, optimizer, schedule, curves, recipe.seed, clip)
        curves.append(row)
        checkpoint.save(learner.model, optimizer, curves)
        report(row)
    checkpoint.restore_best(learner.model, curves)
    learner.model.eval()
    used = {
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "seed": recipe.seed,
        "patience": recipe.patience,
        "optimizer": "AdamW",
        "learning_rate": learning_rate,
        "schedule": "cosine",
        "warm_up_steps": schedule.warm_up,
        "weight_decay": WEIGHT_DECAY,
        "clip": clip,
        "precision": training_precision(learner.device),
    }
    return Fitted(curves, used | arguments, max(row["peak_memory_mb"] for row in curves))


@dataclass(frozen=True)
class Schedule:
    """The learning rate of a step: a straight way up, then half a cosine down to a hundredth."""

    peak: float
    steps: int
    epochs: int

    @property
    def total(self) -> int:
        return self.steps * self.epochs

    @property
    def warm_up(self) -> int:
        return max(1, round(WARM_UP * self.total))

    def __call__(self, epoch: int, step: int) -> float:
        done = (epoch - 1) * self.steps + step + 1
        if done <= self.warm_up:
            return self.peak * done / self.warm_up
        share = (done - self.warm_up) / max(1, self.total - self.warm_up)
        return self.peak * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * min(1.0, share))) / 2)


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """What learns: matrices with weight decay; biases, norms and scales without."""
    learning = [weights for weights in model.parameters() if weights.requires_grad]
    return [
        {"params": [weights for weights in learning if weights.dim() > 1]},
        {"params": [weights for weights in learning if weights.dim() <= 1], "weight_decay": 0.0},
    ]


def _epoch(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    before: Sequence[Epoch],
    seed: int,
    clip: float,
) -> Epoch:
    """Train and validate once more; the new row of the curves. Seconds go on from where they were."""
    number, begin = len(before) + 1, time.monotonic()
    seed_everything(seed, number)
    loss, images = _train_epoch(learner, optimizer, schedule, number, clip)
    rate = images / (time.monotonic() - begin)
    if not math.isfinite(loss):
        raise ModelError(f"the loss of epoch {number} is {loss}", "set a lower train.learning_rate")
    validation_loss, score = _validate(learner)
    seconds = (before[-1]["seconds"] if before else 0.0) + time.monotonic() - begin
    row = {"epoch": number, "seconds": seconds, "loss": loss, "score": score}
    row |= {} if validation_loss is None else {"validation_loss": validation_loss}
    return row | {"images_per_second": rate, "peak_memory_mb": peak_memory_mb(learner.device)}


def _train_epoch(
    learner: Learner, optimizer: torch.optim.Optimizer, schedule: Schedule, number: int, clip: float
) -> tuple[float, int]:
    """Mean loss and number of images. The sum stays on the device: reading it would stop the pipeline."""
    _learning_mode(learner.model)
    learning = [weights for weights in learner.model.parameters() if weights.requires_grad]
    total, images = torch.zeros((), device=learner.device), 0
    for step, batch in enumerate(learner.batches(number)):
        for group in optimizer.param_groups:
            group["lr"] = schedule(number, step)
        with training_autocast(learner.device), _norms_refuse_one():
            loss, count = learner.loss(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(learning, clip)
        optimizer.step()
        total += loss.detach().float() * count
        images += count
    return float(total) / max(1, images), images


@contextmanager
def _norms_refuse_one() -> Iterator[None]:
    """ModelError where a network normalises over the batch, and the batch is a single image."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        what = "this network normalises over a batch, which takes two images or more"
        raise ModelError(what, "set train.batch to 2 or more") from None


def _learning_mode(model: nn.Module) -> None:
    """Training mode; a part in which nothing learns is not varied either: no dropout, statistics kept."""
    model.train()
    for module in model.modules():
        weights = list(module.parameters())
        if weights and not any(one.requires_grad for one in weights):
            module.eval()


def _validate(learner: Learner) -> tuple[float | None, float]:
    """In evaluation mode and precision, as the annotator will be asked.

    No inference mode: what a model computes once and keeps, as anchors, is trained with later.
    """
    learner.model.eval()
    with torch.no_grad(), autocast(learner.device):
        return learner.validate()


def _best(curves: Sequence[Epoch]) -> int:
    """The index of the best epoch: by score, among equals by the validation loss, then the first."""
    keys = [(row["score"], -row.get("validation_loss", 0.0)) for row in curves]
    return keys.index(max(keys))


def _stalled(curves: Sequence[Epoch], patience: int) -> bool:
    """Whether the score has not risen for that many epochs."""
    scores = [row["score"] for row in curves]
    return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience


@dataclass(frozen=True)
class Checkpoint:
    """What a stopped training goes on from: `last.pt`, and the best epoch's weights, named by its number.

    Only tensors and plain values, so that it loads without unpickling anything else.
    """

    folder: Path

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, curves: list[Epoch]) -> None:
        state, best = learned(model), _best(curves)
        if best == len(curves) - 1:
            _write(self._best_file(best), state)
        _write(self._last, {"model": state, "optimizer": optimizer.state_dict(), "curves": curves})
        for path in self._best_files():
            if path != self._best_file(best):
                path.unlink()

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer, device: str) -> list[Epoch]:
        """Put model and optimizer where the last finished epoch left them; the curves so far."""
        if not self._last.exists():
            return []
        last = torch.load(self._last, map_location=device, weights_only=True)
        _put(model, last["model"])
        optimizer.load_state_dict(last["optimizer"])
        return last["curves"]

    def restore_best(self, model: nn.Module, curves: list[Epoch]) -> None:
        _put(model, torch.load(self._best_file(_best(curves)), map_location="cpu", weights_only=True))

    @property
    def _last(self) -> Path:
        return self.folder / "last.pt"

    def _best_file(self, index: int) -> Path:
        return self.folder / f"best-{index + 1}.pt"

    def _best_files(self) -> Iterator[Path]:
        return self.folder.glob("best-*.pt")


def learned(model: nn.Module) -> State:
    """The weights that learn, and the buffers: statistics move with them."""
    frozen = {name for name, w in model.named_parameters(remove_duplicate=False) if not w.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def _put(model: nn.Module, state: State) -> None:
    problems = model.load_state_dict(state, strict=False)
    assert not problems.unexpected_keys, problems.unexpected_keys


def _write(path: Path, content: Any) -> None:
    with atomic(path) as file:
        torch.save(content, file)

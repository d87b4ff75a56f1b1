"""The training loop: what it does with a small network, and that a kill changes nothing."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.training_jobs import make_job
from workflow.errors import ModelError
from workflow.training import Epoch, Job
from workflow.training.loop import Fitted, Schedule, _learning_mode, fit, learned, seed_everything

IMAGES, BATCH = 24, 4


class Parity:
    """Learns by heart which points lie in which corner; with dropout and statistics, as large networks."""

    device = "cpu"
    steps = IMAGES // BATCH

    def __init__(self, seed: int = 0) -> None:
        seed_everything(seed)
        self.seed = seed
        self.model = nn.Sequential(
            nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2)
        )
        points = torch.rand(IMAGES, 2, generator=torch.Generator().manual_seed(7)) - 0.5
        self.points, self.corners = points, (points.prod(dim=1) > 0).long()

    def batches(self, epoch: int) -> Iterator[Tensor]:
        order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(1000 * self.seed + epoch))
        yield from order.split(BATCH)

    def loss(self, batch: Tensor) -> tuple[Tensor, int]:
        return F.cross_entropy(self.model(self.points[batch]), self.corners[batch]), len(batch)

    def validate(self) -> tuple[float, float]:
        logits = self.model(self.points)
        accuracy = (logits.argmax(dim=1) == self.corners).double().mean()
        return float(F.cross_entropy(logits, self.corners)), float(accuracy)


class Stuck(Parity):
    """Says that it is in the middle of its second epoch, and waits there."""

    def batches(self, epoch: int) -> Iterator[Tensor]:
        for step, batch in enumerate(super().batches(epoch)):
            if (epoch, step) == (2, 3):
                print("in the middle", flush=True)
                time.sleep(120)
            yield batch


class Stopped(Parity):
    def batches(self, epoch: int) -> Iterator[Tensor]:
        for step, batch in enumerate(super().batches(epoch)):
            if (epoch, step) == (2, 3):
                raise KeyboardInterrupt
            yield batch


class Scripted(Parity):
    """Its validation says what is written."""

    def __init__(self, *script: tuple[float | None, float]) -> None:
        super().__init__()
        self.script = list(script)
        self.weights: list[Tensor] = []

    def validate(self) -> tuple[float | None, float]:  # type: ignore[override]
        self.weights.append(self.model[0].weight.detach().clone())
        return self.script.pop(0)


def job_in(folder: Path, **settings: object) -> Job:
    return make_job(folder, "classification", "classifier", folder, **{"epochs": 5, **settings})


def train(learner: Parity, job: Job, told: list[Epoch] | None = None) -> Fitted:
    report = (told if told is not None else []).append
    return fit(learner, job, report, learning_rate=0.02, arguments={"image_size": 2})


def unkilled(folder: Path) -> tuple[Parity, Fitted]:
    folder.mkdir()
    learner = Parity()
    return learner, train(learner, job_in(folder))


def same(learner: Parity, fitted: Fitted, other: Parity, reference: Fitted) -> None:
    """To the bit: weights, statistics and all of the curves but what a clock says."""
    for name, weights in other.model.state_dict().items():
        assert torch.equal(learner.model.state_dict()[name], weights), name
    keys = ("epoch", "loss", "validation_loss", "score")
    told, wanted = ([[row[key] for key in keys] for row in f.curves] for f in (fitted, reference))
    assert told == wanted


def test_it_learns_and_says_how(tmp_path: Path) -> None:
    learner, told = Parity(), []  # type: ignore[var-annotated]
    fitted = train(learner, job_in(tmp_path, epochs=20), told)
    assert told == fitted.curves
    assert [row["epoch"] for row in told] == list(range(1, 21))
    assert told[-1]["validation_loss"] < told[0]["validation_loss"] * 0.6
    assert max(row["score"] for row in told) > 0.85
    assert all(a["seconds"] < b["seconds"] for a, b in zip(told, told[1:], strict=False))
    assert min(row["images_per_second"] for row in told) > 0
    assert fitted.peak_memory_mb == told[-1]["peak_memory_mb"] > 50
    assert not learner.model.training
    precision = fitted.arguments.pop("precision")
    assert precision in ("float32", "bfloat16")
    assert fitted.arguments == {
        "epochs": 20,
        "batch": 4,
        "seed": 0,
        "patience": 1000,
        "optimizer": "AdamW",
        "learning_rate": 0.02,
        "schedule": "cosine",
        "warm_up_steps": 6,
        "weight_decay": 0.01,
        "clip": 1.0,
        "image_size": 2,
    }


@pytest.mark.slow
def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    reference = unkilled(tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    script = (
        "from pathlib import Path; from tests.training.test_loop import Stuck, job_in, train;"
        f"train(Stuck(), job_in(Path({str(killed)!r})))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout
    assert process.stdout.readline() == "in the middle\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    learner, told = Parity(), []  # type: ignore[var-annotated]
    fitted = train(learner, job_in(killed), told)
    assert [row["epoch"] for row in told] == [1, 2, 3, 4, 5]
    same(learner, fitted, *reference)


def test_a_stopped_training_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    reference = unkilled(tmp_path / "whole")
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(Stopped(), job_in(stopped))
    # A kill within the writing of a checkpoint leaves this, too.
    (stopped / "scratch" / ".last.pt.partial").write_bytes(b"half")
    learner = Parity()
    same(learner, train(learner, job_in(stopped)), *reference)
    assert not list((stopped / "scratch").glob(".*"))


def test_a_finished_training_is_only_read(tmp_path: Path) -> None:
    learner, fitted = unkilled(tmp_path / "whole")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "whole" / "scratch").iterdir()}
    again = Parity(seed=3)
    assert train(again, job_in(tmp_path / "whole")).curves == fitted.curves
    same(again, fitted, learner, fitted)
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "whole" / "scratch").iterdir()} == before


def test_another_seed_is_another_training(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    _, reference = unkilled(tmp_path / "whole")
    fitted = train(Parity(seed=1), job_in(tmp_path / "other", seed=1))
    assert fitted.curves[0]["loss"] != reference.curves[0]["loss"]


@pytest.mark.parametrize(
    ("script", "best"),
    [
        ([(0.9, 0.2), (0.8, 0.7), (0.7, 0.5)], 2),
        ([(0.9, 0.7), (0.8, 0.7), (0.8, 0.7)], 2),
        ([(None, 0.5), (None, 0.5), (None, 0.1)], 1),
    ],
    ids=["the highest score", "among equals the lowest loss", "else the first"],
)
def test_the_best_epoch_is_kept(tmp_path: Path, script: list, best: int) -> None:
    learner = Scripted(*script)
    fitted = train(learner, job_in(tmp_path, epochs=3))
    assert torch.equal(learner.model[0].weight, learner.weights[best - 1])
    assert sorted(p.name for p in (tmp_path / "scratch").iterdir()) == [f"best-{best}.pt", "last.pt"]
    known = [loss is not None for loss, _ in script]
    assert ["validation_loss" in row for row in fitted.curves] == known


def test_it_stops_when_the_score_has_not_risen_for_the_patience(tmp_path: Path) -> None:
    learner = Scripted((0.9, 0.5), (0.8, 0.6), (0.7, 0.6), (0.6, 0.4), (0.5, 0.9))
    fitted = train(learner, job_in(tmp_path, epochs=5, patience=2))
    assert [row["score"] for row in fitted.curves] == [0.5, 0.6, 0.6, 0.4]


def test_a_loss_that_is_no_number_is_one_line(tmp_path: Path) -> None:
    learner = Parity()
    learner.points = learner.points * math.nan
    with pytest.raises(ModelError) as error:
        train(learner, job_in(tmp_path))
    assert str(error.value) == "the loss of epoch 1 is nan -> set a lower train.learning_rate"
    assert not list((tmp_path / "scratch").iterdir())


def test_the_rate_warms_up_and_falls() -> None:
    schedule = Schedule(1.0, steps=10, epochs=4)
    rates = [schedule(epoch, step) for epoch in range(1, 5) for step in range(10)]
    assert schedule.warm_up == 2
    assert rates[:2] == [0.5, 1.0]
    assert rates[20] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 19 / 38)) / 2)
    assert rates[-1] == pytest.approx(0.01)
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_what_is_frozen_is_not_varied_nor_kept(tmp_path: Path) -> None:
    learner = Parity()
    body, norm, _, dropout, head = learner.model
    body.requires_grad_(False)
    norm.requires_grad_(False)
    before = [value.clone() for value in (body.weight, norm.weight, norm.running_mean)]
    fitted = train(learner, job_in(tmp_path))
    assert len(fitted.curves) == 5
    after = (body.weight, norm.weight, norm.running_mean)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    _learning_mode(learner.model)
    assert [m.training for m in (body, norm, dropout, head)] == [False, False, True, True]
    kept = {"1.running_mean", "1.running_var", "1.num_batches_tracked", "4.weight", "4.bias"}
    assert set(learned(learner.model)) == kept
    assert set(torch.load(tmp_path / "scratch" / "last.pt", weights_only=True)["model"]) == kept


def test_only_matrices_decay(tmp_path: Path) -> None:
    """A loss that teaches nothing leaves only the decay: by the rate, of what it is meant for."""

    class Idle(Parity):
        def loss(self, batch: Tensor) -> tuple[Tensor, int]:
            return 0 * super().loss(batch)[0], len(batch)

    learner = Idle()
    before = {name: weights.detach().clone() for name, weights in learner.model.named_parameters()}
    job = job_in(tmp_path)
    train(learner, replace(job, recipe=replace(job.recipe, epochs=1)))
    schedule = Schedule(0.02, Parity.steps, 1)
    left = math.prod(1 - 0.01 * schedule(1, step) for step in range(Parity.steps))
    for name, weights in learner.model.named_parameters():
        expected = before[name] * left if weights.dim() > 1 else before[name]
        torch.testing.assert_close(weights.detach(), expected, rtol=1e-6, atol=0)

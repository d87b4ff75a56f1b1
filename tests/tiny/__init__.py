"""Tiny models, saved as a hub's checkpoints are, so that they load as those do: one file a family.

A file is named as its family (`-` as `_`) and has CASES; the contract's tests run over all of them. Weights
are random, from a fixed seed, unless the real ones are to be had without a hub. Thresholds must be low,
since nothing was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

# Before torch, whose threads it keeps from spinning.
import workflow.models.device  # noqa: F401
from workflow.models import MODELS
from workflow.tasks import TaskName

# What most tiny models know: the ten digits, in the order a shuffled label file may have them.
NAMES = {number: str(9 - number) for number in range(10)}
IDS = {name: number for number, name in NAMES.items()}
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Case:
    """One tiny checkpoint: `build` makes it in the folder that `spec` names.

    `names` is what the loaded model says it can tell; none where it finds what it is told. `prior` says
    that it needs boxes from a model before it, `scored` whether its guesses have scores. `skip` names tests
    of the contract that have no meaning for it, each with the reason. `slow` is for what starts a process at
    each test.
    """

    spec: str
    build: Callable[[Path], Any]
    task: TaskName = "detection"
    names: tuple[str, ...] = tuple(NAMES.values())
    threshold: float = 0.1
    prior: bool = False
    scored: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False

    @property
    def family(self) -> str:
        return self.spec.partition(":")[0]

    @property
    def checkpoint(self) -> str:
        return self.spec.partition(":")[2]


def enliven(model: Any) -> None:
    """Larger weights, so that a box differs from the next; those of a fresh model all but agree."""
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 2 and "embed" not in name:
                weights.normal_(std=0.3)


def _cases(family: str) -> tuple[Case, ...]:
    return import_module(f"tests.tiny.{family.replace('-', '_')}").CASES


CASES: dict[str, Case] = {case.spec: case for family in MODELS for case in _cases(family)}


def build(checkpoint: str, folder: Path) -> None:
    """Save the tiny model `tiny/NAME` as `folder`."""
    next(case for case in CASES.values() if case.checkpoint == f"tiny/{checkpoint}").build(folder)

"""A run loads from its card; `max_det` is a setting, and a bound that is reached is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import DIGITS, build
from workflow import models
from workflow.errors import ModelError
from workflow.models import Options
from workflow.project.rows import write_json

PICTURE = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)


@pytest.mark.parametrize("task", ["instance-segmentation", "semantic-segmentation"])
def test_a_runs_task_is_its_cards(tmp_path: Path, task: str) -> None:
    """Neither the name of the run nor that of the checkpoint says what it is of."""
    run = tmp_path / "data" / "runs" / "cells-1"
    build("mask2former-digits-instance", run / "model")
    write_json(run / "run.json", {"family": "mask2former", "checkpoint": "model", "task": task})
    annotator = models.load("run:cells-1", tmp_path, Options(device="cpu"))
    assert annotator.task == task
    annotator.close()


def test_a_card_of_no_task_is_one_line(tmp_path: Path) -> None:
    run = tmp_path / "data" / "runs" / "cells-1"
    run.mkdir(parents=True)
    write_json(run / "run.json", {"family": "mask2former", "checkpoint": "model", "task": "cells"})
    with pytest.raises(ModelError) as error:
        models.load("run:cells-1", tmp_path, Options(device="cpu"))
    assert str(error.value) == (
        f"{run / 'run.json'}: says 'cells', which is no task -> mend it, or workflow train --force"
    )


@pytest.mark.parametrize("name", ["detr", "deformable-detr"])
def test_the_best_are_kept_and_the_bound_is_said(tmp_path: Path, name: str) -> None:
    build(name, tmp_path / "tiny")

    def ask(**settings: int) -> tuple[models.Guesses, tuple[str, ...]]:
        annotator = models.load("detr:tiny", tmp_path, Options(threshold=0.0, device="cpu", **settings))
        (guesses,) = annotator.annotate([PICTURE], [()], DIGITS)
        annotator.close()
        return guesses, annotator.shortfalls

    every, told = ask()
    assert told == (
        f"detr:tiny gave {len(every)} guesses, the most it can, on 1 images: there may be more objects",
    )
    few, told = ask(max_det=3)
    assert [a.box for a in few] == [a.box for a in every[:3]]
    assert told == ("detr:tiny gave 3 guesses, the most it can, on 1 images: there may be more objects",)


def test_a_bound_that_is_not_set_changes_no_revision() -> None:
    """What an earlier version guessed is still what it was."""
    assert Options().identity() == [None, None, {}, {}, [], False]
    assert Options(max_det=5).identity() == [None, None, {}, {}, [], False, 5]

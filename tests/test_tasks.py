"""Every task has its entry in every table that is keyed by tasks, or is refused by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

import pytest

from workflow import metrics
from workflow.dataset import card, parquet
from workflow.errors import ConfigError
from workflow.formats.page import FORMATS
from workflow.labelstudio import config, interface
from workflow.metrics.detection_record import METRIC
from workflow.models import MODELS
from workflow.schema import Schema
from workflow.shown import app
from workflow.tasks import TASKS, Kind, TaskName, task_named
from workflow.training import TRAINERS

OBJECTS = [name for name, task in TASKS.items() if task.kind == "objects"]
BY_TASK: dict[str, tuple[Collection[str], Collection[str]]] = {
    "what can be said of a task": (TASKS, get_args(TaskName)),
    "the dataset's card": (card.HOW_TO_READ, TASKS),
    "controls of an own interface": (interface.WANTED, TASKS),
    "what average precision is called": (METRIC, OBJECTS),
}
BY_KIND: dict[str, Collection[str]] = {
    "columns of the dataset": parquet.COLUMNS,
    "who measures": metrics.MEASURES,
    "what holds the numbers": metrics.NUMBERS,
    "how the App shows it": app.KINDS,
}


@pytest.mark.parametrize("table", BY_TASK)
def test_a_table_has_just_the_tasks_it_is_about(table: str) -> None:
    entries, wanted = BY_TASK[table]
    assert set(entries) == set(wanted)


@pytest.mark.parametrize("table", BY_KIND)
def test_a_table_has_each_kind(table: str) -> None:
    assert set(BY_KIND[table]) == set(get_args(Kind))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_can_be_labeled_annotated_trained_and_carried(name: str) -> None:
    task = TASKS[name]
    assert config.controls(task, "brush") and config.controls(task, "polygon")
    assert any(name in family.tasks for family in MODELS.values())
    assert any(name in trainer.methods for trainer in TRAINERS.values())
    assert any(name in row.tasks for row in FORMATS.values())
    assert set(task.from_tasks) <= set(TASKS)
    assert (task.kind == "labels") == (not task.geometry)


def test_a_task_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="no task 'panoptic' -> one of: classification, "):
        task_named("panoptic")
    with pytest.raises(ConfigError):
        Schema.of("panoptic", ["a"])


def test_a_schema_is_what_a_file_says() -> None:
    schema = Schema.of("keypoints", ["cat"], ["nose"])
    assert schema.labels == ("cat", "nose")
    assert Schema.from_json(schema.to_json() | {"more": 1}) == schema
    assert schema.to_json() == {"task": "keypoints", "classes": ["cat"], "keypoints": ["nose"]}

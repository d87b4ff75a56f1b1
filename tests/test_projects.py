"""The example projects: their settings hold, and what they download is what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.drawing import run_draw
from workflow import models
from workflow.project import load_project
from workflow.stages import catalog, train
from workflow.store import read_catalog
from workflow.training import trainer

PROJECTS = sorted(path.parent.name for path in (REPOSITORY / "projects").glob("*/project.toml"))


def test_the_examples_are_there() -> None:
    assert {"cutouts", "photos", "street", "zipcodes"} <= set(PROJECTS)


@pytest.mark.parametrize("name", PROJECTS)
def test_every_model_of_an_example_is_known_and_trains_its_task(name: str) -> None:
    project = load_project(REPOSITORY / "projects" / name)
    for spec in project.settings.preannotate.models:
        family, _ = models.resolve(spec, project.folder)
        assert family in models.MODELS
    family, _ = models.resolve(train.base_spec(project), project.folder)
    assert trainer(family, project.settings.task, project.settings.train.method)


@pytest.mark.parametrize(("name", "fetched"), [("street", 2), ("cutouts", 2), ("photos", 0), ("zipcodes", 0)])
def test_what_an_example_downloads_stands_in_its_head(name: str, fetched: int) -> None:
    project = load_project(REPOSITORY / "projects" / name)
    head = (project.folder / "project.toml").read_text().split("\nname")[0]
    remote = [models.resolve(spec, project.folder)[1] for spec in project.settings.preannotate.models]
    named = [checkpoint for checkpoint in remote if isinstance(checkpoint, str) and checkpoint in head]
    assert len(named) == fetched
    assert head.count("MB") == fetched


def test_the_photographs_are_drawn_once_and_split_by_scene(tmp_path: Path) -> None:
    draw = run_draw("photos", "draw_photographs")
    data = tmp_path / "photos" / "data"
    count = draw(data, 3)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*.jpg")}
    assert draw(data, 3) == count == len(before)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.jpg")} == before
    toml = (REPOSITORY / "projects" / "photos" / "project.toml").read_text()
    (tmp_path / "photos" / "project.toml").write_text(toml)
    project = load_project(tmp_path / "photos")
    catalog.run(project)
    records = read_catalog(project.catalog)
    lines = (data / "truth" / "truth.jsonl").read_text().splitlines()
    truth = {row["file"]: row["annotations"] for row in map(json.loads, lines)}
    shown = {r.split: set() for r in records}
    for record in records:
        shown[record.split] |= {a["label"] for a in truth[record.path]}
    assert shown["train"] == shown["test"] == set(project.settings.classes)
    sides = {r.group: set() for r in records}
    for record in records:
        sides[record.group].add(record.split)
    assert all(len(splits) == 1 for splits in sides.values())

"""The example projects: their settings hold, and what they download is what they say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.drawing import run_draw
from workflow import models
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog
from workflow.records import SPLITS
from workflow.stages import catalog, train
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


def test_the_thumbnails_are_drawn_once_and_every_side_has_every_class(tmp_path: Path) -> None:
    draw = run_draw("photos", "draw_thumbnails")
    data = tmp_path / "photos" / "data"
    count = draw(data)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*.png")}
    assert draw(data) == count == len(before) == 240
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*.png")} == before
    toml = (REPOSITORY / "projects" / "photos" / "project.toml").read_text()
    (tmp_path / "photos" / "project.toml").write_text(toml)
    project = load_project(tmp_path / "photos")
    assert catalog.run(project).did.endswith(", 0 duplicates, 0 quarantined")
    records = read_catalog(project.catalog)
    lines = (data / "truth" / "truth.jsonl").read_text().splitlines()
    truth = {row["file"]: row["annotations"] for row in map(json.loads, lines)}
    shown: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for record in records:
        shown[record.split].update(a["label"] for a in truth[record.path])
    assert all(set(shown[split]) == set(project.settings.classes) for split in SPLITS)
    assert sum(map(Counter.total, shown.values())) == 238

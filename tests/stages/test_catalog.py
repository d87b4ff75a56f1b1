from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from workflow.errors import StageError
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows
from workflow.project.settings import SplitRule
from workflow.stages import catalog

TOML = 'name = "pets"\ntitle = "Pets"\nclasses = ["cat"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project.toml").write_text(TOML)
    folder = tmp_path / "data" / "images" / "deep"
    folder.mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (20 + number, 10), (number, 0, 0)).save(folder / f"{number}.png")
    return load_project(tmp_path)


def test_images_duplicates_and_quarantine(project: Project) -> None:
    shutil.copy(project.images / "deep" / "3.png", project.images / "zz-copy.png")
    (project.images / "broken.jpg").write_text("no image")
    (project.images / "notes.txt").write_text("ignored")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 30)).save(project.images / "turned.jpg", exif=exif)
    outcome = catalog.run(project)
    records = read_catalog(project.catalog)
    assert len(records) == 11
    assert {r.path: (r.width, r.height) for r in records}["turned.jpg"] == (30, 40)
    third = next(r for r in records if r.path == "deep/3.png")
    assert list(read_rows(project.duplicates)) == [
        {"path": "zz-copy.png", "of": "deep/3.png", "id": third.id}
    ]
    assert [(r["path"], r["reason"]) for r in read_rows(project.quarantine)] == [
        ("broken.jpg", "not-an-image")
    ]
    assert outcome.did.endswith("1 duplicates, 1 quarantined")


def test_again_does_nothing_and_new_images_never_move_old_ones(project: Project) -> None:
    catalog.run(project)
    before = {r.id: r for r in read_catalog(project.catalog)}
    assert catalog.run(project).skipped
    Image.new("RGB", (99, 99)).save(project.images / "a-new-one.png")
    assert not catalog.run(project).skipped
    after = {r.id: r for r in read_catalog(project.catalog)}
    assert len(after) == 11
    assert {i: after[i] for i in before} == before


def test_the_id_is_of_the_content_not_of_the_name(project: Project) -> None:
    catalog.run(project)
    before = {r.id for r in read_catalog(project.catalog)}
    (project.images / "deep" / "3.png").rename(project.images / "renamed.png")
    catalog.run(project)
    assert {r.id for r in read_catalog(project.catalog)} == before


def test_groups_stay_together() -> None:
    rule = SplitRule(group="(video-\\d+)", validation=0.2, test=0.3)
    rows = [
        {"path": f"video-{g}/{n}.jpg", "id": f"{g}/{n}", "width": 1, "height": 1}
        for g in range(300)
        for n in range(3)
    ]
    records, _ = catalog._records(rows, rule)
    sides = {(r.group, r.split) for r in records}
    assert len(sides) == 300
    shares = Counter(split for _, split in sides)
    # Three standard deviations of a binomial of 300.
    assert abs(shares["test"] - 90) < 24
    assert abs(shares["validation"] - 60) < 21


def test_no_images_says_where(project: Project) -> None:
    shutil.rmtree(project.images)
    with pytest.raises(StageError) as error:
        catalog.run(project)
    assert error.value.problem.startswith(f"{project.images} holds no images (.avif .bmp ")

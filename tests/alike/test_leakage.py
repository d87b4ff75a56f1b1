"""What of the test images has a copy among the training images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.alike.pictures import mirrored, picture, resized
from workflow.alike.leakage import in_words, leakage
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, write_rows
from workflow.stages import catalog


@pytest.fixture
def project(tmp_path: Path) -> Project:
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    for n in range(8):
        picture(n).save(images / f"{n}.png")
    resized(picture(0)).save(images / "resized-0.png")
    mirrored(picture(1)).save(images / "mirrored-1.png")
    # The same pixels in a file of other bytes.
    picture(2).save(images / "again-2.png", compress_level=0)
    for name in ("white", "black"):
        Image.new("RGB", (240, 180), name).save(images / f"{name}.png")
        Image.new("RGB", (240, 180), name).save(images / f"{name}-again.png", compress_level=0)
    toml = 'name = "leaks"\ntitle = "Leaks"\nclasses = ["a"]\n[images]\nfolder = "data/images"\n'
    (tmp_path / "project.toml").write_text(toml)
    project = load_project(tmp_path)
    catalog.run(project)
    return project


def test_copies_are_counted_and_named(project: Project) -> None:
    ids = {r.path: r.id for r in read_catalog(project.catalog)}
    tested = {ids[name] for name in ("0.png", "1.png", "2.png", "3.png", "white.png", "black.png")}
    leak = leakage(project, "test", tested, set(ids.values()) - tested)
    assert (leak["images"], leak["exact"], leak["near"], leak["unmeasured"]) == (6, 1, 2, 0)
    named = {(pair["image"], pair["train"]) for pair in leak["pairs"]}
    assert named == {("0.png", "resized-0.png"), ("1.png", "mirrored-1.png"), ("2.png", "again-2.png")}
    assert leak["pairs"][0]["image"] == "2.png"
    words = "leak: 3 of 6 test images have a copy in train (1 exact, 2 near): new images would score less"
    assert in_words(leak) == words
    clean = leakage(project, "test", [ids["3.png"]], [ids["4.png"], ids["resized-0.png"]])
    assert in_words(clean) == "leak: none of 1 test images has a copy or near-copy in train"


def test_what_is_not_measured_is_said(project: Project) -> None:
    ids = {r.path: r.id for r in read_catalog(project.catalog)}
    rows = {row["id"]: row for row in read_rows(project.measures)}
    del rows[ids["resized-0.png"]]
    del rows[ids["1.png"]]["down"]
    write_rows(project.measures, rows.values())
    tested = [ids["0.png"], ids["1.png"]]
    leak = leakage(project, "test", tested, [ids["resized-0.png"], ids["mirrored-1.png"], ids["3.png"]])
    assert (leak["near"], leak["unmeasured"]) == (0, 2)
    assert in_words(leak).endswith("; 2 images are not measured (workflow catalog --force)")

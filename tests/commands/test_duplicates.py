"""Near-copies are drawn, those labeled differently are named, all but the best can be left out, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.alike.pictures import mirrored, picture, resized
from workflow.cli import app
from workflow.commands import duplicates
from workflow.errors import ConfigError, StageError
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import catalog

ANN = Provenance("person", "ann")
FILES = {
    "cat.png": picture(0),
    "cat-small.png": resized(picture(0)),
    "dog.png": picture(1),
    "dog-mirrored.png": mirrored(picture(1)),
    "<cow>.png": picture(2),
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "project.toml").write_text('name = "copies"\ntitle = "Copies & twins"\nclasses = ["a"]\n')
    for name, image in FILES.items():
        image.save(tmp_path / "data" / "images" / name)
    project = load_project(tmp_path)
    catalog.run(project)
    return project


def label(project: Project, **boxes: tuple[float, float, float, float]) -> None:
    ids = {Path(r.path).stem: r.id for r in read_catalog(project.catalog)}
    named = {name.replace("_", "-"): box for name, box in boxes.items()}
    samples = [Sample(ids[n], "reviewed", (Annotation("a", ANN, box=b),)) for n, b in named.items()]
    write_rows(project.labels, map(sample_to_row, samples))


def test_twins_that_are_labeled_differently_are_named_and_drawn_first(project: Project) -> None:
    # The dog's boxes lie mirrored, as they should; the small cat's is twice as high as the cat's.
    label(
        project,
        cat=(20, 20, 120, 70),
        cat_small=(12, 12, 72, 72),
        dog=(0, 0, 60, 60),
        dog_mirrored=(180, 0, 240, 60),
    )
    (outcome,) = duplicates.run(project)
    sheet = project.data / "duplicates.html"
    assert outcome.did.startswith("4 images in 2 groups of near-copies")
    assert outcome.did.endswith(f", 1 pairs labeled differently: {sheet}")
    (line,) = outcome.lines
    assert line.startswith("labeled differently, IoU 0.50: ")
    assert {"cat.png", "cat-small.png"} == set(line.split(": ")[1].split(" and "))
    text = sheet.read_text()
    assert text.index("cat.png") < text.index("dog.png")
    assert text.count("data:image/jpeg;base64,") == 4 and "http" not in text
    assert "labeled differently, IoU 0.50" in text and "Copies &amp; twins" in text and "&lt;cow" not in text


def test_what_is_no_best_is_left_out_and_taken_back(project: Project) -> None:
    before = project.catalog.read_bytes()
    split = {r.path: r.split for r in read_catalog(project.catalog)}
    label(project, cat_small=(12, 12, 72, 72))
    done = CliRunner().invoke(app, ["duplicates", str(project.folder), "--drop", "keep-best"])
    assert done.exit_code == 0, done.output
    assert "drop: 2 images are set aside (back: workflow duplicates copies --restore)" in done.output
    assert "catalog: 3 images" in done.output and ", 2 set aside" in done.output
    kept = {r.path for r in read_catalog(project.catalog)}
    # A labeled one before a larger one; of the dogs the one in test, if one is.
    ranks = {name: (["test", "validation", "train"].index(split[name]), name) for name in split}
    dog = min(("dog.png", "dog-mirrored.png"), key=lambda name: (ranks[name][0], blur(project, name), name))
    assert kept == {"cat-small.png", "<cow>.png", dog}
    gone = {row["path"]: row["of"] for row in read_rows(project.set_aside)}
    assert gone["cat.png"] == "cat-small.png" and len(gone) == 2
    assert sorted(p.name for p in project.images.iterdir()) == sorted(FILES)
    assert catalog.run(project).skipped
    (again, drop, _) = duplicates.run(project, drop=True)
    assert again.did.startswith("0 images in 0 groups") and drop.skipped
    taken, _ = duplicates.restore(project)
    assert taken.did.startswith("2 images are taken back")
    assert project.catalog.read_bytes() == before
    with pytest.raises(StageError, match="nothing is set aside"):
        list(duplicates.restore(project))


def blur(project: Project, name: str) -> float:
    """The sharper first; measured, so that a rounding decides as it does there."""
    ids = {r.path: r.id for r in catalog_of(project)}
    rows = {row["id"]: row["blur"] for row in read_rows(project.marks / "measured.jsonl")}
    return -rows[ids[name]]


def catalog_of(project: Project) -> list:
    """All images, also those that are set aside: by the file's own hash."""
    from hashlib import sha256
    from types import SimpleNamespace

    paths = list(project.images.iterdir())
    return [SimpleNamespace(path=p.name, id=sha256(p.read_bytes()).hexdigest()[:16]) for p in paths]


def test_refusals(project: Project) -> None:
    command = ["duplicates", str(project.folder), "--drop", "keep-best", "--restore"]
    with pytest.raises(ConfigError, match="contradict each other"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    rows = [{k: v for k, v in row.items() if k != "down"} for row in read_rows(project.measures)]
    write_rows(project.measures, [{k: v for k, v in row.items() if k != "mirrored"} for row in rows])
    with pytest.raises(StageError, match="has no hashes of these images -> workflow catalog --force"):
        list(duplicates.run(project))

"""The dataset stage without a server: what makes it run again, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.samples import draw_objects, draw_project, truth_of
from workflow.errors import StageError
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, sample_to_row, write_rows
from workflow.records import Annotation, Mask, Provenance, RotatedBox, Sample
from workflow.shapes import masks
from workflow.stages import catalog, dataset
from workflow.tasks import TaskName

ME = Provenance("person", "7", "12", "2026-01-01")


def _labeled(project: Project, annotations: list[Annotation]) -> Project:
    """Every image labeled alike."""
    samples = [Sample(r.id, "reviewed", tuple(annotations)) for r in read_catalog(project.catalog)]
    write_rows(project.labels, map(sample_to_row, samples))
    return project


@pytest.fixture
def make(tmp_path: Path) -> Callable[[TaskName], Project]:
    def drawn(task: TaskName) -> Project:
        project = draw_project(tmp_path, task, 4)
        catalog.run(project)
        return project

    return drawn


def _one_pixel_more(a: Annotation) -> Annotation:
    assert a.mask is not None
    pixels = masks.decode(a.mask)
    pixels[0, 0] = True
    return replace(a, mask=masks.encode(pixels))


def _wider(a: Annotation) -> Annotation:
    assert a.rotated_box is not None
    return replace(a, rotated_box=replace(a.rotated_box, width=a.rotated_box.width + 0.5))


@pytest.mark.parametrize(
    ("task", "was", "change"),
    [
        ("instance-segmentation", truth_of("instance-segmentation", draw_objects(0))[0], _one_pixel_more),
        ("oriented-detection", Annotation("tile", ME, rotated_box=RotatedBox(40, 30, 20, 10, 30)), _wider),
        (
            "instance-segmentation",
            Annotation("bar", ME, polygons=(((1, 1), (9, 1), (9, 9)),)),
            lambda a: replace(a, polygons=(((1, 1), (9, 1), (9, 8)),)),
        ),
        (
            "keypoints",
            Annotation("left", ME, keypoints=((1, 1),)),
            lambda a: replace(a, keypoints=((1, 2),)),
        ),
    ],
    ids=["mask", "rotated box", "outline", "keypoint"],
)
def test_every_geometry_makes_a_version_of_its_own(
    task: TaskName, was: Annotation, change: Callable, make: Callable[[TaskName], Project]
) -> None:
    project = _labeled(make(task), [was])
    dataset.run(project)
    first = dataset.version(project)
    # When it was given is no content.
    _labeled(project, [replace(was, provenance=replace(was.provenance, at="2026-01-02"))])
    assert dataset.run(project).skipped
    _labeled(project, [change(was)])
    assert not dataset.run(project).skipped
    assert dataset.version(project) != first


def test_the_card_says_how_to_read_it_and_what_was_lost(make: Callable[[TaskName], Project]) -> None:
    box = Annotation("bar", ME, box=(1, 1, 9, 9), id="b")
    lonely = Annotation("left", ME, keypoints=((50, 50),))
    project = _labeled(make("keypoints"), [box, replace(lonely, keypoints=((5, 5),)), lonely])
    did = dataset.run(project).did
    assert did.endswith("; left out 0 skipped, 0 unlabeled, 4 keypoints of no box")
    card = (project.dataset / "README.md").read_text()
    assert "task_categories: [keypoint-detection]" in card
    assert "| split | images | boxes and keypoints | empty (true negatives) |" in card
    assert "- Keypoints, in order: left, right.\n" in card
    assert "- Not carried exactly: 4 keypoints of no box.\n" in card


def test_a_dataset_of_another_task_is_none(make: Callable[[TaskName], Project]) -> None:
    project = _labeled(make("classification"), [Annotation("bar", ME)])
    dataset.run(project)
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace('task = "classification"', 'task = "detection"'))
    with pytest.raises(StageError) as error:
        dataset.version(load_project(project.folder))
    assert str(error.value) == f"{project.dataset} was built for another task -> workflow dataset"


def test_images_without_a_row_are_no_dataset(make: Callable[[TaskName], Project]) -> None:
    project = _labeled(make("classification"), [])
    with pytest.raises(StageError) as error:
        dataset.run(project)
    problem = "no reviewed image has a row: 4 images without a label left out"
    assert str(error.value) == f"{problem} -> label some anew, then workflow pull"
    assert not project.dataset.exists()


def test_a_mask_survives_the_labels_file(make: Callable[[TaskName], Project]) -> None:
    """Runs of any length, as text."""
    noise = np.random.default_rng(3).random((72, 96)) < 0.5
    painted = Annotation("bar", ME, mask=masks.encode(noise), id="n")
    project = _labeled(make("instance-segmentation"), [painted])
    dataset.run(project)
    from datasets import load_dataset

    loaded = load_dataset(str(project.dataset), cache_dir=str(project.data / "cache"))
    objects = next(iter(loaded.values()))[0]["objects"]
    size, counts = objects["mask"][0]["size"], objects["mask"][0]["counts"]
    assert (masks.decode(Mask(*size, counts)) == noise).all()


def test_files_of_ones_own_in_the_dataset_folder_are_moved_aside(make: Callable[[TaskName], Project]) -> None:
    """An edited card and a note outlive the next dataset; a folder without any is just replaced."""
    project = _labeled(make("detection"), [])
    dataset.run(project)
    dataset.run(project, force=True)
    assert not list(project.data.glob("dataset.20*"))
    card = project.dataset / "README.md"
    card.write_text(card.read_text() + "\nThanks to all who labeled.\n")
    (project.dataset / "notes.txt").write_text("mine")
    done = dataset.run(project, force=True)
    (aside,) = project.data.glob("dataset.20*")
    assert done.did.endswith(f"; the old one had README.md, notes.txt of yours and is now {aside}")
    assert (aside / "README.md").read_text().endswith("Thanks to all who labeled.\n")
    assert (aside / "notes.txt").read_text() == "mine"
    assert sorted(p.name for p in project.dataset.iterdir()) == [
        *("README.md", "data", "dataset.json", "unreviewed")
    ]

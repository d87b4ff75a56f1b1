"""The dataset stage without a server: what makes it run again, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.images.awkward import CASES, COPIED, upright
from tests.ledger_rows import action
from tests.samples import draw_objects, draw_project, truth_of
from workflow.dataset import parquet
from workflow.errors import StageError
from workflow.images import decode
from workflow.project.paths import Project, load_project
from workflow.project.rows import (
    annotation_to_row,
    digest,
    read_catalog,
    read_json,
    read_rows,
    read_samples,
    sample_to_row,
    write_json,
    write_rows,
)
from workflow.records import SPLITS, Annotation, Mask, Provenance, RotatedBox, Sample
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
    assert (masks.decode(Mask(*size, counts)) == noise).all()  # type: ignore[call-arg]


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
    assert sorted(p.name for p in project.dataset.iterdir()) == [*("README.md", "data", "dataset.json")]


def _load(project: Project, cache: Path, name: str = "default") -> list[dict]:
    """Every row, as somebody has them who loads the folder as its card says."""
    from datasets import load_dataset

    loaded = load_dataset(str(project.dataset), name, cache_dir=str(cache))
    return [row for split in loaded.values() for row in split]


def test_one_cache_never_gives_the_rows_of_another_dataset(tmp_path: Path) -> None:
    """Every folder is called dataset, and `datasets` looks at names only."""
    cache = tmp_path / "cache"
    boxes = [Annotation("bar", ME, box=(1.0, 1.0, 9.0 + n, 9.0)) for n in range(3)]
    projects = []
    for number, box in enumerate(boxes[:2]):
        project = draw_project(tmp_path / str(number), "detection", 4)
        catalog.run(project)
        projects.append(_labeled(project, [box]))
        dataset.run(project)
    for project, box in zip(projects, boxes, strict=False):
        assert {row["objects"]["bbox"][0][2] for row in _load(project, cache)} == {box.box[2] - 1}
    dataset.run(_labeled(projects[0], [boxes[2]]))
    assert {row["objects"]["bbox"][0][2] for row in _load(projects[0], cache)} == {10}
    image = next(iter(read_catalog(projects[0].catalog)))
    projects[0].image_path(image.path).rename(projects[0].images / "renamed.png")
    catalog.run(projects[0])
    dataset.run(projects[0])
    assert "renamed.png" in {row["file"] for row in _load(projects[0], cache)}


def test_what_is_not_reviewed_is_loaded_anew_and_only_where_there_is_any(
    make: Callable[[TaskName], Project], tmp_path: Path
) -> None:
    project = _labeled(make("detection"), [])
    dataset.run(project)
    assert "unreviewed" not in (project.dataset / "README.md").read_text()
    assert not (project.dataset / "unreviewed").exists()
    first = dataset.version(project)
    draw = draw_project(tmp_path / "more", "detection", 6)
    for number, name in ((4, "a.png"), (5, "b.png")):
        (draw.images / f"shapes-{number:02d}.png").rename(project.images / name)
        catalog.run(project)
        dataset.run(project)
        files = [row["file"] for row in _load(project, tmp_path / "cache", "unreviewed")]
        assert files == ["a.png", "b.png"][: number - 3]
    # Nothing is trained anew for images that nobody labeled.
    assert dataset.version(project) == first


def test_images_are_numbered_through_all_splits(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "detection", 12)
    catalog.run(project)
    dataset.run(_labeled(project, []))
    rows = _load(project, tmp_path / "cache")
    assert [row["image_id"] for row in rows] == list(range(1, 13))
    assert {row["hash"]: row["file"] for row in rows} == {r.id: r.path for r in read_catalog(project.catalog)}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_labels_are_named_one_by_one_as_all_at_once(count: int) -> None:
    box = Annotation("bar", ME, box=(1, 1, 9, 9), score=0.5, ignored=True)
    samples = [Sample(f"image-{n}", "reviewed", (box,) * n) for n in range(count)]
    said = dataset._LabelsDigest()
    for sample in samples:
        said.add(sample)
    assert said.hexdigits() == digest(
        [[s.image, s.state, [_row_of(a) for a in s.annotations]] for s in samples]
    )


def _as_010_wrote_it(project: Project) -> None:
    """The same dataset by the names and columns of version 0.1.0."""
    import pyarrow.parquet as pq

    schema, samples = project.settings.schema, read_samples(project.labels)
    for split in SPLITS:
        if (path := parquet.file_of(project.dataset, split)) is not None:
            table = pq.read_table(path).drop_columns("image_id").rename_columns({"hash": "image_id"})
            pq.write_table(table, project.dataset / "data" / f"{split}.parquet")
            path.unlink()
    card = read_json(project.dataset / "dataset.json")
    content = [[s.image, s.state, [_row_of(a) for a in s.annotations]] for s in samples.values()]
    images = [r.id for r in read_catalog(project.catalog)]
    version = digest([schema.to_json(), digest(content), images])
    write_json(project.dataset / "dataset.json", card | {"version": version})


def _row_of(annotation: Annotation) -> dict:
    return annotation_to_row(annotation) | {"provenance": annotation.provenance.name}


def test_a_dataset_that_010_wrote_is_read_and_keeps_its_version(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "detection", 12)
    catalog.run(project)
    _labeled(project, [Annotation("bar", ME, box=(1, 1, 9, 9))])
    dataset.run(project)
    schema = project.settings.schema
    _as_010_wrote_it(project)
    old = dataset.version(project)
    rows = {s: [parquet.image_of(r) for r, _ in parquet.read(project.dataset, s, schema)] for s in SPLITS}
    assert rows == {s: [r.id for r in read_catalog(project.catalog) if r.split == s] for s in SPLITS}
    assert {s: parquet.images(project.dataset, s) for s in SPLITS} == {s: set(i) for s, i in rows.items()}
    # Built anew, it is the same dataset, also a second time.
    for _ in range(2):
        dataset.run(project, force=True)
        assert dataset.version(project) == old
        assert {p.name.split("-")[1] for p in (project.dataset / "data").iterdir()} == {old}
    # In other splits it is another one: who trained on the one must not be tested on the other.
    rows = [row | {"split": "train"} for row in read_rows(project.catalog)]
    write_rows(project.catalog, rows)
    dataset.run(project)
    assert dataset.version(project) != old


@pytest.mark.parametrize(
    ("meta", "simulated", "told"),
    [
        ({"imported": "coco"}, 0, ["4 images imported as coco from instances.json."]),
        ({"task": 3, "person": "7"}, 0, ["4 images labeled in Label Studio by 1 person."]),
        (
            {"task": 3, "person": "7, 8"},
            1,
            [
                "1 image labeled in Label Studio by the simulated reviewer, a program that knows the truth.",
                "3 images labeled in Label Studio by 2 persons, who were shown guesses: yolo@1 on 2.",
            ],
        ),
        ({}, 0, ["4 images whose labels name no source."]),
    ],
)
def test_the_card_says_who_labeled(
    meta: dict, simulated: int, told: list[str], make: Callable[[TaskName], Project]
) -> None:
    project = make("detection")
    records = read_catalog(project.catalog)
    box = Annotation("bar", Provenance("import", "coco", "instances.json"), box=(1, 1, 9, 9))
    samples = [Sample(r.id, "reviewed", (box,), meta) for r in records]
    write_rows(project.labels, map(sample_to_row, samples))
    write_rows(project.simulated, [{"image": r.id, "task": 3} for r in records[:simulated]])
    if simulated:
        models = ["yolo@1", "yolo@1", "yolo@1", ""]
        common = {"task": 3, "annotation": 1, "person": "7", "at": "2026-01-01T00:00:00Z", "lead_time": 1.0}
        common |= {"split": "train", "blind": False, "control": False, "skipped": False, "actions": []}
        shown = zip(reversed(records), models, strict=True)
        rows = [common | {"image": r.id, "model": m} for r, m in shown]
        # On the third the model guessed nothing: nobody was shown a guess.
        for decided, done in zip(rows, ("accepted", "deleted", "added", "added"), strict=True):
            decided["actions"] = [action(done, "bar")]
        write_rows(project.ledger, rows)
    dataset.run(project)
    card = (project.dataset / "README.md").read_text()
    lines = card.split("Where the labels come from:\n\n")[1].split("\n\n")[0]
    assert lines == "\n".join(f"- {line}" for line in told)
    assert dataset.run(project).skipped


def test_what_is_shown_as_a_copy_is_in_the_dataset_as_people_saw_it(tmp_path: Path) -> None:
    """`datasets` turns by Pillow's rule, and cannot scale deep gray: it is given the pixels of the copy."""
    (tmp_path / "project.toml").write_text(
        'name = "pets"\ntitle = "Pets"\ntask = "classification"\nclasses = ["cat"]\n'
        "[split]\nvalidation = 0\ntest = 0\n"
    )
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    (folder / "a.webp").write_bytes(CASES["exif6.webp"][0])
    (folder / "b.jpg").write_bytes(CASES["exif6.jpg"][0])
    (folder / "c.png").write_bytes(COPIED["deep.png"])
    project = load_project(tmp_path)
    catalog.run(project)
    _labeled(project, [Annotation("cat", ME)])
    dataset.run(project)
    records = {r.path: r for r in read_catalog(project.catalog)}
    assert [bool(records[name].png) for name in ("a.webp", "b.jpg", "c.png")] == [True, False, True]
    rows = {row["file"]: row for row in _load(project, tmp_path / "cache")}
    assert {name: row["image"].size for name, row in rows.items()} == {
        "a.webp": (60, 40),
        "b.jpg": (40, 60),
        "c.png": (60, 40),
    }
    assert (np.asarray(rows["a.webp"]["image"]) == upright(1)).all()
    assert (
        np.asarray(rows["c.png"]["image"]) == decode.from_file(project.shown_path(records["c.png"]))
    ).all()
    before = dataset.version(project)
    (tmp_path / "project.toml").write_text((tmp_path / "project.toml").read_text() + "[images]\ndepth = 16\n")
    project = load_project(tmp_path)
    catalog.run(project)
    dataset.run(project)
    assert dataset.version(project) != before

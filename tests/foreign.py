"""Foreign labels for the tests: small sources on disk, and a project that imports them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.samples import draw_project
from workflow.commands import import_
from workflow.formats.page import FORMATS, Losses, Options, Page, Picture, Reading, Writing
from workflow.images.decode import SUFFIXES
from workflow.images.finder import images_below
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, read_samples, sample_to_row, write_rows
from workflow.project.settings import MaskStyle, Pull
from workflow.records import SPLITS, Annotation, ImageRecord, Kind, Provenance, Sample
from workflow.schema import Schema
from workflow.stages import catalog
from workflow.tasks import TaskName


def make_project(
    root: Path,
    task: str = "detection",
    classes: Sequence[str] = ("cat", "dog"),
    keypoints: Sequence[str] = (),
) -> Project:
    """A project without images."""
    folder = root / "projects" / "pets"
    folder.mkdir(parents=True)
    points = f"keypoints = {list(keypoints)}\n" if keypoints else ""
    (folder / "project.toml").write_text(
        f'name = "pets"\ntitle = "Pets"\ntask = "{task}"\nclasses = {list(classes)}\n{points}'
    )
    return load_project(folder)


def draw(path: Path, width: int = 40, height: int = 30, orientation: int = 1) -> Path:
    """An image of `width` x `height` stored pixels, unlike every other by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    rng = np.random.default_rng(sum(path.name.encode()))
    Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path, exif=exif)
    return path


def look_up(
    name: str,
    source: Path,
    task: TaskName,
    sizes: dict[str, tuple[int, int]],
    classes: Sequence[str] = ("cat", "dog"),
    keypoints: Sequence[str] = (),
    kind: Kind = "import",
    options: Options | None = None,
    policy: Pull | None = None,
) -> tuple[dict[str, Page], Reading]:
    """The pages of a source whose images have those names and sizes, and what was lost and wrong."""

    def look(names: Sequence[str]) -> tuple[str, int, int] | None:
        called = {call: n for n in sizes for call in (str(Path(n).with_suffix("")), n)}
        found = next((called[name] for name in names if name in called), None)
        return (found, *sizes[found]) if found else None

    def pair(*paths: str, without: Collection[Path] = ()) -> str | None:
        return next((n for path in paths for n in sizes if str(Path(n).with_suffix("")) == path), None)

    schema = Schema.of(task, classes, keypoints)
    reading = Reading(
        *(schema, Provenance(kind, name), look, pair, SUFFIXES, images_below),
        options=options or Options(),
        policy=policy or Pull(),
    )
    return {page.name: page for page in FORMATS[name].load().read(source, reading)}, reading


def there_and_back(
    name: str,
    task: TaskName,
    annotations: Sequence[Annotation],
    size: tuple[int, int],
    folder: Path,
    keypoints: Sequence[str] = (),
    masks: MaskStyle = "brush",
) -> tuple[list[Annotation], Losses, Losses]:
    """Annotations of classes cat and dog through a format; what writing and what reading lost."""
    image = folder / "x.png"
    image.write_bytes(b"")
    record = ImageRecord("0" * 16, "x.png", *size, "train")
    writing = Writing("pets", Schema.of(task, ("cat", "dog"), tuple(keypoints)), masks)
    target = folder / "out"
    shutil.rmtree(target, ignore_errors=True)
    target.unlink(missing_ok=True)
    FORMATS[name].load().write(target, [Picture(record, image, tuple(annotations))], writing)
    pages, reading = look_up(
        name, target, task, {"x.png": size, "images/train/x.png": size}, keypoints=keypoints
    )
    assert not reading.problems
    return [a for page in pages.values() for a in page.annotations], writing.losses, reading.losses


def labels(project: Project) -> dict[str, Sample]:
    """What labels.jsonl says, by the images' paths."""
    samples = read_samples(project.labels)
    return {r.path: samples[r.id] for r in read_catalog(project.catalog) if r.id in samples}


def take(project: Project, name: str, source: Path, **more: object) -> list[str]:
    """Import, and what could not be carried."""
    return import_.run(project, name, source, **more).lines  # type: ignore[arg-type]


def review_by_truth(project: Project) -> Project:
    """The project's truth file as labels that people gave."""
    catalog.run(project)
    truth = {row["file"]: row["annotations"] for row in read_rows(project.data / "truth.jsonl")}
    person = {"provenance": {"kind": "person", "name": "1"}}
    rows = []
    for record in read_catalog(project.catalog):
        row = sample_to_row(Sample(record.id, "reviewed", (), {"task": 1}))
        rows.append(row | {"annotations": [a | person for a in truth[record.path]]})
    write_rows(project.labels, rows)
    return project


def nested(root: Path, task: TaskName) -> Project:
    """A reviewed project: twelve images in folders that lead readers astray, two a name, in all splits."""
    project = draw_project(root, task, 12)
    truth = list(read_rows(project.data / "truth.jsonl"))
    for number, row in enumerate(truth):
        name = f"batch{number % 2}/images/train/{number // 2:02d}.png"
        (project.images / name).parent.mkdir(parents=True, exist_ok=True)
        (project.images / row["file"]).rename(project.images / name)
        row["file"] = name
    write_rows(project.data / "truth.jsonl", truth)
    review_by_truth(project)
    rows = list(read_rows(project.catalog))
    splits = [SPLITS[max(0, number - 7) // 2] for number in range(12)]
    write_rows(project.catalog, [r | {"split": s} for r, s in zip(rows, splits, strict=True)])
    return project


def truth_by_name(project: Project, folder: Path, split: str = "") -> dict[str, Sequence[Annotation]]:
    """The labels of each image of an export's `folder`, or those of a split, by its file's name there."""
    samples = read_samples(project.labels)
    splits = {r.id: r.split for r in read_catalog(project.catalog)}
    with (folder / "names.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({Path(row["file"]).name for row in rows}) == len(rows)
    return {
        Path(row["file"]).name: samples[row["id"]].annotations
        for row in rows
        if split in ("", splits[row["id"]])
    }

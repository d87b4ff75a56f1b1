"""Export reviewed labels, or an annotator's predictions, as another tool's file or folder.

What the format cannot carry is counted. The target appears whole or not at all.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from workflow import wing
from workflow.errors import FormatError, StageError
from workflow.formats.page import Picture, Writing, format_for
from workflow.images import orientation
from workflow.project.aside import move_aside
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_samples, relation_from_row
from workflow.records import Annotation, ImageRecord, Sample, Split
from workflow.running.runner import Outcome


def run(
    project: Project,
    name: str,
    target: Path,
    split: Split | None = None,
    predictions: str | None = None,
    force: bool = False,
) -> tuple[Outcome, list[str]]:
    """Write the format `name` to `target`; what was done, and a line for each loss and what else to know.

    `predictions` names a file of predictions/ to be written instead of the labels. StageError where the
    target exists and `force` is not given, or where there is nothing to write. With `force` what is there is
    moved aside: it may hold more than an export.
    """
    start = time.perf_counter()
    settings = project.settings
    row = format_for(name, settings.task)
    target = target.expanduser().resolve()
    if target.exists() and not force:
        raise StageError(f"{target} exists", "name another, or --force, which moves it aside")
    if target.is_dir() and any(a.is_relative_to(b) for a, b in _of_the_project(project, target)):
        raise StageError(f"{target} belongs to the project", "name another folder")
    writing = Writing(
        project.name,
        settings.schema,
        settings.push.masks,
        predictions is not None,
        categories=wing.categories(project),
    )
    pictures = _pictures(project, name, split, predictions, writing)
    _count_what_has_no_place(name, pictures, writing)
    if name != "label-studio" and settings.schema.task.kind != "labels":
        _tell_what_readers_may_see(pictures, writing)
    fresh = target.with_name(f".{target.name}.partial")
    _remove(fresh)
    moved = ""
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        row.load().write(fresh, pictures, writing)
        if target.exists():
            moved = f"; what was there is now {move_aside(target)}"
        fresh.replace(target)
    finally:
        _remove(fresh)
    count = sum(len(p.annotations) for p in pictures)
    empty = sum(not p.annotations for p in pictures)
    did = f"{len(pictures)} images ({count} {settings.schema.task.noun}, {empty} empty) as {name} to {target}"
    return Outcome("export", time.perf_counter() - start, did + moved), writing.losses.lines() + writing.notes


def _of_the_project(project: Project, target: Path) -> list[tuple[Path, Path]]:
    """Pairs of which the first may not lie in the second."""
    return [
        (project.folder, target),
        (target, project.data),
        (project.images, target),
        (target, project.images),
    ]


def _count_what_has_no_place(name: str, pictures: list[Picture], writing: Writing) -> None:
    row = format_for(name, writing.schema.task.name)
    if writing.predictions and not row.scores:
        scores = sum(a.score is not None for p in pictures for a in p.annotations)
        writing.losses.add(f"scores, for which {name} has no place", count=scores)
    if not row.relations:
        relations = sum(len(p.relations) for p in pictures)
        writing.losses.add(f"relations, for which {name} has no place", count=relations)


def _tell_what_readers_may_see(pictures: list[Picture], writing: Writing) -> None:
    """Labels are of upright pixels as people saw them; whoever gets the files may see others."""
    looks = (orientation.header(picture.path) for picture in pictures if not picture.record.png)
    if turned := sum(look is not None and look[2] != 1 for look in looks):
        what = "are turned by EXIF and labeled upright: torchvision's readers see them as they are stored"
        writing.notes.append(f"{turned} images {what}")
    if copied := sum(bool(picture.record.png) for picture in pictures):
        what = "were labeled by a copy, as no browser shows them: readers may see other pixels (copies.jsonl)"
        writing.notes.append(f"{copied} images {what}")


def _pictures(
    project: Project, name: str, split: Split | None, predictions: str | None, writing: Writing
) -> list[Picture]:
    row = format_for(name, writing.schema.task.name)
    records = read_catalog(project.catalog)
    samples = _samples(project, predictions, records)
    pictures = []
    for record in records:
        if record.id not in samples or split not in (None, record.split):
            continue
        path = project.image_path(record.path)
        if not path.exists():
            raise StageError(f"{path} is gone, but is labeled", "put it back, or run workflow catalog")
        annotations = []
        for annotation in samples[record.id].annotations:
            if annotation.ignored and not row.ignored:
                writing.losses.add(f"ignored annotations, for which {name} has no place", record.path)
            elif writing.schema.task.takes(annotation):
                annotations.append(annotation)
            else:
                writing.losses.add(f"annotations that are none of {writing.schema.task.name}", record.path)
        _check(annotations, writing, record.path)
        relations = tuple(map(relation_from_row, samples[record.id].meta.get("relations", ())))
        pictures.append(Picture(record, path, tuple(annotations), relations))
    if not pictures:
        what = f"of {split} " if split else ""
        raise StageError(f"no image {what}has labels to export", "workflow pull, or workflow import")
    return pictures


def _samples(project: Project, predictions: str | None, records: Sequence[ImageRecord]) -> dict[str, Sample]:
    if predictions is None:
        samples = read_samples(project.labels, records)
        return {image: sample for image, sample in samples.items() if sample.state == "reviewed"}
    folder = project.data / "predictions"
    known = sorted(path.stem for path in folder.glob("*.jsonl"))
    if predictions not in known:
        raise StageError(f"no predictions {predictions!r}", f"one of: {', '.join(known) or 'none yet'}")
    return read_samples(folder / f"{predictions}.jsonl", records)


def _check(annotations: list[Annotation], writing: Writing, where: str) -> None:
    """FormatError for a label that is no class any more: formats number them."""
    for annotation in annotations:
        if not writing.schema.names(annotation):
            raise FormatError(f"{where}: label {annotation.label!r} is no class", "add it to project.toml")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

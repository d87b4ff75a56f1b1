"""Pre-annotate: a model looks at every catalogued image and guesses labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from workflow import images, models
from workflow.errors import ImageError
from workflow.models import Annotator, Guesses, Options, Pixels
from workflow.models.chain import Chain, load_chain
from workflow.progress import progress
from workflow.project import Project
from workflow.records import Annotation, ImageRecord, Sample
from workflow.runner import Outcome, Plan, Runner
from workflow.store import (
    Row,
    append_rows,
    appending,
    digest,
    drop_half_line,
    read_catalog,
    read_rows,
    sample_from_row,
    sample_to_row,
    write_rows,
)
from workflow.tasks import TASKS

BATCH = 8


def plan(project: Project) -> Plan:
    settings = project.settings.preannotate.model_dump() | {
        "classes": project.settings.classes,
        "keypoints": project.settings.keypoints,
        "task": project.settings.task,
    }
    inputs: dict[str, Path | str] = {"catalog": project.catalog}
    for number, spec in enumerate(project.settings.preannotate.models):
        _, inputs[f"model {number}"] = models.resolve(spec, project.folder)
    return Plan("preannotate", 2, settings, inputs, (predictions_path(project),))


def predictions_path(project: Project) -> Path:
    """One file an annotator, named by it."""
    name = models.slug(" ".join(project.settings.preannotate.models))
    return project.data / "predictions" / f"{name}.jsonl"


def run(project: Project, device: str = "auto", batch: int = BATCH, force: bool = False) -> Outcome:
    """Write predictions/ANNOTATOR.jsonl: one line an image, also where nothing was found."""
    read_catalog(project.catalog)
    for spec in project.settings.preannotate.models:
        models.fetch(spec, project.folder)
    return Runner(project.marks).run(plan(project), lambda s: _preannotate(project, s, device, batch), force)


def load(project: Project, device: str, threshold: float | None = None) -> Chain:
    """The project's pre-annotators as one, at their own thresholds unless one is given for all classes."""
    settings = project.settings.preannotate
    options = Options(
        threshold=settings.threshold if threshold is None else threshold,
        image_size=settings.image_size,
        class_map=settings.class_map,
        prompts=settings.prompts,
        templates=settings.templates,
        one_label_a_place=settings.one_label_a_place,
        device=device,
        trust=settings.trust,
    )
    thresholds = settings.thresholds if threshold is None else {}
    return load_chain(settings.models, project.folder, project.settings.task, options, thresholds)


def _preannotate(project: Project, scratch: Path, device: str, batch: int) -> str:
    records = read_catalog(project.catalog)
    shard = scratch / "shard.jsonl"
    drop_half_line(shard)
    done = {row["image"] for row in read_rows(shard)}
    todo = [r for r in records if r.id not in done]
    annotator = load(project, device)
    limit = project.settings.images.max_megapixels
    try:
        with appending(shard) as file, progress("pre-annotating", len(todo)) as advance:
            for part, guesses in annotate_all(
                annotator, project, todo, project.settings.labels, batch, limit
            ):
                pairs = zip(part, guesses, strict=True)
                samples = [Sample(r.id, "predicted", _to_push(project, g)) for r, g in pairs]
                append_rows(file, map(sample_to_row, samples))
                advance(len(part))
    finally:
        annotator.close()
    rows = {row["image"]: row for row in read_rows(shard)}
    ordered = [_with_ids(rows[r.id], annotator.revision) for r in records if r.id in rows]
    write_rows(predictions_path(project), ordered)
    found = sum(len(row["annotations"]) for row in ordered)
    empty = sum(not row["annotations"] for row in ordered)
    missing = f", {len(records) - len(ordered)} unreadable" if len(ordered) < len(records) else ""
    noun = TASKS[project.settings.task].noun
    return f"{annotator.name}: {found} {noun} on {len(ordered)} images, none on {empty}{missing}"


def guess(project: Project, annotator: Annotator, records: Sequence[ImageRecord]) -> Iterator[Sample]:
    """What the annotator says of images, as `run` would write it; broken ones are left out."""
    limit = project.settings.images.max_megapixels
    parts = annotate_all(annotator, project, records, project.settings.labels, max_megapixels=limit)
    for part, guesses in parts:
        for record, said in zip(part, guesses, strict=True):
            sample = Sample(record.id, "predicted", _to_push(project, said))
            yield sample_from_row(_with_ids(sample_to_row(sample), annotator.revision))


def _to_push(project: Project, guesses: Guesses) -> Guesses:
    """Of an image that has one label, the best guess; a person wants to see no other as chosen."""
    return guesses[:1] if project.settings.task == "classification" else guesses


def annotate_all(
    annotator: Annotator,
    project: Project,
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    batch: int = BATCH,
    max_megapixels: float = 200.0,
) -> Iterator[tuple[list[ImageRecord], list[tuple[Annotation, ...]]]]:
    """Batches of records with what the annotator says of them; the next batches are decoded meanwhile.

    An image that broke since it was catalogued is left out of its batch, so one bad file stops nothing.
    """
    parts = [list(records[i : i + batch]) for i in range(0, len(records), batch)]

    def decode(part: list[ImageRecord]) -> list[tuple[ImageRecord, Pixels]]:
        decoded = []
        for record in part:
            try:
                decoded.append((record, images.load(project.image_path(record.path), max_megapixels)))
            except ImageError:
                continue
        return decoded

    with ThreadPoolExecutor(1) as pool:
        # Two batches ahead keep the model busy without holding many images in memory.
        ahead: list[Future[list[tuple[ImageRecord, Pixels]]]] = [pool.submit(decode, p) for p in parts[:2]]
        for number in range(len(parts)):
            decoded = ahead.pop(0).result()
            if number + 2 < len(parts):
                ahead.append(pool.submit(decode, parts[number + 2]))
            if decoded:
                good = [record for record, _ in decoded]
                pixels = [image for _, image in decoded]
                said = annotator.annotate(pixels, [()] * len(good), classes)
                yield good, [_in_place(project, guesses) for guesses in said]


def _in_place(project: Project, guesses: Guesses) -> Guesses:
    """Without points that have an object's name, objects that have a point's, and points of no object."""
    settings = project.settings
    if not settings.keypoints:
        return guesses
    boxes = [a for a in guesses if a.geometry != "keypoints" and a.label in settings.classes]
    names = {a.id for a in boxes}
    points = [a for a in guesses if a.geometry == "keypoints" and a.label in settings.keypoints]
    kept = {id(a) for a in (*boxes, *(a for a in points if a.parent in names))}
    return tuple(a for a in guesses if id(a) in kept)


def _with_ids(row: Row, revision: str) -> Row:
    """Name every region, the same on every run, so that the ledger can follow it."""
    renamed = {}
    for number, annotation in enumerate(row["annotations"]):
        name = digest([row["image"], revision, number])[:10]
        renamed[annotation.get("id")] = name
        annotation["id"] = name
    for annotation in row["annotations"]:
        if "parent" in annotation:
            annotation["parent"] = renamed[annotation["parent"]]
    return row

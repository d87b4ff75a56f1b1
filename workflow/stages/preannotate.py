"""Pre-annotate: a model looks at every catalogued image and guesses labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from workflow import images, models
from workflow.errors import ImageError
from workflow.models import Annotator, Pixels
from workflow.progress import progress
from workflow.project import Project
from workflow.records import Annotation, ImageRecord, Sample
from workflow.runner import Outcome, Plan, Runner
from workflow.store import (
    append_rows,
    appending,
    digest,
    drop_half_line,
    read_catalog,
    read_rows,
    sample_to_row,
    write_rows,
)

BATCH = 8


def plan(project: Project) -> Plan:
    spec = project.settings.preannotate.model
    _, checkpoint = models.resolve(spec, project.folder)
    settings = project.settings.preannotate.model_dump() | {"classes": project.settings.classes}
    weights = checkpoint if isinstance(checkpoint, Path) else str(checkpoint)
    return Plan(
        "preannotate",
        1,
        settings,
        {"catalog": project.catalog, "model": weights},
        (predictions_path(project),),
    )


def predictions_path(project: Project) -> Path:
    """One file an annotator, named by it."""
    return project.data / "predictions" / f"{models.slug(project.settings.preannotate.model)}.jsonl"


def run(project: Project, device: str = "auto", batch: int = BATCH, force: bool = False) -> Outcome:
    """Write predictions/ANNOTATOR.jsonl: one line an image, also where nothing was found."""
    read_catalog(project.catalog)
    models.fetch(project.settings.preannotate.model, project.folder)
    return Runner(project.marks).run(plan(project), lambda s: _preannotate(project, s, device, batch), force)


def _preannotate(project: Project, scratch: Path, device: str, batch: int) -> str:
    records = read_catalog(project.catalog)
    shard = scratch / "shard.jsonl"
    drop_half_line(shard)
    done = {row["image"] for row in read_rows(shard)}
    todo = [r for r in records if r.id not in done]
    settings = project.settings.preannotate
    annotator = models.load(
        settings.model,
        project.folder,
        threshold=settings.threshold,
        image_size=settings.image_size,
        class_map=settings.class_map,
        one_label_a_place=settings.one_label_a_place,
        device=device,
    )
    limit = project.settings.images.max_megapixels
    try:
        with appending(shard) as file, progress("pre-annotating", len(todo)) as advance:
            for part, guesses in annotate_all(
                annotator, project, todo, project.settings.classes, batch, limit
            ):
                samples = [Sample(r.id, "predicted", g) for r, g in zip(part, guesses, strict=True)]
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
    return f"{settings.model}: {found} boxes on {len(ordered)} images, none on {empty}{missing}"


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
                yield good, annotator.annotate(pixels, [()] * len(good), classes)


def _with_ids(row: dict, revision: str) -> dict:
    """Name every region, the same on every run, so that the ledger can follow it."""
    for number, annotation in enumerate(row["annotations"]):
        annotation["id"] = digest([row["image"], revision, number])[:10]
    return row

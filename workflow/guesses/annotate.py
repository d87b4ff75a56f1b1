"""What an annotator says of a project's images: in batches decoded ahead, fitted to the project, named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from workflow.errors import ImageError
from workflow.images import decode as images
from workflow.images import memory
from workflow.models import Annotator, Guesses, Pixels
from workflow.project.paths import Project
from workflow.project.rows import digest
from workflow.records import Annotation, ImageRecord, Sample
from workflow.running.ahead import each_ahead

BATCH = 8
# Batches in memory at a time: one the model works on, and two decoded ahead.
WAITING = 3
# A whole image's label that is less likely than this would only have to be taken back by somebody.
FLOOR = 0.01


def guess(project: Project, annotator: Annotator, records: Sequence[ImageRecord]) -> Iterator[Sample]:
    """What the annotator says of images, as `preannotate` would write it; broken ones are left out."""
    for part, answers in annotate_all(annotator, project, records, project.settings.labels):
        for record, guesses in zip(part, answers, strict=True):
            yield with_ids(Sample(record.id, "predicted", to_push(project, guesses)), annotator.revision)


def to_push(project: Project, guesses: Guesses) -> Guesses:
    """The guesses that people get to see as chosen: of an image that has one label, the best.

    A label of a whole image that is all but impossible is none, unless the project set a threshold itself.
    """
    task, asked = project.settings.schema.task, project.settings.preannotate
    if task.kind == "labels" and asked.threshold is None:
        guesses = tuple(a for a in guesses if a.label in asked.thresholds or (a.score or 0.0) >= FLOOR)
    return guesses[:1] if task.exclusive else guesses


def annotate_all(
    annotator: Annotator,
    project: Project,
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    batch: int = BATCH,
) -> Iterator[tuple[list[ImageRecord], list[tuple[Annotation, ...]]]]:
    """Batches of records with what the annotator says of them; the next batches are decoded meanwhile.

    An image that broke since it was catalogued is left out of its batch, so one bad file stops nothing.
    """
    settings = project.settings.images
    parts = list(_parts(records, batch, memory.budget(settings.memory) // WAITING))

    def decode(part: list[ImageRecord]) -> list[tuple[ImageRecord, Pixels]]:
        decoded = []
        for record in part:
            try:
                limits = (settings.max_megapixels, settings.memory)
                decoded.append((record, images.from_file(project.shown_path(record), *limits)))
            except ImageError:
                continue
        return decoded

    with closing(each_ahead(decode, parts, WAITING - 1)) as decoded_parts:
        for decoded in filter(None, decoded_parts):
            good = [record for record, _ in decoded]
            pixels = [image for _, image in decoded]
            answers = annotator.annotate(pixels, [()] * len(good), classes)
            yield good, [_in_place(project, guesses) for guesses in answers]


def _parts(records: Sequence[ImageRecord], batch: int, most: int) -> Iterator[list[ImageRecord]]:
    """Batches of up to `batch` images, of fewer where their pixels would take more than `most` bytes."""
    part: list[ImageRecord] = []
    taken = 0
    for record in records:
        size = 3 * record.width * record.height
        if part and (len(part) == batch or taken + size > most):
            yield part
            part, taken = [], 0
        part.append(record)
        taken += size
    if part:
        yield part


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


def with_ids(sample: Sample, revision: str) -> Sample:
    """Name every region, the same on every run, so that the ledger can follow it."""
    names = [digest([sample.image, revision, number])[:10] for number in range(len(sample.annotations))]
    renamed = {a.id: name for a, name in zip(sample.annotations, names, strict=True)}
    named = (
        replace(a, id=name, parent=a.parent and renamed[a.parent])
        for a, name in zip(sample.annotations, names, strict=True)
    )
    return replace(sample, annotations=tuple(named))

"""What an annotator says of a project's images: asked by the engine, fitted to the project, named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from workflow.guesses.answers import Answering
from workflow.guesses.crew import Crew, ask
from workflow.guesses.engine import BATCH, Asks, Limits, Said, Source
from workflow.guesses.tally import Tally
from workflow.models import Annotator, Guesses
from workflow.models.choice import Answer, Choice
from workflow.project.paths import Project
from workflow.project.rows import digest
from workflow.records import Annotation, ImageRecord, Sample

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
        guesses = tuple(a for a in guesses if a.label in asked.thresholds or _likely(a))
    return guesses[:1] if task.exclusive else guesses


def _likely(a: Annotation) -> bool:
    return a.score is None or a.score >= FLOOR


def annotate_all(
    annotator: Annotator | Crew,
    project: Project,
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    batch: int = BATCH,
    workers: int | None = None,
    tally: Tally | None = None,
) -> Iterator[tuple[list[ImageRecord], list[Guesses]]]:
    """Batches of records with what the annotator says of them, in the records' order.

    `workers` threads decode (by default one a core) what comes next, while the annotator works in a thread of
    its own, and the caller on what came before. An image that broke since it was catalogued is left out, so
    one bad file stops nothing; `tally` names it, and keeps the time that each part of the work takes.
    """
    for part in _asked(annotator, project, records, classes, batch, workers, tally):
        yield [record for record, _ in part], [_in_place(project, guesses) for _, guesses in part]


def answers_of(
    asked: Answering | Crew,
    project: Project,
    records: Sequence[ImageRecord],
    batch: int = BATCH,
    workers: int | None = None,
    tally: Tally | None = None,
) -> Iterator[list[tuple[ImageRecord, Answer]]]:
    """As `annotate_all`, what was said before anything is chosen; `chosen` chooses."""
    return _asked(asked, project, records, project.settings.labels, batch, workers, tally)


def chosen(project: Project, choice: Choice, image: str, answer: Answer) -> Sample:
    """What people get to see of an answer, every region named, as `preannotate` writes it."""
    guesses = _in_place(project, choice.choose(answer, project.settings.labels))
    return with_ids(Sample(image, "predicted", to_push(project, guesses)), choice.revision)


def _asked(
    asked: Asks[Said] | Crew,
    project: Project,
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    batch: int,
    workers: int | None,
    tally: Tally | None,
) -> Iterator[list[tuple[ImageRecord, Said]]]:
    settings = project.settings.images
    sources = [Source(r, project.shown_path(r), 3 * r.width * r.height) for r in records]
    limits = Limits(settings.max_megapixels, settings.memory)
    answers = ask(asked, sources, classes, limits, batch, workers, tally)
    with closing(answers):
        yield from answers


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

"""What the model before and the model after fine-tuning say of the images they are compared on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from workflow import models
from workflow.errors import ModelError
from workflow.guesses.annotate import annotate_all
from workflow.guesses.crew import Job, crew_of
from workflow.guesses.options import options_of
from workflow.models import Options
from workflow.models.chain import Chain, load_chain
from workflow.project.paths import Project
from workflow.project.rows import Row, read_samples, sample_to_row, write_rows
from workflow.records import Annotation, ImageRecord, Sample
from workflow.running.progress import progress

Labels = dict[str, list[Annotation]]


@dataclass(frozen=True)
class Answer:
    """What a model guesses of the images: `model` is its spec, `path` the file with its guesses.

    `why` says why there are none.
    """

    labels: Labels | None
    model: str = ""
    path: Path | None = None
    why: str = ""


def ask_base(project: Project, base: str, records: list[ImageRecord], scratch: Path, device: str) -> Answer:
    """The model that was fine-tuned, `base`; if it cannot tell the project's classes, the pre-annotators."""
    reasons = []
    for specs in dict.fromkeys([(base,), project.settings.preannotate.models]):
        try:
            return ask(project, specs, records, scratch, device)
        except ModelError as error:
            reasons.append(error.problem)
    return Answer(None, why=f"no model before to compare with: {reasons[0]}")


def ask(
    project: Project, specs: tuple[str, ...], records: list[ImageRecord], scratch: Path, device: str
) -> Answer:
    """What models in a row say of the images; kept in scratch, so that a stopped evaluation goes on."""
    name = " > ".join(specs)
    path = scratch / answer_file(specs)
    if not path.exists():
        settings = project.settings
        job = Job(specs, project.folder, partial(_load, project, specs), project.data / "logs")
        annotator = crew_of(job, device)
        try:
            with progress(f"evaluating {name}", len(records)) as advance:

                def rows() -> Iterator[Row]:
                    for part, answers in annotate_all(annotator, project, records, settings.labels):
                        for record, guesses in zip(part, answers, strict=True):
                            yield sample_to_row(Sample(record.id, "predicted", guesses))
                        advance(len(part))

                write_rows(path, rows())
            for line in annotator.shortfalls:
                print(line)
        finally:
            annotator.close()
    return Answer(read_labels(path, records), name, path)


def _load(project: Project, specs: tuple[str, ...], folder: Path, device: str) -> Chain:
    return load_chain(specs, folder, project.settings.task, _options(project, specs, device))


def answer_file(specs: Sequence[str]) -> str:
    """What the file is called in which the answers of models in a row are kept."""
    return f"{models.slug(' > '.join(specs))}.jsonl"


def _options(project: Project, specs: Sequence[str], device: str) -> Options:
    """A run knows its own classes and prompts; another model is asked as for pre-annotation."""
    settings = project.settings
    options = options_of(
        settings.preannotate, device, settings.schema.task.floor, settings.images.exact_decode
    )
    if specs[-1].startswith("run:"):
        size = settings.train.image_size
        return replace(options, image_size=size, class_map={}, prompts={}, templates=())
    return options


def read_labels(path: Path, records: Sequence[ImageRecord]) -> Labels:
    """The labels in a file of samples, by image id. StageError where they do not fit the images' sizes."""
    return {image: list(sample.annotations) for image, sample in read_samples(path, records).items()}

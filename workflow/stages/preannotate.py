"""Pre-annotate: a model looks at every catalogued image and guesses labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from workflow import models
from workflow.guesses import kept
from workflow.guesses.annotate import BATCH, answers_of, chosen
from workflow.guesses.answers import Answering, to_row
from workflow.guesses.crew import Cluster, Crew, Job, crew_of
from workflow.guesses.gpus import Watch
from workflow.guesses.kept import Kept
from workflow.guesses.options import options_of
from workflow.guesses.tally import Tally, described
from workflow.models import Options
from workflow.models.chain import Chain, load_chain
from workflow.models.choice import Choice
from workflow.project import promoted
from workflow.project.paths import Project
from workflow.project.promoted import preannotators
from workflow.project.rows import Row, read_catalog, read_rows, sample_from_row, sample_to_row, write_rows
from workflow.project.settings import MAX_DET, PROMOTED
from workflow.records import ImageRecord
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner


def plan(project: Project) -> Plan:
    asked = project.settings.preannotate
    # Down to which score guesses are kept decides none of those that are pushed.
    apart = {"max_det", "base", "slices", "floor"}
    settings = asked.model_dump(exclude=apart) | project.settings.schema.to_json()
    # Whoever guesses: where that was promoted, and is the one that the settings named, nothing changed.
    settings |= {"model": promoted.in_force(project)}
    # As models have it: guesses of before there was such a setting stay what they are.
    settings |= {} if asked.max_det == MAX_DET else {"max_det": asked.max_det}
    settings |= {"slices": asked.slices.model_dump()} if asked.slices else {}
    settings |= project.settings.images.limits
    settings |= {"exact_decode": True} if project.settings.images.exact_decode else {}
    inputs: dict[str, Path | str] = {"catalog": project.catalog}
    for number, spec in enumerate(preannotators(project)):
        _, inputs[f"model {number}"] = models.resolve(spec, project.folder)
    return Plan("preannotate", 2, settings, inputs, (predictions_path(project),))


def predictions_path(project: Project) -> Path:
    """One file an annotator, named by it."""
    name = models.slug(" ".join(preannotators(project)))
    return project.data / "predictions" / f"{name}.jsonl"


@dataclass(frozen=True)
class How:
    """How the images are asked about, which changes no guess: by `workers` threads that decode, one a core
    by default, `batch` images at a time."""

    device: str = "auto"
    batch: int = BATCH
    workers: int | None = None
    compiled: bool = False
    cluster: Cluster | None = None
    tally: Tally = field(default_factory=Tally)


def run(
    project: Project,
    device: str = "auto",
    batch: int = BATCH,
    force: bool = False,
    workers: int | None = None,
    compiled: bool = False,
    cluster: Cluster | None = None,
) -> Outcome:
    """Write predictions/ANNOTATOR.jsonl: one line an image, also where nothing was found.

    What was said before, and is kept, is not asked for again, unless by `force`.
    """
    records = read_catalog(project.catalog)
    how = How(device, batch, workers, compiled, cluster)
    told: list[str] = []
    if force:
        kept.forget(project)
    _fetch(project)

    def work(scratch: Path) -> str:
        answers, shortfalls = _answers(project, records, how, told)
        with closing(answers):
            return _choose(project, records, answers, shortfalls)

    outcome = Runner(project.marks).run(plan(project), work, force)
    lines = () if outcome.skipped else (*_summary(project), *how.tally.lines(), *told)
    return replace(outcome, lines=(*who(project), *lines))


def _fetch(project: Project) -> None:
    for spec in preannotators(project):
        models.fetch(spec, project.folder)


def who(project: Project) -> list[str]:
    """Where the settings follow promotions: which model that is, and why, in a line."""
    if project.settings.preannotate.model != PROMOTED:
        return []
    row = promoted.promotion(project)
    named = " > ".join(preannotators(project))
    return [promoted.in_words(row) if row else f"{named}, preannotate.base: nothing is promoted yet"]


def load(
    project: Project,
    device: str,
    threshold: float | None = None,
    compiled: bool = False,
    specs: Sequence[str] = (),
) -> Chain:
    """The project's pre-annotators as one, at their own thresholds unless one is given for all classes.

    With `specs` other models in their place, asked as they are.
    """
    settings = project.settings.preannotate
    exact = project.settings.images.exact_decode
    asked = options_of(settings, device, settings.threshold if threshold is None else threshold, exact)
    options = replace(asked, one_label_a_place=settings.one_label_a_place, compiled=compiled)
    thresholds = settings.thresholds if threshold is None else {}
    named = tuple(specs) or preannotators(project)
    return load_chain(named, project.folder, project.settings.task, options, thresholds)


def _job(project: Project, compiled: bool, floor: float | None) -> Job:
    """The project's pre-annotators, to be asked for all that may be chosen from: down to `floor`, if not to
    that of the settings."""
    specs = preannotators(project)
    options = kept.options_now(project, compiled=compiled)
    options = options if floor is None else replace(options, floor=floor)
    return Job(specs, project.folder, partial(_load_from, project, specs, options), project.data / "logs")


def _load_from(
    project: Project, specs: Sequence[str], options: Options, folder: Path, device: str
) -> Answering:
    """Models from the files of a folder."""
    settings = project.settings
    options = replace(options, device=device)
    return Answering(load_chain(specs, folder, settings.task, options, settings.preannotate.thresholds))


def _answers(
    project: Project, records: Sequence[ImageRecord], how: How, told: list[str]
) -> tuple[Kept, tuple[str, ...]]:
    """What the pre-annotators say of the images, kept, and where they could say no more."""
    found, blamed = kept.find(project)
    lacking = found.lacking(project, records, how.tally) if found else list(records)
    if found and not lacking:
        told.append(f"chosen of what was kept of {len(found.shards)} images; nobody was asked")
        return found, found.shortfalls
    floor = found.header.asked.least if found else None
    with closing(crew_of(_job(project, how.compiled, floor), how.device, how.cluster)) as crew:
        kept.choice_now(project, crew.asked).check(project.settings.labels)
        if found and not found.header.same(kept.Header.of(project, crew.asked)):
            # The same by its name, and another since: say, a new commit on the hub.
            blamed = ["the model itself"]
            found.close()
            found = None
        if blamed:
            told.append(f"asked anew: what {crew.name} says depends on {', '.join(blamed)}")
        ours = found or Kept.of(project, crew.asked)
        lacking = ours.lacking(project, records, how.tally)
        if len(lacking) < len(records):
            told.append(f"{len(records) - len(lacking)} images were asked about before, and kept")
        with Watch("cpu" if how.cluster else how.device) as watch:
            _ask(project, crew, ours, lacking, how)
        told[:0] = [*crew.engines, *watch.lines()]
        ours.tell(crew.shortfalls)
    return ours, ours.shortfalls


def _ask(
    project: Project, crew: Answering | Crew, ours: Kept, records: Sequence[ImageRecord], how: How
) -> None:
    broken = {image: row for image, row in ours.broken().items() if image not in ours}
    parts = answers_of(crew, project, records, how.batch, how.workers, how.tally)
    with ours.shards.writing() as writer, progress("pre-annotating", len(records)) as advance:
        for part in parts:
            writer.add(to_row(record.id, answer) for record, answer in part)
            advance(len(part), how.tally.shares())
    for record in records:
        if error := how.tally.quarantined.get(str(project.shown_path(record))):
            broken[record.id] = {"image": record.id, "path": record.path, "reason": error.reason}
    ours.keep_broken(row for image, row in broken.items() if image not in ours)


def _choose(
    project: Project, records: Sequence[ImageRecord], answers: Kept, shortfalls: Sequence[str]
) -> str:
    """Write down what of the answers is to be pushed; what was done, in one line."""
    choice = kept.choice_now(project, answers.header.asked)
    choice.check(project.settings.labels)
    counts = _Counts()
    rows = counts.counted(_rows(project, records, answers, choice))
    write_rows(predictions_path(project), rows)
    missing = f", {len(records) - counts.images} unreadable" if counts.images < len(records) else ""
    noun = project.settings.schema.task.noun
    bounds = "".join(f"; {line}" for line in (*shortfalls, *choice.shortfalls))
    what = f"{counts.guesses} {noun} on {counts.images} images, none on {counts.empty}"
    return f"{choice.name}: {what}{missing}{bounds}"


def _rows(project: Project, records: Sequence[ImageRecord], answers: Kept, choice: Choice) -> Iterator[Row]:
    with progress("choosing", len(records)) as advance:
        for record in records:
            if record.id in answers:
                answer = answers.answer(record.id, choice.least)
                yield sample_to_row(chosen(project, choice, record.id, answer))
            advance(1)


@dataclass
class _Counts:
    images: int = 0
    guesses: int = 0
    empty: int = 0

    def counted(self, rows: Iterator[Row]) -> Iterator[dict[str, Any]]:
        for row in rows:
            self.images += 1
            self.guesses += len(row["annotations"])
            self.empty += not row["annotations"]
            yield row


def _summary(project: Project) -> list[str]:
    rows = read_rows(predictions_path(project))
    return described(a for row in rows for a in sample_from_row(row).annotations)

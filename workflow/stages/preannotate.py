"""Pre-annotate: a model looks at every catalogued image and guesses labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from workflow import models
from workflow.guesses.annotate import BATCH, annotate_all, to_push, with_ids
from workflow.guesses.crew import Cluster, Crew, Job, crew_of
from workflow.guesses.options import options_of
from workflow.guesses.tally import Tally, described
from workflow.models.chain import Chain, load_chain
from workflow.project import promoted
from workflow.project.checks import sample_shape
from workflow.project.paths import Project
from workflow.project.promoted import preannotators
from workflow.project.rows import (
    annotation_from_row,
    append_rows,
    appending,
    cached_rows,
    read_catalog,
    read_rows,
    sample_from_row,
    sample_to_row,
    write_rows,
)
from workflow.project.settings import MAX_DET, PROMOTED
from workflow.records import Sample
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner


def plan(project: Project) -> Plan:
    asked = project.settings.preannotate
    settings = asked.model_dump(exclude={"max_det", "base", "slices"}) | project.settings.schema.to_json()
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

    `workers` threads decode, by default one a core.
    """
    read_catalog(project.catalog)
    for spec in preannotators(project):
        models.fetch(spec, project.folder)
    tally = Tally()

    def work(scratch: Path) -> str:
        with closing(crew_of(_job(project, compiled), device, cluster)) as annotator:
            return _preannotate(project, scratch, annotator, batch, workers, tally)

    outcome = Runner(project.marks).run(plan(project), work, force)
    lines = () if outcome.skipped else (*_summary(project), *tally.lines())
    return replace(outcome, lines=(*who(project), *lines))


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


def _job(project: Project, compiled: bool) -> Job:
    load_here = partial(_load_from, project, compiled)
    return Job(project.settings.preannotate.models, project.folder, load_here, project.data / "logs")


def _load_from(project: Project, compiled: bool, folder: Path, device: str) -> Chain:
    """The project's pre-annotators, from the files of a folder."""
    return load(replace(project, folder=folder), device, compiled=compiled)


def _summary(project: Project) -> list[str]:
    rows = read_rows(predictions_path(project))
    return described(a for row in rows for a in sample_from_row(row).annotations)


def _preannotate(
    project: Project, scratch: Path, annotator: Chain | Crew, batch: int, workers: int | None, tally: Tally
) -> str:
    records = read_catalog(project.catalog)
    shard = scratch / "guesses.jsonl"
    done = {row["image"] for row in cached_rows(shard, sample_shape(annotation_from_row))}
    todo = [r for r in records if r.id not in done]
    classes = project.settings.labels
    with appending(shard) as file, progress("pre-annotating", len(todo)) as advance:
        for part, guesses in annotate_all(annotator, project, todo, classes, batch, workers, tally):
            pairs = zip(part, guesses, strict=True)
            samples = [Sample(r.id, "predicted", to_push(project, g)) for r, g in pairs]
            named = [with_ids(sample, annotator.revision) for sample in samples]
            append_rows(file, map(sample_to_row, named))
            advance(len(part), tally.shares())
    rows = {row["image"]: row for row in read_rows(shard)}
    ordered = [rows[r.id] for r in records if r.id in rows]
    write_rows(predictions_path(project), ordered)
    total = sum(len(row["annotations"]) for row in ordered)
    empty = sum(not row["annotations"] for row in ordered)
    missing = f", {len(records) - len(ordered)} unreadable" if len(ordered) < len(records) else ""
    noun = project.settings.schema.task.noun
    bounds = "".join(f"; {line}" for line in annotator.shortfalls)
    return f"{annotator.name}: {total} {noun} on {len(ordered)} images, none on {empty}{missing}{bounds}"

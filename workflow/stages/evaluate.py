"""Evaluate: the model before and after on the frozen test split, in numbers, in a report, in FiftyOne."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from workflow import metrics, models, services
from workflow.alike.leakage import in_words, leakage
from workflow.dataset import parquet
from workflow.errors import ModelError, ServiceError, StageError
from workflow.features.store import stores_of
from workflow.guesses.ask import Answer, Labels, ask, ask_base, read_labels
from workflow.images import decode
from workflow.labels import ledger
from workflow.labels.ledger.account import cost_model, decisions, look, thresholds
from workflow.metrics import Metrics, compare
from workflow.metrics.compare import Comparison, Sureness
from workflow.metrics.slices import slices_of
from workflow.project.paths import Project
from workflow.project.remote import Remote
from workflow.project.rows import (
    Row,
    digest,
    file_digest,
    read_catalog,
    read_json,
    read_rows,
    write_json,
    write_rows,
)
from workflow.project.settings import MAX_DET, Settings
from workflow.records import SPLITS, Annotation, ImageRecord
from workflow.running.environment import environment
from workflow.running.runner import Outcome, Plan, Runner
from workflow.services import state_folder
from workflow.shown import report
from workflow.shown.app import TRUTH, dataset_url
from workflow.shown.app import publish as publish_dataset
from workflow.shown.app.asked import models_shown
from workflow.shown.app.back import Returns
from workflow.shown.app.facts import facts_of
from workflow.shown.report.rounds import rounds
from workflow.stages import dataset, train
from workflow.training.card import settings_of

MODELS = ("base", "tuned")


@dataclass(frozen=True)
class Result:
    """What the two models are worth, as read from metrics.json; no `base` where none could be asked.

    `comparison` says whether the second is better, and how sure that is.
    """

    base: Metrics | None
    tuned: Metrics
    report: Path
    comparison: Comparison | None = None


def plan(project: Project) -> Plan:
    name = train.latest(project)
    folder = project.runs / name
    settings: dict[str, Any] = project.settings.evaluate.model_dump() | {"run": name}
    settings |= {"sigmas": project.settings.keypoint_sigmas}
    settings["threshold"] = project.settings.schema.task.floor
    settings |= project.settings.images.limits
    settings |= {"exact_decode": True} if project.settings.images.exact_decode else {}
    settings["title"] = project.settings.title
    settings["people"] = project.settings.pull.people
    # The report tells the ledger's seconds, and which thresholds would spare some.
    settings["costs"] = asdict(cost_model(project.settings.review))
    settings["thresholds"] = thresholds(project.settings)
    asked = {"model", "image_size", "class_map", "prompts", "templates", "trust"}
    settings |= project.settings.preannotate.model_dump(include=asked)
    settings |= {"model": project.settings.preannotate.named}
    if project.settings.preannotate.max_det != MAX_DET:
        settings["max_det"] = project.settings.preannotate.max_det
    if project.settings.preannotate.slices:
        settings["slices"] = project.settings.preannotate.slices.model_dump()
    inputs: dict[str, Path | str] = {"dataset": dataset.version(project), "run": folder / "run.json"}
    inputs |= {
        "tags": project.tags,
        "people": project.people,
        "ledger": project.ledger,
        "simulated": project.simulated,
        "base": train.base_digest(project),
    }
    for number, spec in enumerate(project.settings.preannotate.models):
        inputs[f"model {number}"] = _checkpoint(project, spec)
    # What leaks follows from the dataset's images, whose measures follow from their bytes.
    return Plan("evaluate", 6, settings, inputs, (folder / "metrics.json", folder / "report.html"))


def rules_of(settings: Settings) -> metrics.Rules:
    """How objects are counted, as the project has it."""
    return metrics.Rules(settings.evaluate.max_guesses, settings.evaluate.voc_iou, settings.keypoint_sigmas)


def run(project: Project, device: str = "auto", force: bool = False) -> Outcome:
    """Write metrics.json, predictions/ and report.html into the latest run's folder.

    StageError where no model was trained on today's dataset, or the test split holds no image.
    """
    outcome = Runner(project.marks).run(plan(project), lambda s: _evaluate(project, s, device), force)
    card = read_json(project.runs / train.latest(project) / "metrics.json", {})
    return replace(outcome, lines=(in_words(card["leakage"]),) if card.get("leakage") else ())


def result(project: Project) -> Result:
    """The numbers of the latest run. StageError where it was not evaluated."""
    folder = project.runs / train.latest(project)
    numbers = read_json(folder / "metrics.json")
    if numbers is None:
        raise StageError(f"{folder.name} is not evaluated", "workflow evaluate")
    try:
        base = numbers["base"] and metrics.from_json(numbers["base"])
        compared = numbers.get("comparison")
        comparison = Comparison.from_json(compared) if compared else None
        return Result(base, metrics.from_json(numbers["tuned"]), folder / "report.html", comparison)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        what = f"{folder / 'metrics.json'}: not the numbers of an evaluation"
        raise StageError(what, "workflow evaluate --force") from None


def publish(project: Project) -> Outcome:
    """Show truth and the models in FiftyOne; nothing is done where it already shows just that.

    The models are those of the latest run, and those that `evaluate --models` ranked on the same images.
    The numbers are kept whether or not its database runs: the outcome says what is missing.
    """
    start = time.perf_counter()
    if isinstance(project.image_root, Remote):
        did = f"not shown in FiftyOne, which reads disks: the images are at {project.image_root}"
        return Outcome("fiftyone", 0.0, did, skipped=True)
    truth = _truth(project, SPLITS)
    # The App is a browser too.
    records = [
        replace(r, path=str(project.shown_path(r))) if r.png else r
        for r in read_catalog(project.catalog)
        if r.id in truth
    ]
    split, made_of = project.settings.evaluate.split, dataset.version(project)
    files = models_shown(project, split, made_of, _run_of(project))
    if not files:
        train.latest(project)
        raise StageError(f"no model was evaluated on today's dataset of {project.name}", "workflow evaluate")
    fields = {TRUTH: truth} | {model: read_labels(path, records) for model, path in files.items()}
    tested = _records(project, split)
    stores = stores_of(project)
    said = {model: file_digest(path) for model, path in files.items()}
    known = [file_digest(path) for path in (project.measures, project.ledger, project.catalog)]
    try:
        built = publish_dataset(
            project.name,
            records,
            fields,
            project.settings.schema,
            services.fiftyone_environment(state_folder(project.workspace)),
            digest([made_of, said, known, split, project.settings.title, [s.digest() for s in stores]]),
            root=project.images,
            masks=project.data / "fiftyone",
            evaluated=[r.id for r in tested],
            facts=facts_of(project, records),
            stores=stores,
            returns=Returns(project),
        )
    except ServiceError as error:
        did = f"not shown in FiftyOne ({error.problem}); the numbers are kept -> {error.fix or 'make up'}"
        return Outcome("fiftyone", time.perf_counter() - start, did, skipped=True)
    did = f"{len(records)} images with {_listed(['truth', *list(fields)[1:]])}"
    did += f" in the FiftyOne dataset {project.name!r}"
    return Outcome("fiftyone", time.perf_counter() - start, did, skipped=not built)


def _run_of(project: Project) -> str:
    """The latest run; empty where none was trained on today's dataset, or nothing can be."""
    try:
        return train.latest(project)
    except (StageError, ModelError):
        return ""


def app_url(project: Project, app: str) -> str:
    """Where the App shows this project."""
    return dataset_url(app, project.name)


def summary_of(numbers: Metrics) -> dict[str, Any]:
    """The figures of summary.json: those of the headlines, by their keys, and the score a class."""
    first = next(column.key for column in numbers.columns if column.kind == "change")
    figures = {line.key: line.value for line in numbers.headlines}
    per_class = {label: row[first] for label, row in numbers.per_class.items()}
    shown = {line.name: line.value for line in numbers.headlines}
    figures_by_name = {
        "metric": numbers.metric,
        "score": numbers.score,
        "headlines": shown,
        "per_class": per_class,
    }
    return figures | figures_by_name


def _evaluate(project: Project, scratch: Path, device: str) -> str:
    """Ask the model before and the model after, measure both, write down what they are worth."""
    settings = project.settings
    folder = project.runs / train.latest(project)
    records = _records(project, settings.evaluate.split)
    if not records:
        raise StageError(
            f"the dataset's {settings.evaluate.split} split holds no image",
            "label some of it, pull, workflow dataset",
        )
    truth = _truth(project, (settings.evaluate.split,))
    answers = {
        "base": ask_base(project, train.base_spec(project), records, scratch, device),
        "tuned": ask(project, (f"run:{folder.name}",), records, scratch, device),
    }
    sizes = {r.id: (r.width, r.height) for r in records}
    weighed = {
        model: metrics.weigh(settings.schema, sizes, truth, answer.labels, rules_of(settings))
        for model, answer in answers.items()
        if answer.labels is not None
    }
    numbers = {model: figures for model, (figures, _) in weighed.items()}
    sureness = _sureness(project, records, {model: pair[1] for model, pair in weighed.items()})
    intervals = compare.intervals_of(weighed, _groups(records), sureness)
    trained = parquet.images(project.dataset, "train")
    leak = leakage(project, settings.evaluate.split, [r.id for r in records], trained)
    known = {model: {key: asdict(i) for key, i in found.items()} for model, found in intervals.items()}
    more = {"tested": digest(sorted(sizes)), "leakage": leak, "intervals": known}
    _write_down(project, folder, answers, numbers, sureness, more)
    data = _report_data(project, folder, records, truth, answers, numbers)
    data = replace(
        data, score=sureness.score, comparison=sureness.comparison, leakage=leak, intervals=intervals
    )
    report.write_report(folder / "report.html", data)
    figures = _change(numbers.get("base"), numbers["tuned"])
    figures += f": {compare.in_words(sureness.comparison.score)}" if sureness.comparison else ""
    alone = f"; {answers['base'].why}" if answers["base"].why else ""
    return f"{folder.name} on {len(records)} {settings.evaluate.split} images: {figures}{alone}"


def slices(project: Project, records: Sequence[ImageRecord]) -> dict[str, list[int]]:
    """The numbers of the images looked at by themselves; `records` stand in the order of their ids."""
    ids = {record.id for record in records}
    measures = {row["id"]: row for row in read_rows(project.measures) if row["id"] in ids}
    tags: dict[str, set[str]] = {}
    for row in read_rows(project.tags):
        if "field" not in row:
            tags.setdefault(row["tag"], set()).add(row["image"])
    return slices_of(records, measures, tags)


def _groups(records: Sequence[ImageRecord]) -> list[str]:
    """What each image belongs to, in the order of the ids."""
    return [record.group or record.id for record in sorted(records, key=lambda record: record.id)]


def _sureness(
    project: Project, records: Sequence[ImageRecord], evidence: Mapping[str, metrics.Evidence]
) -> Sureness:
    """How sure the score is, and whether it is better than before; images of one group count as one."""
    ordered = sorted(records, key=lambda record: record.id)
    sides = evidence.get("base"), evidence["tuned"]
    return compare.sureness(*sides, _groups(records), project.settings.classes, slices(project, ordered))


def _write_down(
    project: Project,
    folder: Path,
    answers: Mapping[str, Answer],
    numbers: Mapping[str, Metrics],
    sureness: Sureness,
    rest: Row,
) -> None:
    """Put the guesses and the numbers of both models into the run's folder."""
    _keep_predictions(folder / "predictions", answers)
    card: dict[str, Any] = {"split": project.settings.evaluate.split, "dataset": dataset.version(project)}
    card |= {"task": project.settings.task, "before": answers["base"].model, "no_before": answers["base"].why}
    card |= {model: numbers[model].to_json() if model in numbers else None for model in MODELS}
    card |= sureness.to_json() | {"environment": environment()} | rest
    write_json(folder / "metrics.json", card)


def _change(base: Metrics | None, tuned: Metrics) -> str:
    """The first two numbers, before and after."""
    before = {line.key: line.value for line in base.headlines} if base else {}
    changes = []
    for line in tuned.headlines[:2]:
        was = f"{_shown(before[line.key])} -> " if line.key in before else ""
        changes.append(f"{line.name} {was}{_shown(line.value)}")
    return ", ".join(changes)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _listed(words: list[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}"


def _rows(project: Project, split: str) -> Iterator[tuple[Row, list[Annotation]]]:
    return parquet.read(project.dataset, split, project.settings.schema)


def _records(project: Project, split: str) -> list[ImageRecord]:
    """The catalog's records of the dataset's images of one split."""
    known = parquet.images(project.dataset, split)
    return [r for r in read_catalog(project.catalog) if r.id in known]


def _truth(project: Project, splits: Sequence[str]) -> Labels:
    return {parquet.image_of(row): labels for split in splits for row, labels in _rows(project, split)}


def _checkpoint(project: Project, spec: str) -> Path | str:
    try:
        return models.resolve(spec, project.folder)[1]
    except ModelError:
        return "absent"


def _environments(card: Mapping[str, Any], here: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What the model was trained with, and what it was evaluated with; a dash where nobody wrote it down."""
    known = card.get("environment", {})
    return {name: (known.get(name, "–"), here.get(name, "–")) for name in {**here, **known}}


def _keep_predictions(folder: Path, answers: Mapping[str, Answer]) -> None:
    for name, answer in answers.items():
        path = folder / f"{name}.jsonl"
        if answer.path is None:
            path.unlink(missing_ok=True)
        else:
            write_rows(path, read_rows(answer.path))


def _report_data(
    project: Project,
    folder: Path,
    records: list[ImageRecord],
    truth: Labels,
    answers: Mapping[str, Answer],
    numbers: Mapping[str, Metrics],
) -> report.ReportData:
    card = train.read_run(project, folder.name)
    people = ledger.summarise(decisions(project), cost_model(project.settings.review))
    account = look(project)
    paths = {r.id: project.shown_path(r) for r in records}
    limits = (project.settings.images.max_megapixels, project.settings.images.memory)
    provenance = {
        "run": folder.name,
        "fine-tuned from": f"{card['base']['spec']} ({card['base']['digest']})",
        "compared with": answers["base"].model or "nothing",
        "device": card["device"],
        "workflow": card["workflow"],
    }
    return report.ReportData(
        title=project.settings.title,
        base=numbers.get("base"),
        tuned=numbers["tuned"],
        no_base=answers["base"].why,
        split=project.settings.evaluate.split,
        noun=project.settings.schema.task.noun,
        # Of labels that were imported nobody knows what they took.
        ledger={word: people[word] for word in (*ledger.ACTIONS, "skipped")} if people["images"] else {},
        reviewer_seconds=people["reviewer_seconds"] if people["images"] else None,
        seconds_from_nothing=people["seconds_from_nothing"],
        simulated=account.figures.simulated_part if account else "",
        labels=dataset.labels(project),
        figures=account.figures if account else None,
        suggestions=account.suggestions if account else (),
        judged=account.model if account else "",
        epochs=card["curves"],
        selected_by=card["metric"],
        truth=truth,
        base_predictions=answers["base"].labels or {},
        tuned_predictions=answers["tuned"].labels or {},
        load=lambda image: Image.fromarray(decode.from_file(paths[image], *limits)),
        names={r.id: r.path for r in records},
        settings=settings_of(card),
        dataset_version=card["dataset"],
        provenance=provenance,
        environments=_environments(card, environment()),
        rounds=rounds(project.runs, folder.name),
        reproduce=[f"make {stage} P={project.name}" for stage in ("dataset", "train", "evaluate")],
    )

"""Evaluate: base and tuned model on the frozen test split, in numbers, in a report, in FiftyOne."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from workflow import images, ledger, models, report, services
from workflow.app_dataset import TRUTH, dataset_url
from workflow.app_dataset import publish as publish_dataset
from workflow.connection import state_folder
from workflow.errors import StageError
from workflow.metrics import DetectionMetrics, detection_metrics
from workflow.progress import progress
from workflow.project import Project
from workflow.records import SPLITS, Annotation, ImageRecord, Sample
from workflow.runner import Outcome, Plan, Runner
from workflow.stages import dataset, train
from workflow.stages.preannotate import annotate_all
from workflow.stages.review import cost_model
from workflow.store import (
    Row,
    read_catalog,
    read_json,
    read_rows,
    read_samples,
    sample_to_row,
    write_json,
    write_rows,
)

# Average precision needs the whole precision-recall curve, so nearly everything a model says.
THRESHOLD = 0.01
MODELS = ("base", "tuned")
Boxes = dict[str, list[Annotation]]


@dataclass(frozen=True)
class Result:
    """What the two models are worth: `base` and `tuned` as read from metrics.json."""

    base: DetectionMetrics
    tuned: DetectionMetrics
    report: Path


def plan(project: Project) -> Plan:
    name = train.latest(project)
    folder = project.runs / name
    settings = project.settings.evaluate.model_dump() | {"threshold": THRESHOLD, "run": name}
    settings |= project.settings.preannotate.model_dump(include={"image_size", "class_map"})
    inputs: dict[str, Path | str] = {"dataset": dataset.version(project), "run": folder / "run.json"}
    inputs |= {"ledger": project.ledger, "base": train.base_digest(project)}
    return Plan("evaluate", 1, settings, inputs, (folder / "metrics.json", folder / "report.html"))


def run(project: Project, device: str = "auto", force: bool = False) -> Outcome:
    """Write metrics.json, predictions/ and report.html into the latest run's folder.

    StageError where no model was trained on today's dataset, or the test split holds no image.
    """
    return Runner(project.marks).run(plan(project), lambda s: _evaluate(project, s, device), force)


def result(project: Project) -> Result:
    """The numbers of the latest run. StageError where it was not evaluated."""
    folder = project.runs / train.latest(project)
    numbers = read_json(folder / "metrics.json")
    if numbers is None:
        raise StageError(f"{folder.name} is not evaluated", "workflow evaluate")
    base, tuned = (DetectionMetrics.from_json(numbers[model]) for model in MODELS)
    return Result(base, tuned, folder / "report.html")


def publish(project: Project) -> Outcome:
    """Show truth and both models in FiftyOne; nothing is done where it already shows just that."""
    start = time.perf_counter()
    state = state_folder(project.workspace)
    folder = project.runs / train.latest(project)
    truth = _truth(project, SPLITS)
    tested = _records(project, project.settings.evaluate.split)
    known = truth.keys()
    rows = [r for r in read_catalog(project.catalog) if r.id in known]
    fields: dict[str, Boxes] = {TRUTH: truth} | {m: _kept_predictions(folder, m) for m in MODELS}
    made = publish_dataset(
        project.name,
        rows,
        fields,
        project.settings.classes,
        services.fiftyone_environment(state),
        plan(project).fingerprint(),
        root=project.images,
        evaluated=[r.id for r in tested],
    )
    did = f"{len(rows)} images with truth, base and tuned in the FiftyOne dataset {project.name!r}"
    return Outcome("fiftyone", time.perf_counter() - start, did, skipped=not made)


def app_url(project: Project, app: str) -> str:
    """Where the App shows this project."""
    return dataset_url(app, project.name)


def _evaluate(project: Project, scratch: Path, device: str) -> str:
    split = project.settings.evaluate.split
    folder = project.runs / train.latest(project)
    records = _records(project, split)
    if not records:
        raise StageError(
            f"the dataset's {split} split holds no image", "label some of it, pull, workflow dataset"
        )
    specs = {"base": train.base_spec(project), "tuned": f"run:{folder.name}"}
    predicted = {m: _predict(project, specs[m], records, scratch / f"{m}.jsonl", device) for m in MODELS}
    truth = _truth(project, (split,))
    sizes = {r.id: (r.width, r.height) for r in records}
    classes = project.settings.classes
    numbers = {m: detection_metrics(sizes, truth, predicted[m], classes) for m in MODELS}
    for model in MODELS:
        write_rows(folder / "predictions" / f"{model}.jsonl", read_rows(scratch / f"{model}.jsonl"))
    card = {"split": split, "dataset": dataset.version(project)} | {m: numbers[m].to_json() for m in MODELS}
    write_json(folder / "metrics.json", card)
    report.write_report(
        folder / "report.html", _report_data(project, folder, records, truth, predicted, numbers)
    )
    before, after = numbers["base"], numbers["tuned"]
    half = f"mAP50 {_shown(before.map50)} -> {_shown(after.map50)}"
    mean = f"mAP50-95 {_shown(before.map50_95)} -> {_shown(after.map50_95)}"
    return f"{folder.name} on {len(records)} {split} images: {half}, {mean}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _records(project: Project, split: str) -> list[ImageRecord]:
    """The catalog's records of the dataset's images of one split."""
    known = {
        row["image_id"] for row, _ in dataset.read_dataset(project.dataset, split, project.settings.classes)
    }
    return [r for r in read_catalog(project.catalog) if r.id in known]


def _truth(project: Project, splits: Sequence[str]) -> Boxes:
    classes = project.settings.classes
    return {
        row["image_id"]: boxes
        for split in splits
        for row, boxes in dataset.read_dataset(project.dataset, split, classes)
    }


def _predict(project: Project, spec: str, records: list[ImageRecord], path: Path, device: str) -> Boxes:
    """What a model says of the images; kept in scratch, so that a stopped evaluation goes on."""
    if not path.exists():
        settings = project.settings
        annotator = models.load(
            spec,
            project.folder,
            threshold=THRESHOLD,
            image_size=settings.train.image_size
            if spec.startswith("run:")
            else settings.preannotate.image_size,
            class_map={} if spec.startswith("run:") else settings.preannotate.class_map,
            device=device,
        )
        rows: list[Row] = []
        try:
            with progress(f"evaluating {spec}", len(records)) as advance:
                for part, guesses in annotate_all(annotator, project, records, settings.classes):
                    samples = (Sample(r.id, "predicted", g) for r, g in zip(part, guesses, strict=True))
                    rows += map(sample_to_row, samples)
                    advance(len(part))
        finally:
            annotator.close()
        write_rows(path, rows)
    return {image: list(sample.annotations) for image, sample in read_samples(path).items()}


def _kept_predictions(folder: Path, model: str) -> Boxes:
    samples = read_samples(folder / "predictions" / f"{model}.jsonl")
    return {image: list(sample.annotations) for image, sample in samples.items()}


def _report_data(
    project: Project,
    folder: Path,
    records: list[ImageRecord],
    truth: Boxes,
    predicted: dict[str, Boxes],
    numbers: dict[str, DetectionMetrics],
) -> report.ReportData:
    card = train.read_run(project, folder.name)
    people = ledger.summarise(read_rows(project.ledger), cost_model(project.settings.review))
    paths = {r.id: project.image_path(r.path) for r in records}
    limit = project.settings.images.max_megapixels
    provenance = {
        "run": folder.name,
        "base": f"{card['base']['spec']} ({card['base']['digest']})",
        "device": card["device"],
        "workflow": card["workflow"],
    }
    return report.ReportData(
        title=project.settings.title,
        base=numbers["base"],
        tuned=numbers["tuned"],
        split=project.settings.evaluate.split,
        ledger={word: people[word] for word in (*ledger.ACTIONS, "skipped")},
        reviewer_seconds=people["reviewer_seconds"],
        seconds_from_nothing=people["seconds_from_nothing"],
        epochs=card["curves"],
        truth=truth,
        base_predictions=predicted["base"],
        tuned_predictions=predicted["tuned"],
        load=lambda image: Image.fromarray(images.load(paths[image], limit)),
        names={r.id: r.path for r in records},
        settings=card["settings"],
        dataset_version=card["dataset"],
        provenance=provenance,
        reproduce=[f"make {stage} P={project.name}" for stage in ("dataset", "train", "evaluate")],
    )


def summary_of(metrics: DetectionMetrics) -> dict[str, Any]:
    """The three figures of summary.json."""
    per_class = {label: row["ap50_95"] for label, row in metrics.per_class.items()}
    return {"map50": metrics.map50, "map50_95": metrics.map50_95, "per_class": per_class}

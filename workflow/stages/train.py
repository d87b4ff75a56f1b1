"""Fine-tune: transfer learning from the base model on the corrected labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from workflow import __version__, models
from workflow.errors import ModelError, StageError
from workflow.progress import progress
from workflow.project import Project
from workflow.runner import Outcome, Plan, Runner
from workflow.stages import dataset
from workflow.store import file_digest, read_json, write_json
from workflow.training import yolo

TRAINERS = {"ultralytics": yolo.train}


def plan(project: Project) -> Plan:
    settings = project.settings.train.model_dump() | {"base": base_spec(project)}
    inputs: dict[str, Path | str] = {"dataset": dataset.version(project)}
    _, checkpoint = models.resolve(base_spec(project), project.folder)
    inputs["base"] = checkpoint
    made = Plan("train", 1, settings, inputs, ())
    return Plan("train", 1, settings, inputs, (run_folder(project, made) / "run.json",))


def base_spec(project: Project) -> str:
    return project.settings.train.base or project.settings.preannotate.model


def base_digest(project: Project) -> str:
    _, checkpoint = models.resolve(base_spec(project), project.folder)
    return file_digest(checkpoint) if isinstance(checkpoint, Path) else checkpoint


def run_folder(project: Project, made: Plan) -> Path:
    """A run is named by what went into it, so that the same training is never a second run."""
    return project.runs / f"{project.name}-{made.fingerprint()[:8]}"


def run(project: Project, device: str = "auto", force: bool = False) -> Outcome:
    """Write runs/RUN/: model.pt, run.json (settings, curves, versions), README.md.

    StageError without a dataset or training images; ModelError where the base cannot be trained.
    """
    dataset.version(project)
    models.fetch(base_spec(project), project.folder)
    made = plan(project)
    return Runner(project.marks).run(made, lambda scratch: _train(project, made, scratch, device), force)


def latest(project: Project) -> str:
    """The name of the run that follows from today's dataset and settings. StageError if it is not there."""
    folder = run_folder(project, plan(project))
    if not (folder / "run.json").exists():
        raise StageError(f"no model was trained on today's dataset of {project.name}", "workflow train")
    return folder.name


def _train(project: Project, made: Plan, scratch: Path, device: str) -> str:
    settings = project.settings.train
    family, base = models.resolve(base_spec(project), project.folder)
    if family not in TRAINERS:
        raise ModelError(
            f"no training for {family} models yet", f"set train.base to one of {', '.join(TRAINERS)}"
        )
    if not isinstance(base, Path):
        raise ModelError(f"base {base_spec(project)!r}: {base} is not on this machine", "put it there")
    classes = project.settings.classes
    splits = {s: dataset.read_dataset(project.dataset, s, classes) for s in ("train", "validation")}
    counts = yolo.export(scratch / "data", splits, classes)
    if not counts["train"]:
        raise StageError("the dataset has no training image", "label images of the train split, then pull")
    names = yolo.Recipe.__dataclass_fields__
    recipe = yolo.Recipe(**{k: v for k, v in settings.model_dump().items() if k in names})
    log = project.data / "logs" / "train.log"
    with progress("training", settings.epochs, "epochs") as advance:
        shown = 0

        def report(epoch: yolo.Epoch) -> None:
            nonlocal shown
            # ultralytics reports the last epoch twice, and a resumed training starts in the middle.
            steps, shown = max(int(epoch["epoch"]) - shown, 0), int(epoch["epoch"])
            advance(steps, f"loss {epoch['loss']:.2f}, mAP50-95 {epoch['map50_95']:.3f}")

        result = TRAINERS[family](base, scratch / "data" / "data.yaml", scratch, recipe, device, log, report)
    folder = _keep(project, made, scratch, result, counts)
    best = max(result["curves"], key=lambda e: e["map50_95"])
    seconds = sum(e["seconds"] for e in result["curves"][-1:])
    where = f"{counts['train']} images, {len(result['curves'])} epochs on {result['device']}"
    return f"{folder.name}: {where} in {seconds:.0f} s, mAP50-95 {best['map50_95']:.3f} on validation"


def _keep(
    project: Project, made: Plan, scratch: Path, result: dict[str, Any], counts: dict[str, int]
) -> Path:
    """Put what training made into a run folder that appears whole."""
    fresh = scratch / "kept"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    shutil.copyfile(result["model"], fresh / "model.pt")
    settings = project.settings
    card = {
        "family": "ultralytics",
        "checkpoint": "model.pt",
        "workflow": __version__,
        "base": {"spec": base_spec(project), "digest": base_digest(project)},
        "dataset": dataset.version(project),
        "images": counts,
        "classes": settings.classes,
        "settings": settings.train.model_dump(),
        "arguments": result["arguments"],
        "selected_on": "validation" if counts.get("validation") else "train",
        "curves": result["curves"],
        "device": result["device"],
        "peak_memory_mb": result["peak_memory_mb"],
    }
    write_json(fresh / "run.json", card)
    (fresh / "README.md").write_text(_model_card(project, card))
    folder = run_folder(project, made)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def _model_card(project: Project, card: dict[str, Any]) -> str:
    rows = "\n".join(f"| {k} | {v} |" for k, v in sorted(card["settings"].items()))
    return f"""---
tags: [object-detection, ultralytics]
license: agpl-3.0
---
# {project.settings.title}

A detector of {", ".join(card["classes"])}, fine-tuned from `{card["base"]["spec"]}`
on version `{card["dataset"]}` of the project's dataset ({card["images"].get("train", 0)} training images).
The epoch was selected on the {card["selected_on"]} split. Metrics on the test split are in `metrics.json`,
pictures in `report.html`.

Made with ultralytics, which is AGPL-3.0; its vendor holds that this covers the weights too.

| setting | value |
|---|---|
{rows}
"""


def read_run(project: Project, name: str) -> dict[str, Any]:
    """run.json of a run."""
    card = read_json(project.runs / name / "run.json")
    if card is None:
        raise StageError(f"no run {name!r} in {project.runs}", "workflow train")
    return card

"""Fine-tune: transfer learning from the base model on the corrected labels."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Any

from workflow import __version__, models, training
from workflow.errors import StageError
from workflow.project.aside import move_aside
from workflow.project.paths import Project
from workflow.project.rows import file_digest, read_json, write_json
from workflow.project.settings import Train
from workflow.running.environment import environment
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner
from workflow.stages import dataset
from workflow.training import PRESETS, Augment, Epoch, Job, Recipe, Trained
from workflow.training.card import model_card


def plan(project: Project) -> Plan:
    settings = dataclasses.asdict(recipe(project.settings.train)) | {"base": base_spec(project)}
    settings |= {"task": project.settings.task, **project.settings.images.limits}
    inputs: dict[str, Path | str] = {"dataset": dataset.version(project)}
    _, checkpoint = models.resolve(base_spec(project), project.folder)
    inputs["base"] = checkpoint
    made = Plan("train", 2, settings, inputs, ())
    return Plan("train", 2, settings, inputs, (run_folder(project, made) / "run.json",))


def recipe(settings: Train) -> Recipe:
    """What the settings mean: the preset, changed by what is set beside it."""
    names = [f.name for f in dataclasses.fields(Augment)]
    asked = {name: value for name in names if (value := getattr(settings, name)) is not None}
    values = settings.model_dump(exclude={*names, "augment", "base"})
    return Recipe(
        **values,
        augment=dataclasses.replace(PRESETS[settings.augment], **asked),
        asked=tuple(sorted(name for name, value in asked.items() if value)),
    )


def base_spec(project: Project) -> str:
    return project.settings.train.base or project.settings.preannotate.models[-1]


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
    training.check(project.settings.schema)
    dataset.version(project)
    family, _ = models.resolve(base_spec(project), project.folder)
    training.trainer(family, project.settings.task, project.settings.train.method)
    models.fetch(base_spec(project), project.folder)
    made = plan(project)
    return Runner(project.marks).run(made, lambda scratch: _train(project, made, scratch, device), force)


def latest(project: Project) -> str:
    """The name of the run that follows from today's dataset and settings. StageError if it is not there."""
    folder = run_folder(project, plan(project))
    if not (folder / "run.json").exists():
        raise StageError(f"no model was trained on today's dataset of {project.name}", "workflow train")
    return folder.name


def job(project: Project, scratch: Path, device: str) -> Job:
    """What a trainer needs to know."""
    family, base = models.resolve(base_spec(project), project.folder)
    return Job(
        schema=project.settings.schema,
        family=family,
        base=base,
        spec=base_spec(project),
        dataset=project.dataset,
        recipe=recipe(project.settings.train),
        scratch=scratch,
        device=device,
        log=project.data / "logs" / "train.log",
        max_megapixels=project.settings.images.max_megapixels,
        memory=project.settings.images.memory,
    )


def preview(project: Project, device: str = "auto") -> Path:
    """Draw a sheet of training images as they are varied: data/preview.png."""
    training.check(project.settings.schema)
    dataset.version(project)
    models.fetch(base_spec(project), project.folder)
    path = project.data / "preview.png"
    with tempfile.TemporaryDirectory(dir=project.data) as scratch:
        asked = job(project, Path(scratch), device)
        training.trainer(asked.family, asked.schema.task.name, asked.recipe.method).preview(asked, path)
    return path


def _train(project: Project, made: Plan, scratch: Path, device: str) -> str:
    asked = job(project, scratch, device)
    trainer = training.trainer(asked.family, asked.schema.task.name, asked.recipe.method)
    with progress("training", asked.recipe.epochs, "epochs") as advance:
        shown = 0

        def report(epoch: Epoch) -> None:
            nonlocal shown
            # A training that was stopped goes on in the middle.
            steps, shown = max(int(epoch["epoch"]) - shown, 0), max(int(epoch["epoch"]), shown)
            rate = f", {epoch['images_per_second']:.1f} images/s" if "images_per_second" in epoch else ""
            advance(steps, f"loss {epoch['loss']:.2f}, score {epoch['score']:.3f}{rate}")

        result: Trained = trainer.train(asked, report)
    folder = _keep(project, made, scratch, result)
    best = max(result.curves, key=lambda e: e["score"])
    seconds = result.curves[-1]["seconds"]
    where = f"{result.images['train']} images, {len(result.curves)} epochs on {result.device}"
    on = f"{result.metric} {best['score']:.3f} on {result.selected_on}"
    left_out = "".join(f"; left out: {n} {what}" for what, n in result.arguments.get("left_out", {}).items())
    return f"{folder.name}: {where} in {seconds:.0f} s, {on}{left_out}"


def _keep(project: Project, made: Plan, scratch: Path, result: Trained) -> Path:
    """Put what training made into a run folder that appears whole."""
    fresh = scratch / "kept"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(result.files, fresh)
    settings = project.settings
    card = {
        "family": result.family,
        "checkpoint": result.checkpoint,
        **settings.schema.to_json(),
        "workflow": __version__,
        "base": {"spec": base_spec(project), "digest": base_digest(project)},
        "dataset": dataset.version(project),
        "images": result.images,
        "settings": dataclasses.asdict(recipe(settings.train)),
        "arguments": result.arguments,
        "selected_on": result.selected_on,
        "metric": result.metric,
        "curves": result.curves,
        "device": result.device,
        "peak_memory_mb": result.peak_memory_mb,
        "environment": environment(),
    }
    write_json(fresh / "run.json", card)
    text = model_card(settings.title, card, dataset.labels(project))
    (fresh / "README.md").write_text(text, encoding="utf-8")
    folder = run_folder(project, made)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        # A forced training of the same settings: its card may have been edited, and the model be in use.
        move_aside(folder)
    fresh.rename(folder)
    return folder


def read_run(project: Project, name: str) -> dict[str, Any]:
    """run.json of a run."""
    card = read_json(project.runs / name / "run.json")
    if card is None:
        raise StageError(f"no run {name!r} in {project.runs}", "workflow train")
    if lacks := [key for key in ("base", "curves", "dataset", "settings") if key not in card]:
        what = f"{project.runs / name / 'run.json'}: lacks {', '.join(lacks)}"
        raise StageError(what, "mend it, or workflow train --force")
    return card

"""What is done, stale or missing, a stage a line, with counts; and which servers run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from workflow import services
from workflow.errors import WorkflowError
from workflow.labelstudio.connection import state_folder
from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.running.runner import Plan, Runner
from workflow.stages import catalog, dataset, evaluate, preannotate, train

PLANS: dict[str, Callable[[Project], Plan]] = {
    "catalog": catalog.plan,
    "preannotate": preannotate.plan,
    "dataset": dataset.plan,
    "train": train.plan,
    "evaluate": evaluate.plan,
}
ORDER = ("catalog", "preannotate", "push", "pull", "dataset", "train", "evaluate")


def describe(project: Project) -> str:
    """A table for the terminal."""
    lines = [f"{project.settings.title} ({project.folder})", ""]
    for stage in ORDER:
        state, detail = _exchange(project, stage) if stage in ("push", "pull") else _planned(project, stage)
        lines.append(f"  {stage:<12} {state:<8} {detail}")
    lines.append("")
    for service in services.status(state_folder(project.workspace)):
        lines.append(f"  {service.name:<12} {service.state:<8} {service.url or ''}".rstrip())
    return "\n".join(lines)


def stage_states(project: Project) -> dict[str, str]:
    """Stage -> done, stale or missing."""
    return {s: (_exchange(project, s) if s in ("push", "pull") else _planned(project, s))[0] for s in ORDER}


def _planned(project: Project, stage: str) -> tuple[str, str]:
    runner = Runner(project.marks)
    mark = runner.last(stage)
    try:
        state = runner.state(PLANS[stage](project))
    except WorkflowError as error:
        return "missing", error.problem
    if mark is None:
        return state, f"workflow {stage}"
    return state, f"{mark['did']} ({mark['finished_at'][:16].replace('T', ' ')} UTC)"


def _exchange(project: Project, stage: str) -> tuple[str, str]:
    """Push and pull speak with a server, so their state is what the files of the last time say."""
    images = {row["id"] for row in read_rows(project.catalog)}
    if stage == "push":
        tasks = {row["image"] for row in read_rows(project.pushed)}
        state = "missing" if not tasks else "done" if images <= tasks else "stale"
        return state, f"{len(images & tasks)} of {len(images)} images in Label Studio"
    states = Counter(row["state"] for row in read_rows(project.labels) if row["image"] in images)
    counts = ", ".join(f"{states[s]} {s}" for s in ("reviewed", "skipped", "predicted", "unlabeled"))
    return ("done", counts) if project.labels.exists() else ("missing", "workflow pull")

"""What is done, stale or missing, a stage a line, with counts; and which servers run."""

from __future__ import annotations

from workflow import services
from workflow.errors import WorkflowError
from workflow.guesses import kept
from workflow.labels.excluded import excluded
from workflow.project.paths import Project
from workflow.running.runner import Runner
from workflow.services import state_folder
from workflow.stages import STAGES, Stage, preannotate


def describe(project: Project) -> str:
    """A table for the terminal."""
    lines = [f"{project.settings.title} ({project.folder})", ""]
    for name, (state, detail) in _states(project).items():
        lines.append(f"  {name:<12} {state:<8} {detail}")
    lines += [f"  {'guesses':<12} {line}" for line in _who(project)]
    if left_out := len(excluded(project)):
        lines.append(f"  {'excluded':<12} {'':<8} {left_out} images are left out ({project.excluded.name})")
    if size := kept.size_of(kept.folder_of(project)):
        what = f"{size / 1e6:.1f} MB of what models said, in {kept.folder_of(project)}"
        lines.append(f"  {'kept':<12} {'':<8} {what}")
    lines.append("")
    for service in services.status(state_folder(project.workspace)):
        lines.append(f"  {service.name:<12} {service.state:<8} {service.url or ''}".rstrip())
    return "\n".join(lines)


def _who(project: Project) -> list[str]:
    try:
        return preannotate.who(project)
    except WorkflowError as error:
        return [str(error)]


def stage_states(project: Project) -> dict[str, str]:
    """Stage -> done, stale or missing."""
    return {name: state for name, (state, _) in _states(project).items()}


def _states(project: Project) -> dict[str, tuple[str, str]]:
    """Stage -> its state, and what to say of it; one after a stage that is not done is stale itself."""
    states: dict[str, tuple[str, str]] = {}
    for name, stage in STAGES.items():
        state, detail = _planned(project, stage) if stage.planned else stage.module.state(project)
        before = next((other for other in stage.after if states[other][0] != "done"), None)
        if state == "done" and before:
            state, detail = "stale", f"{before} is {states[before][0]}; before: {detail}"
        states[name] = (state, detail)
    return states


def _planned(project: Project, stage: Stage) -> tuple[str, str]:
    runner = Runner(project.marks)
    mark = runner.last(stage.name)
    try:
        state = runner.state(stage.module.plan(project))
    except WorkflowError as error:
        return "missing", error.problem
    if mark is None:
        return state, f"workflow {stage.name}"
    return state, f"{mark['did']} ({mark['finished_at'][:16].replace('T', ' ')} UTC)"

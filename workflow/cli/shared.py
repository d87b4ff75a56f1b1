"""What commands share: arguments, the project they work on, and how an outcome is printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from workflow.project.paths import Project
    from workflow.running.runner import Outcome

Name = Annotated[str | None, typer.Argument(metavar="[PROJECT]", help="A folder under projects/, or a path.")]
Force = Annotated[bool, typer.Option("--force", help="Run even where nothing changed.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda:0 or mps.")]
Devices = Annotated[
    str, typer.Option(help="auto, cpu, cuda:0 or mps; several, with commas, share the images.")
]
Service = Annotated[
    list[str] | None, typer.Argument(help="label-studio, mongod, fiftyone-app; all by default.")
]

# Held until the process ends.
locks: list[Any] = []


def open_project(name: str | None, alone: bool = True) -> Project:
    """Load a project; unless it is only looked at, no other command may work on it meanwhile."""
    from workflow.project.paths import find_project, load_project

    project = load_project(find_project(name, Path.cwd()))
    if alone:
        from workflow.running import runner

        locks.append(runner.alone(project.marks, project.name))
    return project


def workspace() -> Path:
    """The nearest folder upwards that holds projects/; else this one."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "projects").is_dir()), here)


def show(outcome: Outcome) -> None:
    what = "unchanged" if outcome.skipped else f"{outcome.seconds:.1f} s"
    print(f"{outcome.stage}: {outcome.did} [{what}]")
    for line in outcome.lines:
        print(f"  {line}")

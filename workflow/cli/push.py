from __future__ import annotations

from typing import Annotated, Literal

import typer

from workflow.cli.shared import Name, open_project, show
from workflow.errors import ConfigError


def push(
    name: Name = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    keep_theirs: Annotated[
        bool, typer.Option("--keep-theirs", help="Leave a labeling interface that was changed there.")
    ] = False,
    ours: Annotated[bool, typer.Option("--ours", help="Put the project's own interface back.")] = False,
) -> None:
    """Push images and predictions to Label Studio; what is there already is left alone.

    Example: workflow push zipcodes --dry-run
    """
    from workflow import wing
    from workflow.stages import push as stage

    whose = _whose(keep_theirs, ours)
    project = open_project(name, alone=not dry_run)
    show(stage.run(project, wing.connect(project), dry_run, whose))


def _whose(keep_theirs: bool, ours: bool) -> Literal["", "theirs", "ours"]:
    if keep_theirs and ours:
        raise ConfigError(["--keep-theirs and --ours contradict each other"], "one of them")
    return "theirs" if keep_theirs else "ours" if ours else ""

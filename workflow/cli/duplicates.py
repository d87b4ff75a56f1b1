from __future__ import annotations

from typing import Annotated, Literal

import typer

from workflow.cli.shared import Name, open_project, show
from workflow.errors import ConfigError


def duplicates(
    name: Name = None,
    drop: Annotated[
        Literal["keep-best"] | None,
        typer.Option(help="Leave all near-copies but the best out of the catalog."),
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Take back all that was left out.")] = False,
) -> None:
    """Draw the images that are near-copies of each other, and say which are labeled differently.

    No file is moved: what --drop leaves out stands in data/set-aside.jsonl, and --restore takes it back.

    Example: workflow duplicates street --drop keep-best
    """
    from workflow.commands import duplicates as command

    if drop and restore:
        raise ConfigError(["--drop and --restore contradict each other"], "one of them")
    project = open_project(name)
    for outcome in command.restore(project) if restore else command.run(project, drop=bool(drop)):
        show(outcome)

from __future__ import annotations

from typing import Annotated, Literal

import typer

from workflow.cli.shared import Name, open_project, show


def app_(
    what: Annotated[Literal["pull"], typer.Argument(metavar="pull", help="Take what was done there.")],
    name: Name = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take it; else it is only shown.")] = False,
) -> None:
    """Take back what people did in the FiftyOne App: tags, and labels edited there.

    Example: workflow app pull street && workflow app pull street --yes
    """
    from workflow import wing
    from workflow.commands import app as stage

    project = open_project(name)
    show(stage.pull(project, lambda: wing.connect(project), yes))

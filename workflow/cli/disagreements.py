from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Name, open_project


def disagreements(
    name: Name = None,
    push: Annotated[bool, typer.Option("--push", help="Bring their tab in Label Studio up to date.")] = False,
) -> None:
    """What people disagree on, as the last pull found it: task, place, who said what.

    Example: workflow disagreements zipcodes --push
    """
    from workflow import wing
    from workflow.commands import disagreements as stage

    project = open_project(name, alone=False)
    print(stage.describe(project))
    if push:
        print(stage.push(project, wing.connect(project)))

from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Name, open_project, show


def review(
    name: Name = None,
    limit: Annotated[int | None, typer.Option(help="Review only so many tasks.")] = None,
) -> None:
    """Let the simulated reviewer correct what waits, by the project's truth file.

    Example: workflow review zipcodes --limit 10
    """
    from workflow import wing
    from workflow.commands import reviewer as stage

    # It works on the server only, as any annotator does, so it may do so while a demo waits for one.
    project = open_project(name, alone=False)
    show(stage.run(project, wing.connect(project), limit))

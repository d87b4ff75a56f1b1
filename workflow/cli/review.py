from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Name, open_project, show


def review(
    name: Name = None,
    limit: Annotated[int | None, typer.Option(help="Review only so many tasks.")] = None,
    ground_truth: Annotated[
        str | None,
        typer.Option(metavar="TASK[:PERSON]", help="Mark a task's last annotation, or a person's, as true."),
    ] = None,
) -> None:
    """Let the simulated reviewer correct what waits, by the project's truth file.

    Example: workflow review zipcodes --limit 10

    With --ground-truth nothing is reviewed: one annotation is marked, and counts under
    `pull.annotators = "ground-truth"`. Example: workflow review zipcodes --ground-truth 12:3
    """
    from workflow import wing
    from workflow.commands import reviewer as stage

    # It works on the server only, as any annotator does, so it may do so while a demo waits for one.
    project = open_project(name, alone=False)
    if ground_truth is not None:
        print(stage.mark_truth(project, wing.connect(project), ground_truth))
        return
    show(stage.run(project, wing.connect(project), limit))

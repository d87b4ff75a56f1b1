from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Name, open_project


def history(
    name: Name = None,
    restore: Annotated[
        int | None, typer.Option(metavar="N", help="Bring labels.jsonl back to what it was after change N.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who changed what on one image: its file, or its id.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Restore what a damaged history still has.")
    ] = False,
) -> None:
    """List every change of the labels, or go back to an earlier state; that is a change too.

    Example: workflow history zipcodes && workflow history zipcodes --restore 3

    Example: workflow history zipcodes --image sender-11-envelope-1.jpg
    """
    from workflow.commands import history as stage

    project = open_project(name, alone=restore is not None)
    if image is not None:
        print(stage.describe_image(project, image))
        return
    print(stage.describe(project) if restore is None else stage.restore(project, restore, partial))

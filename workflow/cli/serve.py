from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Device, Name, open_project


def serve(
    name: Name = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Who guesses whole images; repeated, a chain. By default preannotate.model."),
    ] = None,
    interactive: Annotated[
        str, typer.Option(metavar="SPEC", help="Who draws masks for clicks: sam2, sam or sam:CHECKPOINT.")
    ] = "",
    port: Annotated[int | None, typer.Option(help="By default 9090, or the next free one.")] = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Make the project in Label Studio use it, and pull what comes.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Help people while they label: guesses for new tasks, masks for clicks, a pull after each submission.

    Example: workflow serve zipcodes --connect

    Example: workflow serve street --connect --interactive sam2 --model run:street-1 --device cuda:0
    """
    from workflow import wing
    from workflow.commands import serve as stage

    # It takes the project's lock for each pull only: the other commands work while it serves.
    project = open_project(name, alone=False)
    tool = wing.connect(project) if connect else None
    stage.run(project, stage.Wishes(tuple(model or ()), interactive, port, device), tool)

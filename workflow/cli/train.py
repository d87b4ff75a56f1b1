from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Device, Force, Name, open_project, show


def train(
    name: Name = None,
    device: Device = "auto",
    force: Force = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Draw a sheet of varied training images; train nothing.")
    ] = False,
) -> None:
    """Fine-tune the base model on the dataset; a stopped training goes on where it was.

    Example: workflow train zipcodes --preview && workflow train zipcodes --device cuda:0
    """
    from workflow.stages import train as stage

    project = open_project(name)
    if preview:
        print(f"drawn: {stage.preview(project, device)}")
    else:
        show(stage.run(project, device, force))

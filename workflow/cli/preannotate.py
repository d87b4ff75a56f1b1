from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Devices, Force, Name, open_project, show


def preannotate(
    name: Name = None,
    device: Devices = "auto",
    batch: int = 8,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images; by default one a core.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network on CUDA: a minute, then quicker.")
    ] = False,
    force: Force = False,
) -> None:
    """Let a model guess labels for every image.

    Example: workflow preannotate zipcodes --device cuda:0
    """
    from workflow.stages import preannotate as stage

    show(stage.run(open_project(name), device, batch, force, workers, compiled))

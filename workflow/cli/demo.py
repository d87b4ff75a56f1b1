from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Device, Name, open_project


def demo(
    name: Name = "zipcodes",
    reviewer: Annotated[
        str, typer.Option(help="simulated, or me: stop and wait for a person.")
    ] = "simulated",
    device: Device = "auto",
    trust: Annotated[
        bool, typer.Option("--trust", help="Let the project's own script draw the images (demo.images).")
    ] = False,
) -> None:
    """Run the whole loop, from raw images to a fine-tuned, evaluated model.

    Example: workflow demo zipcodes --reviewer me
    """
    from workflow.commands import demo as stage

    stage.run(open_project(name), reviewer, device, trust)

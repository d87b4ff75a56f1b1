from __future__ import annotations

from workflow.cli.shared import Device, Force, Name, open_project, show


def preannotate(name: Name = None, device: Device = "auto", batch: int = 8, force: Force = False) -> None:
    """Let a model guess labels for every image.

    Example: workflow preannotate zipcodes --device cuda:0
    """
    from workflow.stages import preannotate as stage

    show(stage.run(open_project(name), device, batch, force))

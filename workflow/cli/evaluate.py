from __future__ import annotations

from workflow.cli.shared import Device, Force, Name, open_project, show


def evaluate(name: Name = None, device: Device = "auto", force: Force = False) -> None:
    """Compare base and tuned model on the test split: numbers, report.html, FiftyOne.

    Example: workflow evaluate zipcodes
    """
    from workflow.stages import evaluate as stage

    project = open_project(name)
    show(stage.run(project, device, force))
    show(stage.publish(project))

from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Devices, Force, Name, open_project, show


def evaluate(
    name: Name = None,
    device: Devices = "auto",
    force: Force = False,
    models: Annotated[
        str,
        typer.Option(help="Rank these, with commas between: run:NAME, yolo11n.pt, a file of predictions/."),
    ] = "",
    split: Annotated[str, typer.Option(help="With --models: of which labeled images.")] = "test",
) -> None:
    """Compare base and tuned model on the test split: numbers, report.html, FiftyOne.

    Example: workflow evaluate zipcodes
    With --models any models are ranked on labeled images, each with its interval; no run is needed.

    Example: workflow evaluate street --models run:street-2,yolo11n.pt,import-coco-other
    """
    project = open_project(name)
    from workflow.stages import evaluate as stage

    if models:
        from workflow.commands import candidates

        names = [part.strip() for part in models.split(",") if part.strip()]
        print(candidates.describe(project, candidates.run(project, names, split, device), split))
        if split == project.settings.evaluate.split:
            show(stage.publish(project))
        return
    show(stage.run(project, device, force))
    show(stage.publish(project))

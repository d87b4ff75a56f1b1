from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from workflow.cli.shared import Name, open_project, show


def export(
    format: Annotated[
        str, typer.Argument(help="coco, csv, cvat, folder, label-studio, labelme, masks, voc or yolo.")
    ],
    target: Annotated[Path, typer.Argument(help="The file or folder to write.")],
    name: Name = None,
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option(help="Only images of that split.")
    ] = None,
    predictions: Annotated[
        str | None, typer.Option(metavar="ANNOTATOR", help="A file of data/predictions, not the labels.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Export reviewed labels, or predictions, as another tool reads them.

    Example: workflow export yolo out zipcodes --split train
    """
    from workflow.commands import export as stage

    outcome, lines = stage.run(open_project(name), format, target, split, predictions, force)
    show(outcome)
    for line in lines:
        print(f"  not carried: {line}")

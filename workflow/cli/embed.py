from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Device, Name, open_project, show


def embed(
    name: Name = None,
    model: Annotated[
        str, typer.Option(help="Whose backbone: efficientnet-lite0, a classifier, siglip2.")
    ] = "efficientnet-lite0",
    device: Device = "auto",
    batch: int = 8,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images; by default one a core.")
    ] = None,
) -> None:
    """Keep what a network sees in each image, as one vector: for maps and likeness in the App.

    Example: workflow embed zipcodes
    Then workflow evaluate shows them: a map, similar images, uniqueness, near-duplicates.
    """
    from workflow.commands import embed as command

    show(command.embed(open_project(name), model, device, batch, workers))

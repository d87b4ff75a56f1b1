from __future__ import annotations

from typing import Annotated, Literal

import typer

from workflow.cli.shared import Devices, Force, Name, open_project, show
from workflow.errors import ConfigError


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
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Here, or by actors of Ray: one a GPU, on many machines.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; without it, one of its own on this machine.")
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="With Ray: how many; one a GPU, or one for four cores.")
    ] = None,
    force: Force = False,
) -> None:
    """Let a model guess labels for every image.

    Example: workflow preannotate zipcodes --device cuda:0
    """
    from workflow.stages import preannotate as stage

    if engine == "local" and (address or actors):
        raise ConfigError(["--address and --actors are of Ray"], "add --engine ray")
    cluster = stage.Cluster(address, actors) if engine == "ray" else None
    show(stage.run(open_project(name), device, batch, force, workers, compiled, cluster))

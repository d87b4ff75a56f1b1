from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import open_project


def exclude(
    name: Annotated[str, typer.Argument(metavar="PROJECT", help="A folder under projects/, or a path.")],
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[IMAGE]...", help="Paths or ids; none: list what is.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever looks later.")] = "",
    back: Annotated[bool, typer.Option("--back", help="Take them back in.")] = False,
    by: Annotated[str, typer.Option(hidden=True)] = "by hand",
) -> None:
    """Leave images out of the dataset and every figure from now on, or list them; their labels are kept.

    Example: workflow exclude street IMG_0042.jpg --reason "the lens was covered"
    """
    from workflow.commands import exclude as stage

    project = open_project(name, alone=bool(images))
    print(stage.run(project, images, reason, back, by) if images else stage.describe(project))

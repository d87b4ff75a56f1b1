from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Device, Name, open_project, show
from workflow.errors import ConfigError


def promote(
    name: Name = None,
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run; by default today's.")] = "",
    back: Annotated[
        bool, typer.Option("--back", help="Make the one before the pre-annotator again.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where it is worse or costs people more; written down.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Make a run the next pre-annotator if it is not worse than today's and costs people no more.

    Both are asked of the test images. Where it is worse, or would cost people more, that is said in figures,
    nothing changes, and the exit code is 1. Followed by preannotate.model = "promoted".

    Example: workflow promote street street-1a2b3c4d
    """
    from workflow.commands import promote as command

    if back and (run or force):
        raise ConfigError(["--back goes to the one before, and takes neither a run nor --force"], "--back")
    project = open_project(name)
    show(command.back(project) if back else command.run(project, run, force, device))

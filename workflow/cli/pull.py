from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Name, open_project, show


def pull(
    name: Name = None,
    full: Annotated[bool, typer.Option("--full", help="Sweep everything, not only what changed.")] = False,
    drop_deleted: Annotated[
        bool, typer.Option("--drop-deleted", help="Forget labels whose tasks were deleted; sweeps too.")
    ] = False,
) -> None:
    """Pull the corrected labels back, and keep the ledger of what people did.

    Example: workflow pull zipcodes --full
    """
    from workflow import wing
    from workflow.stages import pull as stage

    project = open_project(name)
    show(stage.run(project, wing.connect(project), full, drop_deleted))

from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Service, workspace


def up(
    names: Service = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Let a newer Label Studio change the database; keeps a copy.")
    ] = False,
) -> None:
    """Start the local servers: Label Studio, mongod, the FiftyOne App.

    Example: workflow up label-studio
    """
    from workflow import services

    state = services.state_folder(workspace())
    services.up(state, names or services.SERVICES, print, services.served_root(state), upgrade)

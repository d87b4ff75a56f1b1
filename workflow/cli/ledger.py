from __future__ import annotations

from typing import Annotated

import typer

from workflow.cli.shared import Name, open_project


def ledger(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """What people did to the guesses: shares, precision, recall, time saved, and thresholds to set.

    Example: workflow ledger zipcodes --json
    """
    from workflow.commands import ledger as stage

    project = open_project(name, alone=False)
    account = stage.run(project)
    print(stage.as_json(project, account) if as_json else stage.describe(project, account))

from __future__ import annotations

from workflow.cli.shared import Name, open_project


def status(name: Name = None) -> None:
    """What is done, stale or missing, a stage a line, and which servers run.

    Example: workflow status zipcodes
    """
    from workflow.commands import status as stage

    print(stage.describe(open_project(name, alone=False)))

from __future__ import annotations

import typer

from workflow.cli.shared import Name, open_project, workspace
from workflow.errors import ConfigError


def doctor(name: Name = None) -> None:
    """Check this machine: Python, torch, disk, ports, servers, weights; each problem with its remedy.

    Example: workflow doctor
    """
    from workflow.commands import doctor as stage

    try:
        project = open_project(name, alone=False)
    except ConfigError:
        project = None
    lines, healthy = stage.run(workspace(), project)
    print("\n".join(lines))
    raise typer.Exit(0 if healthy else 1)

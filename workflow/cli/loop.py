from __future__ import annotations

from workflow.cli.shared import Device, Name, open_project, show


def loop(name: Name = None, device: Device = "auto") -> None:
    """One round: catalog, pull, dataset, train, evaluate, promote if better, preannotate, push.

    Killed anywhere and run again it goes on where it was.

    Example: workflow loop street
    """
    from workflow import wing
    from workflow.commands import loop as command

    project = open_project(name)
    for outcome in command.run(project, wing.connect(project), device):
        show(outcome)

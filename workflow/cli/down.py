from __future__ import annotations

from workflow.cli.shared import Service, workspace


def down(names: Service = None) -> None:
    """Stop the local servers.

    Example: workflow down
    """
    from workflow import services

    services.down(services.state_folder(workspace()), names or services.SERVICES, print)

from __future__ import annotations

from workflow.cli.shared import Force, Name, open_project, show


def catalog(name: Name = None, workers: int | None = None, force: Force = False) -> None:
    """Catalog the raw images: hash, upright size, duplicates, quarantine, split.

    Example: workflow catalog zipcodes
    """
    from workflow.stages import catalog as stage

    project = open_project(name)
    show(stage.run(project, workers, force))
    for line in stage.copied(project):
        print(f"  {line}")
    for row in stage.quarantined(project):
        print(f"  quarantined {row['path']}: {row['reason']}")

from __future__ import annotations

from workflow.cli.shared import Force, Name, open_project, show


def dataset(name: Name = None, force: Force = False) -> None:
    """Build the Hugging Face dataset from the labels.

    Example: workflow dataset zipcodes
    """
    from workflow.stages import dataset as stage

    show(stage.run(open_project(name), force))

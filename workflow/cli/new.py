from __future__ import annotations

from pathlib import Path


def new(name: str) -> None:
    """Make a project from the template.

    Example: workflow new street
    """
    from workflow.commands import new as stage

    folder = stage.run(Path.cwd(), name)
    print(f"made {folder}: put images into data/images, edit project.toml, then: make catalog P={name}")

"""Which project on which server is ours, as `data/label-studio.json` keeps it."""

from __future__ import annotations

from pathlib import Path

from workflow.project.paths import Project
from workflow.project.rows import read_json, write_json
from workflow.records import Json


def remote_path(project: Project) -> Path:
    return project.data / "label-studio.json"


def remote(project: Project) -> Json:
    """Where our project is: url, key and, once it exists, its number `project`."""
    return read_json(remote_path(project), {})


def remember(project: Project, **values: object) -> None:
    """Write down more of it, where it says something else yet."""
    known = remote(project)
    if known != known | values:
        write_json(remote_path(project), known | values)

"""Make a project folder from the template."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from workflow.errors import ConfigError


def run(workspace: Path, name: str) -> Path:
    """Create projects/NAME. ConfigError for an impossible name, or one that is taken."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,39}", name):
        raise ConfigError(
            [f"{name!r}: a project's name is 2 to 40 of a-z, 0-9 and -"], "workflow new my-project"
        )
    folder = workspace / "projects" / name
    if folder.exists():
        raise ConfigError([f"{folder} exists already"], "choose another name")
    template = files("workflow").joinpath("templates/project.toml").read_text()
    (folder / "data" / "images").mkdir(parents=True)
    title = name.replace("-", " ").capitalize().ljust(3, ".")
    (folder / "project.toml").write_text(template.format(name=name, title=title))
    return folder

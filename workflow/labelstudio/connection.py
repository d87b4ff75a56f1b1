"""From a project to its Label Studio: which server, with which key, serving which folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from workflow import services
from workflow.errors import ConfigError
from workflow.labelstudio.client import Client
from workflow.project.paths import Project


def state_folder(workspace: Path) -> Path:
    """Where the local servers keep their data: WORKFLOW_STATE, else .workflow in the workspace."""
    named = os.environ.get("WORKFLOW_STATE")
    return Path(named).expanduser().resolve() if named else workspace / ".workflow"


def served_root(state: Path) -> Path:
    """The only folder Label Studio serves files from: it holds a link to each project's images."""
    return state / "served"


def connect(project: Project) -> tuple[Client, str | None]:
    """A checked client, and the image folder as the server sees it (None where image_url is set).

    ServiceError where no server is known, LabelStudioError where it does not answer or refuses the
    key, ConfigError where a team's server could not reach the images.
    """
    access = services.label_studio_access(state_folder(project.workspace))
    client = Client(access.url, access.api_key)
    if project.settings.push.image_url is not None:
        return client, None
    if not access.managed:
        what = f"{access.url} cannot see this machine's images"
        raise ConfigError([what], "set push.image_url to where it finds them: https://images.example/{path}")
    return client, str(serve(project))


def serve(project: Project) -> Path:
    """Link a project's image folder into the served folder, and nothing else of it."""
    link = served_root(state_folder(project.workspace)) / project.name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink() and link.resolve() == project.images:
        return link
    partial = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    partial.symlink_to(project.images)
    partial.replace(link)
    return link

"""The tool in which people review: the one place that says which it is. It is Label Studio."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from workflow.project.paths import Project
from workflow.review import Help, ReviewTool


def connect(project: Project) -> ReviewTool:
    """A checked connection to the project's server.

    ServiceError where none is known, LabelStudioError where it does not answer or refuses the key,
    ConfigError where it could not reach the images.
    """
    from workflow.labelstudio.connection import connect
    from workflow.labelstudio.tool import LabelStudio

    return LabelStudio(*connect(project))


def user(state: Path) -> str:
    """Who we are at the server that the state folder or the environment names; errors as of `connect`."""
    from workflow.labelstudio.connection import sign_in

    client = sign_in(state)
    return f"{client.url} as {client.user.get('email', 'a user')}"


def categories(project: Project) -> Mapping[str, int]:
    """The numbers that the project's labeling interface gives its labels, as in a COCO file."""
    from workflow.labelstudio.project_interface import interface_of

    return interface_of(project).categories


def helping(project: Project, help: Help, port: int | None) -> AbstractContextManager[str]:
    """Live help that no server was told of: its address, for who connects it by hand."""
    from workflow.labelstudio.live.serving import serving

    return serving(project, help, port)


def password_path(state: Path) -> tuple[str, Path]:
    """The user whom live help lets in, and the file with the password."""
    from workflow.labelstudio.live.credentials import credentials, credentials_path

    return credentials(state).user, credentials_path(state)

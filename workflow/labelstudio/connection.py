"""From a project to its Label Studio: which server, with which key, serving which folder."""

from __future__ import annotations

from pathlib import Path

from workflow import services
from workflow.errors import ConfigError
from workflow.labelstudio.client import Client
from workflow.labelstudio.push.addresses import copies_of
from workflow.project.paths import Project
from workflow.project.remote import Remote
from workflow.services.files import link


def sign_in(state: Path) -> Client:
    """A checked client of the server that the state folder or the environment names.

    ServiceError where none is known, LabelStudioError where it does not answer or refuses the key.
    """
    access = services.label_studio_access(state)
    return Client(access.url, access.api_key)


def connect(project: Project) -> tuple[Client, str | None]:
    """A checked client, and the image folder as the server sees it (None where image_url is set).

    Errors as of `sign_in`, and ConfigError where a team's server could not reach the images.
    """
    state = services.state_folder(project.workspace)
    client = sign_in(state)
    if project.settings.push.image_url is not None:
        return client, None
    if isinstance(project.image_root, Remote):
        what = f"the images are at {project.image_root}, and nothing says where {client.url} finds them"
        raise ConfigError([what], f'set push.image_url, "{project.image_root}/{{path}}" say')
    if not services.label_studio_access(state).managed:
        what = f"{client.url} cannot see this machine's images"
        raise ConfigError([what], "set push.image_url to where it finds them: https://images.example/{path}")
    return client, str(serve(project))


def serve(project: Project) -> Path:
    """Link a project's image folder into the served folder, and its copies of images; nothing else of it."""
    root = services.served_root(services.state_folder(project.workspace))
    if project.copies.exists():
        link(root / copies_of(project.name), project.copies)
    return link(root / project.name, project.images)

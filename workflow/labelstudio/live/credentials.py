"""What Label Studio must say to be let in: made up once, kept where only its owner can read it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workflow.errors import ServiceError
from workflow.services.files import make_private, write_private


@dataclass(frozen=True)
class BackendAccess:
    """User and password of basic auth, and the secret that webhooks carry; printing it shows neither.

    The secret opens nothing but the webhook: Label Studio shows the headers of a webhook to whoever may
    change the project, and never shows a backend's password.
    """

    user: str
    password: str = field(repr=False)
    secret: str = field(repr=False)


def credentials_path(state: Path) -> Path:
    return state / "backend.json"


def credentials(state: Path) -> BackendAccess:
    """Those of the state folder, made up if there are none yet. ServiceError where they cannot be read."""
    path = credentials_path(state)
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return BackendAccess(**json.loads(path.read_text()))
    except FileNotFoundError:
        made = BackendAccess("workflow", secrets.token_urlsafe(24), secrets.token_urlsafe(24))
        make_private(state)
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return made
    # No cause is chained: a parser's message may quote what it read.
    except (OSError, ValueError, TypeError):
        what = f"{path} cannot be read as the backend's credentials"
        raise ServiceError(what, fix=f"rm {path}, then workflow serve again") from None

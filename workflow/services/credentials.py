"""The account of our own Label Studio: made up once, kept where only its owner can read it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from workflow.errors import ServiceError
from workflow.services.files import write_private

EMAIL = "workflow@localhost.local"


@dataclass(frozen=True)
class Credentials:
    """An account; printing it shows no secret."""

    email: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)


def credentials_path(state: Path) -> Path:
    return state / "credentials.json"


def read_credentials(state: Path) -> Credentials | None:
    """The stored account, None if there is none yet."""
    path = credentials_path(state)
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        stored = json.loads(path.read_text())
        values = {key: stored[key] for key in ("email", "password", "api_key")}
    except FileNotFoundError:
        return None
    # No cause is chained: a parser's message may quote what it read.
    except (OSError, ValueError, KeyError, TypeError):
        raise ServiceError(
            f"{path} cannot be read as the Label Studio account",
            fix=f"mv {path} {path}.broken, then make up: the labels stay, the account gets a new password",
        ) from None
    if not all(isinstance(value, str) and value for value in values.values()):
        raise ServiceError(
            f"{path} lacks a part of the Label Studio account",
            fix=f"mv {path} {path}.broken, then make up: the labels stay, the account gets a new password",
        )
    return Credentials(**values)


def create_credentials(state: Path) -> Credentials:
    made = Credentials(EMAIL, secrets.token_urlsafe(24), secrets.token_hex(20))
    write_private(credentials_path(state), json.dumps(asdict(made), indent=2) + "\n")
    return made


def redact(state: Path, text: str) -> str:
    """Text from a log, without this account's secrets."""
    try:
        stored = read_credentials(state)
    except ServiceError:
        return text
    for secret in (stored.password, stored.api_key) if stored else ():
        text = text.replace(secret, "***")
    return text

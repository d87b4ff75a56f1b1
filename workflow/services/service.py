"""What the three servers have in common, so that starting and stopping is written once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LABEL_STUDIO = "label-studio"
MONGOD = "mongod"
FIFTYONE_APP = "fiftyone-app"
Report = Callable[[str], None]
SERVICES = (LABEL_STUDIO, MONGOD, FIFTYONE_APP)

# A server gets these from the caller's environment and nothing else. Label Studio also reads bare
# names such as HOST, PORT, DEBUG and DATABASE_NAME, and a LABEL_STUDIO_BASE_DATA_DIR set for a
# server of the user's own would open that one's data.
_INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH"),
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ"),
)


@dataclass(frozen=True)
class Launch:
    """What one `up` knows: `ports` holds each service's port, chosen or found.

    `upgrade` lets the Label Studio installed change an older one's database, of which a copy is kept;
    `warn` is told what of people's data had to be changed or moved.
    """

    state: Path
    document_root: Path
    ports: Mapping[str, int]
    upgrade: bool = False
    warn: Report = print


@dataclass(frozen=True)
class Service:
    """One server. `external` answers the address of a server of the user's own, which replaces ours.

    `watched` names the environment variables which, if they differ, mean that a running server is
    not the one wanted. `healthy` takes the state folder and the port.
    `prepare` makes ready what the server finds, once no server of ours runs.
    """

    name: str
    scheme: str
    preferred_port: int
    patience: float
    command: Callable[[Launch], list[str]]
    environment: Callable[[Launch], dict[str, str]]
    healthy: Callable[[Path, int], bool]
    external: Callable[[], str | None]
    external_healthy: Callable[[], bool]
    prepare: Callable[[Launch], None] = lambda launch: None
    watched: tuple[str, ...] = ()

    def url(self, port: int) -> str:
        return f"{self.scheme}://127.0.0.1:{port}"


def base_environment() -> dict[str, str]:
    """The variables every server inherits."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}

"""The FiftyOne App: its bare server, one process where `fiftyone app launch` takes three."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from workflow.errors import ServiceError
from workflow.services.database import app_uri, environment_for, package_folders
from workflow.services.files import link, make_private
from workflow.services.network import get
from workflow.services.service import FIFTYONE_APP, Launch, Service, base_environment

# Images large enough to read what stands on them; the App's own default is 7 of 10.
_ZOOM = {"FIFTYONE_APP_GRID_ZOOM": "10"}
# By default a server remembers each dataset it has shown, and goes on showing what was replaced.
_FRESH = {"FIFTYONE_SINGLETON_CACHE": "false"}
_SERVER = Path(__file__).parent / "fiftyone_app_guard" / "server.py"
# What its page may load and ask: this server, and what the page itself makes.
_POLICY = {"WORKFLOW_APP_POLICY": "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:"}
# What the buttons of our plugin need besides the state folder, where people review on a server of their own.
_NEEDED = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY")
_PLUGIN = Path(__file__).resolve().parents[1] / "shown" / "plugin"


def _command(launch: Launch) -> list[str]:
    if package_folders("fiftyone"):
        where = ["--port", str(launch.ports[FIFTYONE_APP]), "--address", "127.0.0.1"]
        return [sys.executable, str(_SERVER), *where]
    raise ServiceError("FiftyOne is not installed", fix="make setup")


def _environment(launch: Launch) -> dict[str, str]:
    settings = environment_for(launch.state, app_uri(launch))
    needed = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    needed["WORKFLOW_STATE"] = str(launch.state)
    ours = {**needed, **_FRESH, **_ZOOM, **_POLICY}
    return {**base_environment(), **settings, **ours, "PYTHONUNBUFFERED": "1"}


def _healthy(state: Path, port: int) -> bool:
    status, body = get(f"{SERVICE.url(port)}/fiftyone")
    try:
        return status == 200 and "version" in json.loads(body)
    except (ValueError, TypeError):
        return False


def _prepare(launch: Launch) -> None:
    make_private(launch.state / "fiftyone")
    plugins = launch.state / "fiftyone" / "plugins"
    plugins.mkdir(exist_ok=True)
    link(plugins / "workflow", _PLUGIN)


SERVICE = Service(
    name=FIFTYONE_APP,
    scheme="http",
    preferred_port=5151,
    patience=180.0,
    command=_command,
    environment=_environment,
    healthy=_healthy,
    external=lambda: None,
    external_healthy=lambda: False,
    prepare=_prepare,
    # After mongod has moved, an App that still asks at the old place must be replaced.
    watched=(
        *("FIFTYONE_DATABASE_URI", "FIFTYONE_DATABASE_NAME", "WORKFLOW_STATE"),
        *(*_NEEDED, *_FRESH, *_ZOOM, *_POLICY),
    ),
)

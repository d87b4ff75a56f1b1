"""Label Studio: how ours is started, and which one a stage should talk to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from workflow.errors import ServiceError
from workflow.services import label_studio_database as database
from workflow.services.credentials import EMAIL, create_credentials, credentials_path, read_credentials
from workflow.services.files import make_private
from workflow.services.network import get
from workflow.services.processes import find, listening_port
from workflow.services.service import LABEL_STUDIO, Launch, Service, base_environment

_OFF = {
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "False",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "False",
    # Other users of this computer reach the port too; they must not be able to make an account.
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
}
_GUARD = Path(__file__).parent / "label_studio_guard"
_ROOT_VARIABLE = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"
# Label Studio calls no reserved address (core/utils/io.py has the list), so neither the backend of
# `workflow serve` nor its webhook. ML_BLOCK_LOCAL_IP and SSRF_PROTECTION_ENABLED would lift the ban for
# all of them; naming the list anew lifts it for 127.0.0.1 alone. What remains is that whoever has the
# account may make it ask other servers of this computer.
_BANNED = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
    *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "::ffff:0:0/96"),
    *("::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:20::/28"),
    *("2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
    *map(str, IPv4Network("127.0.0.0/8").address_exclude(IPv4Network("127.0.0.1/32"))),
)
_BANNED_VARIABLE = "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS"
_ON = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
    # Without it a prediction for an unknown label is accepted and later submitted as a person's.
    "fflag_feat_utc_210_prediction_validation_15082025": "true",
    "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "false",
    _BANNED_VARIABLE: ",".join(_BANNED),
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class LabelStudioAccess:
    """Where Label Studio is and how to get in. `managed` tells ours from one of the user's own."""

    url: str
    api_key: str = field(repr=False)
    email: str = ""
    password: str = field(default="", repr=False)
    managed: bool = True


def label_studio_access(state: Path) -> LabelStudioAccess:
    """The user's own server if LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are set, else ours."""
    if own := _own_access():
        return own
    state = state.resolve()
    stored = read_credentials(state)
    port = listening_port(LABEL_STUDIO, find(state).get(LABEL_STUDIO, []))
    if stored is None or port is None:
        raise ServiceError("Label Studio is not running", fix="make up")
    return LabelStudioAccess(SERVICE.url(port), stored.api_key, stored.email, stored.password)


def _own_access() -> LabelStudioAccess | None:
    url, key = (os.environ.get(name, "").strip() for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"))
    if not url and not key:
        return None
    if not url or not key:
        have, lack = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY")[:: 1 if url else -1]
        raise ServiceError(f"{have} is set, but {lack} is not", fix=f"export {lack}=..., or unset {have}")
    if not url.startswith(("http://", "https://")):
        raise ServiceError("LABEL_STUDIO_URL does not begin with http:// or https://", fix="export it again")
    return LabelStudioAccess(url.rstrip("/"), key, managed=False)


def _own_url() -> str | None:
    own = _own_access()
    return own.url if own else None


def _own_healthy() -> bool:
    own = _own_access()
    return own is not None and get(f"{own.url}/health")[0] == 200


def _executable(state: Path) -> str:
    named = os.environ.get("LABEL_STUDIO_BIN")
    if named:
        if os.access(named, os.X_OK) and Path(named).is_file():
            return str(Path(named).absolute())
        raise ServiceError(f"LABEL_STUDIO_BIN names no program: {named}", fix="unset LABEL_STUDIO_BIN")
    ours = state.parent / ".venv-label-studio" / "bin" / "label-studio"
    program = str(ours) if os.access(ours, os.X_OK) else shutil.which("label-studio")
    if not program:
        raise ServiceError("Label Studio is not installed", fix="make setup")
    return program


def _data_folder(state: Path) -> Path:
    return state / "label-studio"


def _command(launch: Launch) -> list[str]:
    # --host would only change the addresses it prints; --internal-host is what it binds.
    return [
        _executable(launch.state),
        *("start", "--no-browser", "--internal-host", "127.0.0.1"),
        *("-p", str(launch.ports[LABEL_STUDIO]), "--data-dir", str(_data_folder(launch.state))),
    ]


def _environment(launch: Launch) -> dict[str, str]:
    stored = read_credentials(launch.state)
    if stored is None:
        raise ServiceError(
            f"{credentials_path(launch.state)} is gone", fix="restore it, or make down, then make up"
        )
    return {
        **base_environment(),
        **_OFF,
        **_ON,
        # What is there is imported first, and keeps links from leading out of a served folder.
        "PYTHONPATH": str(_GUARD),
        "LABEL_STUDIO_BASE_DATA_DIR": str(_data_folder(launch.state)),
        _ROOT_VARIABLE: str(launch.document_root),
        "LABEL_STUDIO_USERNAME": stored.email,
        "LABEL_STUDIO_PASSWORD": stored.password,
        "LABEL_STUDIO_USER_TOKEN": stored.api_key,
    }


def _healthy(state: Path, port: int) -> bool:
    """Up, and it takes our token; a server that refuses it will not change its mind."""
    base = SERVICE.url(port)
    status, body = get(f"{base}/health")
    try:
        if status != 200 or json.loads(body).get("status") != "UP":
            return False
    except (ValueError, AttributeError):
        return False
    stored = read_credentials(state)
    if stored is None:
        raise _refused(state)
    token = {"Authorization": f"Token {stored.api_key}"}
    status, _ = get(f"{base}/api/current-user/whoami", token, timeout=30)
    if status == 401:
        raise _refused(state)
    return status == 200


def _prepare(launch: Launch) -> None:
    """Have an account, and a database that lets it in or none. Called while no server of ours runs."""
    state = launch.state
    database_file = make_private(_data_folder(state)) / "label_studio.sqlite3"
    stored = read_credentials(state)
    content = database.read(database_file) if database_file.exists() else None
    if content is None or not content.tables:
        if stored is None:
            create_credentials(state)
        return
    if "django_migrations" in content.tables and database.is_unused(content):
        moved = database.set_aside(database_file)
        launch.warn(
            f"{LABEL_STUDIO}: its first start was cut short, nothing was labelled; moved aside to {moved}"
        )
        if stored is None:
            create_credentials(state)
        return
    knows = database.installed(Path(_executable(state)))
    database.check(database_file, content, knows, launch.upgrade)
    if stored and stored.email not in content.emails and stored.api_key in content.tokens.values():
        # Its owner has given our account another address.
        return
    email = stored.email if stored else EMAIL
    if email not in content.emails:
        raise _strange(state, content.emails)
    if launch.upgrade and knows and knows.migrations - content.migrations:
        launch.warn(f"{LABEL_STUDIO}: a copy of the older database is {database.copy(database_file)}")
    account = stored or create_credentials(state)
    for change in database.let_in(database_file, account, with_password=stored is None):
        launch.warn(f"{LABEL_STUDIO}: {account.email}: {change}")


def _strange(state: Path, emails: Collection[str]) -> ServiceError:
    return ServiceError(
        f"the Label Studio data in {_data_folder(state)} has no account of {credentials_path(state)}, "
        f"only {', '.join(sorted(emails))}; it is left as it is",
        fix="put back the credentials.json that belongs to it, or start that Label Studio yourself and "
        "export LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY",
    )


def _refused(state: Path) -> ServiceError:
    return ServiceError(
        f"Label Studio does not take the token of {credentials_path(state)}", fix="make up, which renews it"
    )


SERVICE = Service(
    name=LABEL_STUDIO,
    scheme="http",
    preferred_port=8080,
    patience=300.0,
    command=_command,
    environment=_environment,
    healthy=_healthy,
    external=_own_url,
    external_healthy=_own_healthy,
    prepare=_prepare,
    watched=(_ROOT_VARIABLE, _BANNED_VARIABLE, "PYTHONPATH"),
)

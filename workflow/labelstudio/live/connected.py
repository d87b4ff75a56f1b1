"""Make a Label Studio project know of the backend, and forget it: each any number of times."""

from __future__ import annotations

from typing import Any

from workflow.errors import LabelStudioError
from workflow.labelstudio.client import Client
from workflow.labelstudio.live.credentials import BackendAccess
from workflow.labelstudio.live.guard import SECRET
from workflow.records import Json

# By which ours is told from other backends of the project.
TITLE = "workflow serve"
ACTIONS = ["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"]


def connect(client: Client, number: int, url: str, credentials: BackendAccess, interactive: bool) -> None:
    """Register the backend that answers at `url`, and a webhook that says when annotations change.

    LabelStudioError where the server may not call this address, or gets no answer there.
    """
    before = (client.project(number) or {}).get("model_version") or ""
    try:
        # Before the backend: Label Studio gives one a webhook without a secret, unless there is one.
        _connect_webhook(client, number, f"{url}/webhook", credentials)
        _connect_backend(client, number, url, credentials, interactive)
    except LabelStudioError as error:
        if "HTTP 403" in error.problem:
            what = f"{client.url} may not call {url}"
            raise LabelStudioError(what, "see Live help in docs/label-studio.md") from None
        raise
    # It makes a new backend's title the version to show, and the label stream would open blank.
    after = (client.project(number) or {}).get("model_version") or ""
    if after != before and after == TITLE:
        client.patch(f"api/projects/{number}/", {"model_version": before})


def disconnect(client: Client, number: int) -> None:
    """Remove our backend and webhook: with a dead one the editor would offer tools that do nothing."""
    for backend in _backends(client, number):
        client.delete(f"api/ml/{backend['id']}")
    for webhook in _webhooks(client, number):
        client.delete(f"api/webhooks/{webhook['id']}/")


def _connect_backend(
    client: Client, number: int, url: str, credentials: BackendAccess, interactive: bool
) -> None:
    body = {
        "project": number,
        "url": url,
        "title": TITLE,
        "is_interactive": interactive,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": credentials.user,
        "basic_auth_pass": credentials.password,
    }
    ours = _backends(client, number)
    for double in ours[1:]:
        client.delete(f"api/ml/{double['id']}")
    if ours:
        client.patch(f"api/ml/{ours[0]['id']}", body)
    else:
        client.post("api/ml/", body)


def _connect_webhook(client: Client, number: int, url: str, credentials: BackendAccess) -> None:
    body = {
        "project": number,
        "url": url,
        "headers": {SECRET: credentials.secret},
        # It is a hint: what changed is looked up.
        "send_payload": False,
        "send_for_all_actions": False,
        "actions": ACTIONS,
        "is_active": True,
    }
    same: list[Json] = []
    for webhook in _webhooks(client, number, url):
        if not same and all(_plain(webhook.get(key)) == _plain(value) for key, value in body.items()):
            same.append(webhook)
        else:
            client.delete(f"api/webhooks/{webhook['id']}/")
    if not same:
        client.post("api/webhooks/", body)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _backends(client: Client, number: int) -> list[Json]:
    return [b for b in client.get("api/ml/", project=number) or [] if b["title"] == TITLE]


def _webhooks(client: Client, number: int, url: str = "") -> list[Json]:
    """Those with our secret, of whichever port we had, and what calls `url` without one."""
    webhooks = client.get("api/webhooks/", project=number) or []
    return [w for w in webhooks if SECRET in (w["headers"] or {}) or w["url"] == url]

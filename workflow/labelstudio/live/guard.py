"""Who may ask, and how much at once: seen to before a byte of a request's body is read."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

from workflow.labelstudio.live.credentials import BackendAccess

# Label Studio sends the tasks of a batch in one request, and with a click all masks of its task.
LARGEST_BODY = 64_000_000
SECRET = "x-workflow-secret"
ASK = ("www-authenticate", 'Basic realm="workflow"')

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Guard:
    """An ASGI application before another: basic auth everywhere but at /health, no body over the limit.

    The webhook is opened by its secret too, since Label Studio's webhooks carry no basic auth of their own.
    """

    def __init__(self, app: Any, credentials: BackendAccess, largest_body: int = LARGEST_BODY) -> None:
        self.app, self.credentials, self.largest_body = app, credentials, largest_body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] != "/health" and not self._may(scope["path"], headers):
            await _refuse(send, 401, "user or password is wrong", ASK)
            return
        try:
            announced = int(headers.get("content-length", 0))
        except ValueError:
            announced = 0
        if announced > self.largest_body:
            await _refuse(send, 413, f"more than {self.largest_body} bytes in one request")
            return
        await self.app(scope, self._counted(receive), send)

    def _may(self, path: str, headers: dict[str, str]) -> bool:
        known = self.credentials
        if path == "/webhook" and _same(headers.get(SECRET, ""), known.secret):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        try:
            word = base64.b64decode(given, validate=True).decode()
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and _same(word, f"{known.user}:{known.password}")

    def _counted(self, receive: Receive) -> Receive:
        """The body, cut off once it is longer than allowed, whatever its sender announced."""
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return message if seen <= self.largest_body else {"type": "http.disconnect"}

        return counted


def _same(word: str, known: str) -> bool:
    # In a time that does not tell how much of it was right.
    return hmac.compare_digest(word.encode(), known.encode())


async def _refuse(send: Send, status: int, why: str, *headers: tuple[str, str]) -> None:
    sent = [("content-type", "application/json"), *headers]
    raw = [(name.encode(), value.encode()) for name, value in sent]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": orjson.dumps({"error": why})})

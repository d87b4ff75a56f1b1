"""The FiftyOne App's server, with a header on all it answers that keeps its page from other servers.

The page asks for a font elsewhere, and the App has no switch for that. Nor has it one for its advertisement,
and for what stands beside an object: these it keeps in the browser, so the page is told before it starts.
`workflow up` runs this file by its path: its folder is the first in which Python looks for modules, and holds
no other.
"""

import argparse
import json
import os

from fiftyone.core.odm import get_db_conn
from fiftyone.server import main
from fiftyone.server.app import app
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders

POLICY = os.environ["WORKFLOW_APP_POLICY"]
# What the App notes in the browser when somebody has dismissed its advertisement.
SEEN = {"fiftyone-enterprise-tooltip-seen": True}
# What a person has set since is not set again.
SCRIPT = """<script>
for (const [key, value] of Object.entries(%s))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value))
</script>"""


def browser_settings():
    """What datasets say in `info.browser`, by the keys under which the App keeps it in the browser."""
    found = get_db_conn().datasets.find({"info.browser": {"$exists": True}}, {"info.browser": True})
    return {key: value for dataset in found for key, value in dataset["info"]["browser"].items()}


class Settings:
    """ASGI middleware: a script in the page, before any other, that sets what the browser does not know."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "GET":
            return await self.app(scope, receive, send)
        start, body = None, b""

        async def send_with_settings(message):
            nonlocal start, body
            if message["type"] == "http.response.start":
                is_page = (
                    MutableHeaders(raw=message["headers"]).get("content-type", "").startswith("text/html")
                )
                start = message if is_page else None
                if is_page:
                    return
            elif start is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if message.get("more_body"):
                    return
                known = SEEN | await run_in_threadpool(browser_settings)
                script = SCRIPT % json.dumps(known).replace("<", "\\u003c")
                body = body.replace(b"<head>", b"<head>" + script.encode(), 1)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        return await self.app(scope, receive, send_with_settings)


class Policy:
    """ASGI middleware: Content-Security-Policy, which browsers keep, on every answer."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_with_policy(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        await self.app(scope, receive, send_with_policy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", required=True)
    where = parser.parse_args()
    app.add_middleware(Settings)
    app.add_middleware(Policy)
    main.start_server(port=where.port, address=where.address)

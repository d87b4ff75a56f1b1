"""The FiftyOne App's server, with a header on all it answers that keeps its page from other servers.

The page asks for a font elsewhere, and the App has no switch for that. `workflow up` runs this file by its
path: its folder is the first in which Python looks for modules, and holds no other.
"""

import argparse
import os

from fiftyone.server import main
from fiftyone.server.app import app
from starlette.datastructures import MutableHeaders

POLICY = os.environ["WORKFLOW_APP_POLICY"]


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
    app.add_middleware(Policy)
    main.start_server(port=where.port, address=where.address)

"""A real HTTP proxy before the server, which loses what it is told to lose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import httpx

# Called with method and path: what is lost of that request, and nothing where it says None.
Lose = Callable[[str, str], Literal["request", "answer", None]]
HOP = ("connection", "content-length", "content-encoding", "transfer-encoding", "host")


@contextmanager
def losing(target: str, lose: Lose) -> Iterator[str]:
    """The address of a proxy to `target`. What is lost ends in a closed connection, as on a bad network."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            lost = lose(self.command, self.path)
            if lost != "request":
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                with httpx.Client(timeout=600) as client:
                    answer = client.request(self.command, target + self.path, content=body, headers=headers)
            if lost:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            for key, value in answer.headers.items():
                if key.lower() not in HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PATCH = do_DELETE = forward

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

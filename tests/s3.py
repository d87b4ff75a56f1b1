"""A real server of S3's protocol, in a process of its own on 127.0.0.1, for tests of addresses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

BUCKET = "photos"
# Keys that the server takes from anybody; no others are looked for, least of all those of a real account.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """The address of a server that has one empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **ENVIRONMENT})
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, log)
        httpx.put(f"{url}/{BUCKET}").raise_for_status()
        yield url
    finally:
        server.kill()
        server.wait()


def put_folder(url: str, folder: Path, prefix: str) -> None:
    """Put all files below a folder into the bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put(url, f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def put(url: str, key: str, content: bytes) -> None:
    httpx.put(f"{url}/{BUCKET}/{key}", content=content).raise_for_status()


def _wait(url: str, log: Path) -> None:
    for _ in range(300):
        try:
            httpx.get(url)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())

"""Ports and requests of this computer; nothing here leaves it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from pathlib import Path

import psutil

from workflow.errors import ServiceError
from workflow.services.files import write_private

LOOPBACK = "127.0.0.1"
_TRIES = 200
# HTTP_PROXY must not apply to a server on this computer.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, headers: Mapping[str, str] | None = None, timeout: float = 5.0) -> tuple[int, bytes]:
    """The status and body of one GET; status 0 if no one answered."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""
    except (OSError, ValueError):
        return 0, b""


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of 127.0.0.1 now."""
    with socket.socket() as client:
        client.settimeout(1)
        # Some systems let 127.0.0.1 be bound beside a listener on all addresses, so ask first.
        if client.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_port(preferred: int, taken: Collection[int] = ()) -> int:
    """The preferred port, else the next free one that is not among `taken`."""
    for port in range(preferred, min(preferred + _TRIES, 65_536)):
        if port not in taken and is_free(port):
            return port
    raise ServiceError(f"no port is free from {preferred} on", fix="stop what uses them, then make up")


def listen(preferred: int, only: bool = False) -> socket.socket:
    """A socket that listens on the preferred port, else on the next that is free.

    ServiceError where none is, or where `only` the preferred will do.
    """
    while True:
        port = choose_port(preferred)
        if only and port != preferred:
            raise ServiceError(f"port {preferred} is taken", fix="leave --port out, or stop what uses it")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            # Only who listens has it: before that another may be bound to the same port.
            listener.listen()
            return listener
        except OSError:
            listener.close()


def probe_port(port: int) -> str | None:
    """Who listens on a port, for people: None if no one, else the program as far as can be told."""
    if is_free(port):
        return None
    for process in psutil.process_iter(["name"]):
        try:
            if any(number == port for _, number in listeners(process)):
                return f"{process.info['name']} (pid {process.pid})"
        except psutil.Error:
            continue
    return "another user's program"


def listeners(process: psutil.Process) -> set[tuple[str, int]]:
    """The (address, port) pairs on which a process accepts connections."""
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def read_ports(state: Path) -> dict[str, int]:
    """The ports used last time, so that addresses stay the same; unreadable counts as none."""
    try:
        ports = json.loads((state / "ports.json").read_text())
        return {str(name): int(port) for name, port in ports.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_ports(state: Path, ports: Mapping[str, int]) -> None:
    if read_ports(state) != ports:
        write_private(state / "ports.json", json.dumps(ports, indent=2) + "\n")

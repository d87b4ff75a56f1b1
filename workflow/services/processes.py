"""Starting, finding and stopping server processes.

There are no pid files: each server carries its name and state folder in its environment, and the
process table is searched for them. So a server is found from the instant it exists, whatever was
killed or deleted, and a number that now belongs to a stranger is never mistaken for it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from workflow.errors import ServiceError
from workflow.services.files import log_path
from workflow.services.network import LOOPBACK, listeners

_MARK_NAME = "WORKFLOW_SERVICE"
_MARK_STATE = "WORKFLOW_SERVICE_STATE"
_TERM_PATIENCE = 30.0
_KILL_PATIENCE = 10.0


def spawn(state: Path, name: str, command: Sequence[str], environment: Mapping[str, str]) -> psutil.Process:
    """Start a server that outlives its caller, with a fresh log; the previous log is kept as .1."""
    log = log_path(state, name)
    with suppress(FileNotFoundError):
        log.replace(f"{log}.1")
    marked = {**environment, _MARK_NAME: name, _MARK_STATE: str(state)}
    with os.fdopen(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "wb") as sink:
        try:
            process = subprocess.Popen(
                command,
                env=marked,
                cwd=state,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise ServiceError(f"{command[0]} cannot be run: {error.strerror}", fix="make setup") from error
    # Popen warns of a child that it thinks forgotten; this one is meant to stay.
    process.returncode = 0
    return psutil.Process(process.pid)


def find(state: Path) -> dict[str, list[psutil.Process]]:
    """The running server processes of one state folder by service name, oldest first."""
    by_service: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(_MARK_STATE) == str(state) and is_alive(process):
                by_service.setdefault(environment.get(_MARK_NAME, ""), []).append(process)
    for processes in by_service.values():
        processes.sort(key=lambda process: (process.create_time(), process.pid))
    return by_service


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a dead child of this process is cleared away on the way."""
    try:
        if not process.is_running():
            return False
        # A main thread that has ended looks dead while the others still hold the port and the files.
        if process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1:
            return True
    except psutil.Error:
        return False
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return False


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and its descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def listening_port(name: str, processes: Iterable[psutil.Process]) -> int | None:
    """The port on which a server listens, None while there is none.

    Asked of the processes, not of our notes: Label Studio moves to the next port without a word,
    and someone else's server may sit on the port we meant.
    """
    ports = set()
    for process in processes:
        with suppress(psutil.Error):
            for address, port in listeners(process):
                if address != LOOPBACK:
                    where = f"{address}:{port}"
                    raise ServiceError(f"{name} listens on {where}, not on {LOOPBACK} only", fix="make down")
                ports.add(port)
    return min(ports, default=None)


def differs(process: psutil.Process, environment: Mapping[str, str], names: Iterable[str]) -> bool:
    """Whether one of the named variables of a process is not as in `environment`."""
    try:
        has = process.environ()
    except psutil.Error:
        return True
    return any(has.get(name) != environment.get(name) for name in names)


def stop(name: str, processes: Sequence[psutil.Process], patience: float = _TERM_PATIENCE) -> None:
    """Ask processes to end, then end them."""
    for send, limit in (("terminate", patience), ("kill", _KILL_PATIENCE)):
        for process in processes:
            # psutil compares start times, so a reused number is not signalled.
            with suppress(psutil.Error):
                getattr(process, send)()
        deadline = time.monotonic() + limit
        left = [process for process in processes if is_alive(process)]
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = [process for process in left if is_alive(process)]
        if not left:
            return
    pids = ", ".join(str(process.pid) for process in left)
    raise ServiceError(f"{name} does not stop, not even when killed (pid {pids})", fix="make down")

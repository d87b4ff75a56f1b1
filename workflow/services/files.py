"""The state folder: private to its owner, written atomically, one writer at a time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workflow.errors import ServiceError

LOCK_PATIENCE = 600.0
_TAIL = 16_384


def make_private(folder: Path) -> Path:
    """Create the folder for its owner only, or narrow an existing one; answers its real path."""
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def link(place: Path, folder: Path) -> Path:
    """Let `place` be a link to a folder, in one step where it was another."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.resolve() == folder:
        return place
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    partial.symlink_to(folder)
    partial.replace(place)
    return place


def make_state(state: Path) -> Path:
    """The state folder with its folder for logs; any number of commands may do this at once."""
    state = make_private(state)
    make_private(state / "logs")
    return state


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; call it under the lock. It is born with mode 600."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)


@contextmanager
def locked(state: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder's lock. The kernel frees it however its holder ends."""
    with (state / "services.lock").open("a") as handle:
        deadline = time.monotonic() + LOCK_PATIENCE
        warned = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServiceError(
                        f"another command has been starting or stopping services in {state} for "
                        f"{LOCK_PATIENCE:.0f} s",
                        fix="end that command, then make up",
                    ) from None
            if not warned:
                report("another command is starting or stopping services: waiting for it")
                warned = True
            time.sleep(0.2)
        # The folder will hold a password: git must pass it by wherever the user puts it.
        if not (state / ".gitignore").exists():
            write_private(state / ".gitignore", "*\n")
        yield


@contextmanager
def writing(state: Path) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into one ServiceError."""
    try:
        yield
    except OSError as error:
        raise ServiceError(
            f"cannot write the services' state in {state}: {error.strerror or error}",
            fix="free some space or make the folder writable, then make up",
        ) from error


def log_path(state: Path, name: str) -> Path:
    return state / "logs" / f"{name}.log"


def last_meaningful_line(log: Path) -> str:
    """The line that says why a server stopped: mongod's first error, else the last line at all."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - _TAIL))
            text = handle.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "(the log is empty)"
    errors = [error for line in lines if (error := _mongod_error(line))]
    # mongod's later errors follow from the first; other programs end with the one that stopped them.
    return (errors[0] if errors else lines[-1])[:300]


def _mongod_error(line: str) -> str:
    """What a line of mongod's JSON log says, if it is an error or fatal."""
    if not line.startswith('{"t":'):
        return ""
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return ""
    if entry.get("s") not in ("E", "F"):
        return ""
    attributes = entry.get("attr", {})
    detail = attributes.get("message") or attributes.get("error") or ""
    if isinstance(detail, dict):
        detail = detail.get("error_str") or detail.get("errmsg") or ""
    return f"{entry.get('msg', '')}: {detail}" if detail else str(entry.get("msg", ""))

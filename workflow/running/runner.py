"""A stage runs only if its version, settings or inputs changed since it last finished.

The completion mark is removed before the work and written after it, so a killed stage is never
taken for a finished one. Scratch is keyed by the fingerprint: a stopped stage goes on where it was,
and one whose settings changed starts clean.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from workflow.errors import StageError
from workflow.project.rows import digest, file_digest, read_json, write_json


def alone(folder: Path, what: str) -> IO[str]:
    """Take the lock of a project's `folder`, for as long as the returned file is open, or raise StageError.

    The system gives it back when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        pid = file.read().strip()
        file.close()
        raise StageError(
            f"another workflow command works on {what}", f"wait for it, or: kill {pid}"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


@dataclass(frozen=True)
class Outcome:
    """What a stage did, for people (`did`, and `lines` below it) and for the tables."""

    stage: str
    seconds: float
    did: str
    skipped: bool = False
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What decides whether a stage must run: its version, settings and inputs, and what it makes."""

    stage: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, Path | str]
    outputs: tuple[Path, ...]

    def fingerprint(self) -> str:
        inputs = {k: file_digest(v) if isinstance(v, Path) else v for k, v in self.inputs.items()}
        return digest([self.stage, self.version, dict(self.settings), inputs])


class Runner:
    """Keeps the marks of one project's stages under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self, plan: Plan) -> Literal["done", "stale", "missing"]:
        """Whether a stage's outputs are there and still follow from its inputs."""
        mark = self._mark(plan.stage)
        if not mark or not all(p.exists() for p in plan.outputs):
            return "missing"
        return "done" if mark["fingerprint"] == plan.fingerprint() else "stale"

    def run(self, plan: Plan, work: Callable[[Path], str], force: bool = False) -> Outcome:
        """Call `work(scratch)`, which returns what it did, unless that is already done."""
        if not force and self.state(plan) == "done" and (mark := self._mark(plan.stage)):
            self._clear(plan.stage)
            return Outcome(plan.stage, 0.0, mark["did"], skipped=True)
        fingerprint = plan.fingerprint()
        self._path(plan.stage).unlink(missing_ok=True)
        scratch = self._scratch(plan.stage, fingerprint)
        start = time.perf_counter()
        did = work(scratch)
        seconds = time.perf_counter() - start
        now = datetime.now(UTC).isoformat(timespec="seconds")
        mark = {"fingerprint": fingerprint, "finished_at": now, "seconds": seconds, "did": did}
        write_json(self._path(plan.stage), mark)
        self._clear(plan.stage)
        return Outcome(plan.stage, seconds, did)

    def last(self, stage: str) -> dict[str, Any] | None:
        """The completion mark of a stage: fingerprint, finished_at, seconds, did."""
        return self._mark(stage)

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage}.json"

    def _mark(self, stage: str) -> dict[str, Any] | None:
        """None where there is none, or where it does not read: then the stage runs again."""
        try:
            mark = read_json(self._path(stage), {})
        except StageError:
            return None
        texts = [mark.get(key) for key in ("fingerprint", "finished_at", "did")]
        return mark if all(isinstance(text, str) for text in texts) else None

    def _scratch(self, stage: str, fingerprint: str) -> Path:
        scratch = self.folder / f"{stage}-{fingerprint}"
        self._clear(stage, scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        return scratch

    def _clear(self, stage: str, keep: Path | None = None) -> None:
        """Remove a stage's scratch: what it is done with, what other settings made, what a kill left."""
        for scratch in self.folder.glob(f"{stage}-*"):
            if scratch != keep:
                shutil.rmtree(scratch, ignore_errors=True)

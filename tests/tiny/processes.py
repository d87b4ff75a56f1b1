"""Processes for ultralytics that are used again: each takes seconds to start, and many tests need one."""

from __future__ import annotations

from pathlib import Path

from workflow.models import ultralytics
from workflow.running.worker import Worker

_free: list[Worker] = []


class Reused(Worker):
    """A worker that waits for its next model when it is closed; it ends with the test run."""

    def close(self) -> None:
        if self not in _free:
            _free.append(self)


def start_worker(log: Path) -> Worker:
    """As `ultralytics.start_worker`, from those that wait; what they print stays in the first one's log."""
    while _free:
        worker = _free.pop()
        if worker._process.is_alive():
            return worker
    return Reused(log, ultralytics.environment())

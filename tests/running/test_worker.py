"""The process that holds what bends processes: results, errors, streams, and death."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from workflow.errors import ModelError, StageError
from workflow.running.worker import Worker


def double(number: int) -> int:
    print("doubling")
    return 2 * number


def count(number: int) -> Iterator[int]:
    yield from range(number)


def refuse() -> None:
    raise StageError("not so", "do it thus")


def crash() -> None:
    raise ValueError("two\nlines")


def fill_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a")


def end() -> None:
    os._exit(3)


def test_calls_streams_and_what_is_printed(tmp_path: Path) -> None:
    with Worker(tmp_path / "log") as worker:
        assert worker.call(double, 21) == 42
        assert list(worker.stream(count, 3)) == [0, 1, 2]
    assert (tmp_path / "log").read_text() == "doubling\n"


def test_errors_come_over_as_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Worker(log) as worker:
        with pytest.raises(StageError) as error:
            worker.call(refuse)
        assert str(error.value) == "not so -> do it thus"
        with pytest.raises(ModelError) as error:
            worker.call(crash)
        assert str(error.value) == f"ValueError: lines -> read {log}"
        with pytest.raises(OSError, match="No space left on device: 'a'"):
            worker.call(fill_disk)
        assert worker.call(double, 1) == 2
        with pytest.raises(ModelError) as error:
            worker.call(end)
        assert str(error.value) == f"the model's process ended (exit code 3) -> read {log}"


def test_it_dies_with_its_parent_even_by_kill_9(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from pathlib import Path\n"
        "from workflow.running.worker import Worker\n"
        f"worker = Worker(Path({str(tmp_path / 'log')!r}))\n"
        "worker.send(time.sleep, 600)\n"
        "print(worker._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.is_running()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

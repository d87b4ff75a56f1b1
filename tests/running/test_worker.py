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

import numpy as np
import psutil
import pytest

from workflow.errors import ModelError, OutOfMemory, StageError
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


def total(arrays: list[np.ndarray], factor: int) -> tuple[list[int], list[str]]:
    return [int(array.sum()) * factor for array in arrays], [str(array.dtype) for array in arrays]


def lack() -> None:
    raise MemoryError


def test_arrays_are_handed_over_in_memory_that_has_no_name(tmp_path: Path) -> None:
    small = np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::2]
    large = np.ones((3, 2**21), dtype=np.int32)
    with Worker(tmp_path / "log") as worker:
        assert worker.call_on(total, [small, small + 1], 2) == ([60, 72], ["uint8", "uint8"])
        # More than the memory held so far, less, and nothing at all.
        assert worker.call_on(total, [large], 1) == ([3 * 2**21], ["int32"])
        assert worker.call_on(total, [small], 1) == ([30], ["uint8"])
        assert worker.call_on(total, [], 1) == ([], [])
        maps = Path(f"/proc/{worker._process.pid}/maps").read_text()
        assert "memfd:workflow (deleted)" in maps
        assert "/dev/shm" not in maps


def test_shared_memory_goes_with_the_processes_even_by_kill_9(tmp_path: Path) -> None:
    code = (
        "import numpy as np, time\n"
        "from pathlib import Path\n"
        "from tests.running.test_worker import total\n"
        "from workflow.running.worker import Worker\n"
        "if __name__ == '__main__':\n"
        f"    worker = Worker(Path({str(tmp_path / 'log')!r}))\n"
        "    worker.call_on(total, [np.ones(64 * 2**20, np.uint8)], 1)\n"
        "    print(worker._process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    maps = Path(f"/proc/{child.pid}/maps").read_text()
    assert "memfd:workflow (deleted)" in maps
    assert "/dev/shm" not in maps
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child.wait(timeout=10)
    assert not child.is_running()


def test_a_lack_of_memory_is_told_from_other_errors(tmp_path: Path) -> None:
    with Worker(tmp_path / "log") as worker, pytest.raises(OutOfMemory, match=r"out of memory \(no more\)"):
        worker.call(lack)

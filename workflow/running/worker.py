"""A process of its own for libraries that bend the process they run in.

ultralytics replaces `PIL.Image.open`, pins threads and reads the environment at import; here it can
do so without touching the rest. The child dies with its parent, even by `kill -9`, so a stopped
stage leaves no training behind. What it prints goes to a log file.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from workflow.errors import ModelError, OutOfMemory, ProcessDied, WorkflowError, is_out_of_memory
from workflow.running.shared import Borrowed, Place, Shared, room_for


class Worker:
    """Runs functions, named by module-level references, in one child process, one after another.

    `with_children` lets it start processes of its own, which die with it.
    """

    def __init__(
        self, log: Path, environment: dict[str, str] | None = None, with_children: bool = False
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        arguments = (child, str(log), environment or {})
        self._process = context.Process(target=_serve, args=arguments, daemon=not with_children)
        self._process.start()
        child.close()
        # Who has children of its own is waited for at the end, and ends only with its pipe.
        util.Finalize(self, self._pipe.close, exitpriority=10)
        self._shared: Shared | None = None

    def send(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start a call; fetch what it returns by `receive`, in the order of the calls."""
        try:
            self._pipe.send((function, arguments))
        except OSError:
            raise self._died() from None

    def call_on(self, function: Callable[..., Any], arrays: Sequence[NDArray[Any]], *arguments: Any) -> Any:
        """`function(arrays, *arguments)`, the arrays handed over in shared memory.

        They are there until the next call of this kind; what the function keeps of them, it must copy.
        """
        self._make_room(room_for(arrays))
        assert self._shared
        self.send(_on_shared, function, self._shared.write(arrays), *arguments)
        return self.receive()

    def _make_room(self, size: int) -> None:
        if self._shared and self._shared.size >= size:
            return
        if self._shared:
            self._shared.close()
        self._shared = Shared(max(1, size))
        self.send(_borrow, self._shared.size)
        try:
            send_handle(self._pipe, self._shared.descriptor, self._process.pid)
        except OSError:
            raise self._died() from None
        self.receive()

    def receive(self) -> Any:
        """The result of the oldest call not yet received; the error it raised, if it did."""
        *_, (_, value) = self._answers()
        return value

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.send(function, *arguments)
        return self.receive()

    def stream(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """What a generator function yields, as it yields it."""
        self.send(function, *arguments)
        for kind, value in self._answers():
            if kind == "item":
                yield value

    def kill(self) -> None:
        """End it in the middle of a call; who waits for that is told."""
        self._process.kill()

    def close(self) -> None:
        if self._shared:
            self._shared.close()
            self._shared = None
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self) -> Iterator[tuple[str, Any]]:
        while True:
            try:
                kind, value = self._pipe.recv()
            except (EOFError, OSError):
                raise self._died() from None
            if kind == "error":
                raise value
            yield kind, value
            if kind == "done":
                return

    def _died(self) -> ProcessDied:
        self._process.join(timeout=5)
        code = self._process.exitcode
        return ProcessDied(f"the model's process ended (exit code {code})", f"read {self.log}")


# In the child: its end of the pipe, and the memory that the parent writes into.
_pipe: Connection | None = None
_borrowed: Borrowed | None = None


def _borrow(size: int) -> None:
    global _borrowed
    assert _pipe
    _borrowed = Borrowed(recv_handle(_pipe), size)


def _on_shared(function: Callable[..., Any], places: Sequence[Place], *arguments: Any) -> Any:
    assert _borrowed
    return function(_borrowed.read(places), *arguments)


def _serve(pipe: Connection, log: str, environment: dict[str, str]) -> None:
    """The child's loop: take a call, answer with items and a result or an error, until the pipe ends."""
    global _pipe
    _die_with_parent()
    _pipe = pipe
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            result = function(*arguments)
            if isinstance(result, Iterator):
                for item in result:
                    pipe.send(("item", item))
                result = None
            pipe.send(("done", result))
        except WorkflowError as error:
            pipe.send(("error", error))
        except Exception as error:
            # The log may lie on the very disk that is full.
            with suppress(OSError):
                traceback.print_exc()
                sys.stderr.flush()
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            pipe.send(("error", error if full else _as_ours(error, log)))


def _as_ours(error: Exception, log: str) -> ModelError:
    if is_out_of_memory(error):
        return OutOfMemory(f"out of memory ({str(error).splitlines()[0][:200] if str(error) else 'no more'})")
    what = str(error).strip().splitlines()[-1] if str(error).strip() else "no message"
    return ModelError(f"{type(error).__name__}: {what}", f"read {log}")


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

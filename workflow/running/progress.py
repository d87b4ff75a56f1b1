"""Progress for people: a bar with rate and ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    def __call__(self, steps: int = 1, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int, unit: str = "images") -> Iterator[Advance]:
    """Yields a function to call as work gets done. Nothing shows for what takes under two seconds."""
    if sys.stderr.isatty():
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _lines(what, total, unit)


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    ]
    columns += [
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    columns += [TextColumn("{task.fields[note]}")]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="", note="")
        start = time.perf_counter()
        done = 0

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done
            done += steps
            seconds = time.perf_counter() - start
            rate = f"{done / seconds:.1f} {unit}/s" if seconds else ""
            bar.update(task, advance=steps, rate=rate, note=note)

        yield advance


def _lines(what: str, total: int, unit: str, every: float = 15.0) -> Advance:
    start = last = time.perf_counter()
    done = 0

    def advance(steps: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += steps
        now = time.perf_counter()
        if now - last < every or done >= total:
            return
        last = now
        rate = done / (now - start)
        left = (total - done) / rate if rate else 0
        line = f"  {what} {done}/{total}, {rate:.1f} {unit}/s, {left:.0f} s left {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    return advance

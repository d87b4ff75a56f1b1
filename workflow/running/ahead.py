"""Draw the next item while the last one is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
END: Any = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each drawn in a thread while the caller works on the one before; one waits at most.

    The first is drawn at once, before anybody asks for it.
    """
    pool = ThreadPoolExecutor(1)
    return _drawn(pool, pool.submit(next, items, END), items)


def _drawn(pool: ThreadPoolExecutor, drawn: Future[Any], items: Iterator[T]) -> Iterator[T]:
    with pool:
        while (item := drawn.result()) is not END:
            drawn = pool.submit(next, items, END)
            yield item

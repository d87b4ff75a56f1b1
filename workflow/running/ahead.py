"""What comes next is made ready while what came last is worked on: in order, and in bounded numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice, repeat, takewhile
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")
END: Any = object()


def ahead(items: Iterator[T], waiting: int = 1) -> Generator[T, None, None]:
    """The same items, drawn in a thread while the caller works on those before; `waiting` wait at most.

    The first is drawn at once, before anybody asks for it. Otherwise as `each_ahead`.
    """
    drawn = each_ahead(lambda _: next(items, END), repeat(None), waiting)
    return _until_end(drawn)


def each_ahead(
    work: Callable[[S], T],
    items: Iterable[S],
    waiting: int = 1,
    threads: int = 1,
    weight: Callable[[S], int] | None = None,
    most: int = 0,
) -> Generator[T, None, None]:
    """`work(item)` for each item, in their order, while the caller works on what came before.

    `waiting` of them are in work or wait to be asked for at most; where items have a `weight`, they weigh
    `most` together at most, or it is one. The first are begun at once. What `work` raises is raised where
    its result would have come. When the results are spent or closed, or an error went out, no thread is
    left; what nobody had begun is not begun any more.
    """
    upcoming = _Upcoming(ThreadPoolExecutor(threads), work, items, waiting, weight, most)
    upcoming.begin()
    return _results(upcoming)


class _Upcoming(Generic[S, T]):
    """What is in work, and what waits to be asked for."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        work: Callable[[S], T],
        items: Iterable[S],
        waiting: int,
        weight: Callable[[S], int] | None,
        most: int,
    ) -> None:
        self.pool = pool
        self._work, self._items, self._waiting = work, iter(items), waiting
        self._weight, self._most = weight, most
        self._futures: deque[tuple[Future[T], int]] = deque()
        # The item that was too heavy to be begun beside the others.
        self._held: list[S] = []
        self._taken = 0

    def begin(self) -> None:
        """Begin as many as there is room for."""
        while len(self._futures) < self._waiting:
            self._held = self._held or list(islice(self._items, 1))
            if not self._held:
                return
            weight = self._weight(self._held[0]) if self._weight else 0
            if self._futures and self._taken + weight > self._most:
                return
            self._taken += weight
            self._futures.append((self.pool.submit(self._work, self._held.pop()), weight))

    def take(self) -> T:
        """The oldest result, once it is there."""
        future, weight = self._futures.popleft()
        try:
            return future.result()
        finally:
            self._taken -= weight

    def __bool__(self) -> bool:
        return bool(self._futures)


def _results(upcoming: _Upcoming[S, T]) -> Generator[T, None, None]:
    try:
        while upcoming:
            result = upcoming.take()
            upcoming.begin()
            yield result
    finally:
        upcoming.pool.shutdown(cancel_futures=True)


def _until_end(drawn: Generator[T, None, None]) -> Generator[T, None, None]:
    with closing(drawn):
        yield from takewhile(lambda item: item is not END, drawn)

"""What comes next is made ready while what came last is worked on: in order, and in bounded numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice, repeat, takewhile
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
END: Any = object()


def ahead(items: Iterator[T], waiting: int = 1) -> Iterator[T]:
    """The same items, drawn in a thread while the caller works on those before; `waiting` wait at most.

    The first is drawn at once, before anybody asks for it. Otherwise as `each_ahead`.
    """
    drawn = each_ahead(lambda _: next(items, END), repeat(None), waiting)
    return _until_end(drawn)


def each_ahead(
    work: Callable[[S], T], items: Iterable[S], waiting: int = 1, threads: int = 1
) -> Generator[T, None, None]:
    """`work(item)` for each item, in their order, while the caller works on what came before.

    `waiting` of them are in work or wait to be asked for at most; the first are begun at once. What `work`
    raises is raised where its result would have come. When the results are spent or closed, or an error
    went out, no thread is left; what nobody had begun is not begun any more.
    """
    pool = ThreadPoolExecutor(threads)
    upcoming = iter(items)
    futures = deque(pool.submit(work, item) for item in islice(upcoming, waiting))
    return _results(pool, work, upcoming, futures)


def _results(
    pool: ThreadPoolExecutor, work: Callable[[S], T], upcoming: Iterator[S], futures: deque[Future[T]]
) -> Generator[T, None, None]:
    try:
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(work, item) for item in islice(upcoming, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _until_end(drawn: Generator[T, None, None]) -> Iterator[T]:
    with closing(drawn):
        yield from takewhile(lambda item: item is not END, drawn)

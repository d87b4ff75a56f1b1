"""What is made ready ahead: overlap, order, errors, and no thread left behind."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from workflow.running.ahead import ahead, each_ahead


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    gc.collect()
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 4])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (5 - item % 5))
        return item * item

    assert list(each_ahead(work, range(20), 4, threads)) == [n * n for n in range(20)]


def test_as_many_are_begun_as_may_wait_and_no_more() -> None:
    begun: list[int] = []
    results = each_ahead(begun.append, range(100), 3)
    _until(lambda: len(begun) == 3)
    next(results)
    _until(lambda: len(begun) == 4)
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]
    results.close()


def test_the_next_is_worked_on_while_the_caller_works() -> None:
    going = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            going.set()
        return item

    results = each_ahead(work, range(3), 1)
    assert next(results) == 0
    assert going.wait(5)
    results.close()


def test_an_error_comes_where_its_result_would_have() -> None:
    def work(item: int) -> float:
        return 1 / (2 - item)

    results = each_ahead(work, range(9), 2)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_what_is_closed_early_begins_nothing_more() -> None:
    begun: list[int] = []
    results = each_ahead(begun.append, range(1000), 50)
    next(results)
    results.close()
    after = len(begun)
    time.sleep(0.05)
    assert len(begun) == after < 1000


def test_what_is_never_asked_for_leaves_no_thread() -> None:
    results = each_ahead(str, range(9), 2)
    del results


def test_items_are_drawn_one_ahead_and_at_once() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for number in range(5):
            drawn.append(number)
            yield number

    upcoming = ahead(items())
    _until(lambda: drawn == [0])
    assert next(upcoming) == 0
    _until(lambda: drawn == [0, 1])
    assert list(upcoming) == [1, 2, 3, 4]


def test_an_error_while_drawing_is_the_callers() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    upcoming = ahead(items(), 3)
    assert next(upcoming) == 1
    with pytest.raises(OSError, match="gone"):
        next(upcoming)


def test_nothing_to_do_is_nothing_done() -> None:
    assert list(each_ahead(str, [], 2)) == []
    assert list(ahead(iter([]))) == []


def _until(holds) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + 5
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    assert holds()

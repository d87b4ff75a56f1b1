"""What decoding may take of the machine's memory: reckoned before it starts, shared by all threads."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath

import psutil

GIGABYTE = 1e9
# The models, the servers and the user's own programs need the rest.
SHARE = 1 / 8
CGROUPS = Path("/sys/fs/cgroup")


def budget(gigabytes: float | None) -> int:
    """Bytes that decoding may take at a time: as set, else a share of what this process may have."""
    if gigabytes is not None:
        return int(gigabytes * GIGABYTE)
    return _share()


@cache
def _share() -> int:
    share = min([psutil.virtual_memory().total, *_cgroup_limits()]) * SHARE
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        share = min(share, max(0, address_space - psutil.Process().memory_info().vms) / 2)
    return int(share)


def _cgroup_limits() -> Iterator[int]:
    """The limits of this process's control group and of those it is in, of both versions."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            own = PurePosixPath(line.split(":", 2)[2])
            for group in (own, *own.parents):
                for name in ("memory.max", "memory/memory.limit_in_bytes"):
                    top, _, file = name.rpartition("/")
                    # "max" where there is no limit.
                    with suppress(OSError, ValueError):
                        yield int((CGROUPS / top / group.relative_to("/") / file).read_text())


class Gate:
    """Lets decoders in as long as what they need fits the budget together; one at a time if it is large."""

    def __init__(self) -> None:
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, need: int, budget: int) -> Iterator[None]:
        """Wait until `need` bytes fit into `budget`, or nobody else takes any, and keep them meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + need <= budget)
            self._taken += need
        try:
            yield
        finally:
            with self._changed:
                self._taken -= need
                self._changed.notify_all()

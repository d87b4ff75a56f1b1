"""How many cores this process may use: those it may run on, within its control group's share."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores() -> int:
    """At least 1; a share of a core counts as one."""
    # What the scheduler was told (taskset, a container's cpuset), where the system can say so.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _shares())]))


def _shares() -> Iterator[float]:
    """How many cores' time this process's control group, and those it is in, may take; of both versions."""
    with suppress(OSError):
        for line in MEMBERSHIP.read_text().splitlines():
            own = PurePosixPath(line.split(":", 2)[2])
            for group in (own, *own.parents):
                place = group.relative_to("/")
                # "max" and -1 where there is no limit.
                with suppress(OSError, ValueError):
                    quota, period = (CGROUPS / place / "cpu.max").read_text().split()
                    yield int(quota) / int(period)
                with suppress(OSError, ValueError):
                    folder = CGROUPS / "cpu" / place
                    quota, period = (
                        (folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
                    )
                    if int(quota) > 0:
                        yield int(quota) / int(period)

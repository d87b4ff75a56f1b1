"""What was once read out of large files, remembered until they change.

A file has changed where its size, its times (of content and of inode) or its inode are others: what git's
index goes by. A change so soon after the reading that the file system shows the same time for both would not
be seen, so nothing is remembered of a file that young.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workflow.project.rows import read_json, write_json

# How long, in nanoseconds, a file system may show the same time: a tick of the kernel, or, where it has whole
# seconds only, two of them.
TICK, COARSE = 20_000_000, 2_000_000_000


def remembered(folder: Path, name: str, files: Mapping[str, Path], way: Any, read: Callable[[], Any]) -> Any:
    """What `read` makes of the `files`, as JSON has it; read again only where one of them changed.

    `way` says how it is read: another value, of a later version say, reads again. It is kept in
    `folder`/known-`name`.json. What `read` raises is raised, and nothing is kept.
    """
    place = folder / f"known-{name}.json"
    begin = time.time_ns()
    stamps = {key: _stamp(path) for key, path in files.items()}
    kept = read_json(place, {})
    if kept.get("of") == stamps and kept.get("way") == way and "value" in kept:
        return kept["value"]
    value = read()
    settled = all(stamp is None or _is_settled(stamp, begin) for stamp in stamps.values())
    if settled and stamps == {key: _stamp(path) for key, path in files.items()}:
        write_json(place, {"of": stamps, "way": way, "value": value})
    return value


def _stamp(path: Path) -> list[int] | None:
    """Size, inode and both times of a file in nanoseconds; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _is_settled(stamp: list[int], now: int) -> bool:
    """Whether a change from `now` on would show in the times."""
    return all(now - at > (TICK if at % 1_000_000_000 else COARSE) for at in stamp[2:])

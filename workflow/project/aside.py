"""What may hold somebody's work is never deleted: it is moved aside, under its name and the date."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path


def dated(path: Path) -> Path:
    """A free name beside `path`: its own with the time (UTC), and a number where that is taken."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    names = itertools.chain([f"{path.name}.{now}"], (f"{path.name}.{now}-{n}" for n in itertools.count(2)))
    return next(free for name in names if not ((free := path.with_name(name)).exists() or free.is_symlink()))


def move_aside(path: Path) -> Path:
    """Give a file or folder its dated name; the new path."""
    return path.rename(dated(path))

"""What lies in a folder of images: images, names that no file of ours can hold, and what is passed over."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from workflow.images import decode

# Relative path, size in bytes, modification time in ns.
Stat = tuple[str, int, int]


@dataclass
class Listing:
    """`files` are the images, sorted by path. `strange` are paths that are not UTF-8, made readable.

    `passed` counts what is no image by its name, by suffix, and folders that are links.
    """

    files: list[Stat] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)

    @property
    def passed_over(self) -> str:
        """For a summary: "; passed over 3 .dcm, 1 without a suffix"; empty where nothing was."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.passed.items()))
        return f"; passed over {kinds}" if kinds else ""

    def to_json(self) -> list[object]:
        """What decides a catalog; other files only where there are any, as they change its summary."""
        others = [self.strange, sorted(self.passed.items())]
        return [*self.files, *(others if any(others) else [])]


def list_images(folder: Path, ours: Path) -> Listing:
    """What lies below `folder`, without `ours` and what is hidden; links to folders are not followed."""
    listing = Listing()
    for root, folders, names in os.walk(folder):
        shown = [Path(root, name) for name in sorted(folders) if not name.startswith(".")]
        linked = sum(path.is_symlink() for path in shown)
        listing.passed[f"linked folder{'s' if linked > 1 else ''}"] += linked
        folders[:] = [path.name for path in shown if path != ours]
        # By strings: `status` goes through all of them, and a Path takes four times as long as a file's stat.
        below = os.path.relpath(root, folder)
        for name in names:
            if name.startswith(".") or (status := _file_status(f"{root}/{name}")) is None:
                continue
            suffix = _suffix(name)
            if suffix not in decode.SUFFIXES:
                listing.passed[readable(suffix) or "without a suffix"] += 1
                continue
            relative = name if below == "." else f"{below}/{name}"
            if not relative.isascii() and readable(relative) != relative:
                listing.strange.append(readable(relative))
                continue
            listing.files.append((relative, status.st_size, status.st_mtime_ns))
    listing.files.sort()
    listing.strange.sort()
    listing.passed = +listing.passed
    return listing


def _file_status(path: str) -> os.stat_result | None:
    """What the system says of a file; None of what is none, or is gone."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _suffix(name: str) -> str:
    """As a Path has it, in small letters."""
    dot = name.rfind(".")
    return name[dot:].lower() if 0 < dot < len(name) - 1 else ""


def list_elsewhere(files: Iterable[Stat]) -> Listing:
    """The same of what lies behind an address, as it lists it."""
    listing = Listing()
    for path, size, changed in files:
        parts = path.split("/")
        if any(part.startswith(".") and part != ".." for part in parts) or not parts[-1]:
            continue
        suffix = PurePosixPath(path).suffix.lower()
        if suffix not in decode.SUFFIXES:
            listing.passed[suffix or "without a suffix"] += 1
        elif "" in parts or ".." in parts:
            listing.passed["with // or .. in their names"] += 1
        else:
            listing.files.append((path, size, changed))
    listing.files.sort()
    return listing


def readable(name: str) -> str:
    r"""A name with those of its bytes that are not UTF-8 written out: caf\xe9.png."""
    return os.fsencode(name).decode(errors="backslashreplace")

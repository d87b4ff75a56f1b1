"""The images of an import into a project, under names that its catalog takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from workflow.commands.import_source import Entry
from workflow.formats.page import Losses
from workflow.images.decode import SUFFIXES
from workflow.images.finder import usual_suffix
from workflow.project.paths import Project
from workflow.project.rows import atomic, file_digest, read_catalog
from workflow.running.progress import progress

# Bytes a name may have on the usual systems.
LONGEST = 255


def copy_images(project: Project, entries: Sequence[Entry], losses: Losses) -> int:
    """Put the images that are not there yet into the project, under names that are free; how many."""
    present = set()
    if project.catalog.exists():
        present = {r.id for r in read_catalog(project.catalog) if project.image_path(r.path).exists()}
    copied = 0
    with progress("copying images", len(entries)) as advance:
        for entry in entries:
            advance()
            path = entry.image.path
            name = good_name(PurePosixPath(entry.image.name), path)
            renamed = name.as_posix() != entry.image.name
            if entry.id in present or (path.is_relative_to(project.images) and not renamed):
                continue
            if renamed:
                losses.add("images renamed, as the catalog would pass theirs over", entry.image.name)
            target = project.images / name
            if target.exists() and file_digest(target) != entry.id:
                losses.add("images renamed, as another has their name", str(name))
                target = target.with_name(with_mark(target.name, f"-{entry.id}"))
            if not target.exists():
                with atomic(target, flush=False) as file, path.open("rb") as original:
                    shutil.copyfileobj(original, file)
                copied += 1
    if copied:
        # The images are on the disk before anything speaks of them.
        os.sync()
    return copied


def good_name(name: PurePosixPath, path: Path) -> PurePosixPath:
    """A name in UTF-8, not hidden, and with the suffix of an image: by its content where it has none."""
    parts = [_readable(part).lstrip(".") or "_" for part in name.parts]
    if PurePosixPath(parts[-1]).suffix.lower() not in SUFFIXES:
        parts[-1] = with_mark(parts[-1] + usual_suffix(path), "")
    return PurePosixPath(*parts)


def with_mark(name: str, mark: str) -> str:
    """A file's name with a mark before its suffix, the rest cut where it would be too long."""
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    room = LONGEST - len((mark + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore") + mark + suffix


def _readable(part: str) -> str:
    """A name with those of its bytes that are not UTF-8 in hexadecimal: caf%E9."""
    return "".join(f"%{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else c for c in part)

"""Every state labels.jsonl has been in: data/history/, one file a change, none ever rewritten.

A file holds the new lines of the images that changed, behind a header that says when and by what. A state
is what the files up to it say, the later ones winning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from workflow.errors import StageError
from workflow.project import Project
from workflow.records import Sample
from workflow.rowfile import RowFile
from workflow.store import Row, atomic, read_catalog, read_rows, sample_to_row


@dataclass(frozen=True)
class Change:
    """One file of the history."""

    number: int
    at: str
    by: str
    images: int
    path: Path


def save(project: Project, labels: RowFile, by: str) -> bool:
    """Write labels.jsonl, its change into the history first; False where nothing changed.

    Killed between the two, it says the same the next time, and that is not written down twice.
    """
    if not (changed := labels.changed()) and project.labels.exists():
        return False
    folder = project.data / "history"
    if project.labels.exists() and not _paths(folder):
        _append(folder, "as found", labels.lines_before)
    _append(folder, by, lambda: labels.lines(changed))
    return labels.write()


def changes(project: Project) -> list[Change]:
    """The history, oldest first."""
    found = []
    for path in _paths(project.data / "history"):
        with path.open("rb") as file:
            header = orjson.loads(next(file))
            found.append(Change(int(path.stem), header["at"], header["by"], sum(1 for _ in file), path))
    return found


def restore(project: Project, number: int) -> int:
    """Bring labels.jsonl back to what it was after change `number`; of how many images that changes the line.

    StageError where there is no such change. The restoring is itself a change, so it can be undone.
    """
    history = changes(project)
    if not any(change.number == number for change in history):
        last = f"1 to {history[-1].number}" if history else "none"
        raise StageError(f"{project.name} has no change {number}: there is {last}", "workflow history")
    labels = RowFile(project.labels)
    state: dict[str, tuple[Path, Row]] = {}
    for change in history:
        if change.number <= number:
            state |= {row["image"]: (change.path, row) for row in _rows(change.path)}
    for record in read_catalog(project.catalog):
        known = state.get(record.id)
        labels.put(record.id, known[1] if known else sample_to_row(Sample(record.id, "unlabeled")))
    changed = len(labels.changed())
    save(project, labels, f"restore {number}")
    return changed


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jsonl"), key=lambda path: int(path.stem))


def _rows(path: Path) -> Iterator[Row]:
    rows = read_rows(path)
    next(rows)
    return rows


def _append(folder: Path, by: str, lines: Callable[[], Iterable[bytes]]) -> None:
    hashed = hashlib.sha256()
    for line in lines():
        hashed.update(line)
    content = hashed.hexdigest()[:16]
    paths = _paths(folder)
    if paths:
        with paths[-1].open("rb") as file:
            if orjson.loads(next(file))["content"] == content:
                return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    number = int(paths[-1].stem) + 1 if paths else 1
    with atomic(folder / f"{number:06d}.jsonl") as file:
        file.write(orjson.dumps({"at": now, "by": by, "content": content}) + b"\n")
        file.writelines(lines())

"""Every state labels.jsonl has been in: data/history/, one file a change, none ever rewritten.

A file holds the new lines of the images that changed, behind a header that says when and by what, and which
classes got another name. A state is what the files up to it say, the later ones winning, in today's names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from workflow.errors import StageError
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, atomic, read_catalog, read_rows, sample_to_row
from workflow.records import Sample


@dataclass(frozen=True)
class Change:
    """One file of the history; `renamed` leads from a class's old name to its new one."""

    number: int
    at: str
    by: str
    images: int
    path: Path
    renamed: Mapping[str, str]


def save(project: Project, labels: RowFile, by: str, renamed: Mapping[str, str] | None = None) -> bool:
    """Write labels.jsonl, its change into the history first; False where nothing changed.

    That classes were `renamed` is kept even where no label has one of them now: an earlier one may.

    Killed between the two, it says the same the next time, and that is not written down twice.
    """
    if not (changed := labels.changed()) and project.labels.exists():
        done = changes(project)
        if not renamed or (done and done[-1].renamed == renamed):
            return False
    folder = project.data / "history"
    if project.labels.exists() and not _paths(folder):
        _append(folder, "as found", labels.lines_before, {})
    _append(folder, by, lambda: labels.lines(changed), renamed or {})
    return labels.write()


def changes(project: Project) -> list[Change]:
    """The history, oldest first."""
    found = []
    for path in _paths(project.data / "history"):
        with path.open("rb") as file:
            header = orjson.loads(next(file))
            images, renamed = sum(1 for _ in file), header.get("renamed", {})
            found.append(Change(int(path.stem), header["at"], header["by"], images, path, renamed))
    return found


def restore(project: Project, number: int) -> int:
    """Bring labels.jsonl back to what it was after change `number`; of how many images that changes the line.

    StageError where there is no such change, or where it has labels of what is no class any more. The
    restoring is itself a change, so it can be undone.
    """
    history = changes(project)
    if not any(change.number == number for change in history):
        last = f"1 to {history[-1].number}" if history else "none"
        raise StageError(f"{project.name} has no change {number}: there is {last}", "workflow history")
    labels = RowFile(project.labels)
    state: dict[str, Row] = {}
    for change in history:
        if change.number <= number:
            state |= {row["image"]: row for row in _rows(change.path)}
        state = {image: with_names(row, change.renamed) for image, row in state.items()}
    _refuse_unknown(project, number, list(state.values()))
    for image in {*(record.id for record in read_catalog(project.catalog)), *labels, *state}:
        labels.put(image, state.get(image) or sample_to_row(Sample(image, "unlabeled")))
    changed = len(labels.changed())
    save(project, labels, f"restore {number}")
    return changed


def with_names(row: Row, renamed: Mapping[str, str]) -> Row:
    """A line of labels.jsonl, its labels by their new names."""
    if not renamed:
        return row
    annotations = [a | {"label": renamed.get(a["label"], a["label"])} for a in row["annotations"]]
    return row | {"annotations": annotations}


def _refuse_unknown(project: Project, number: int, rows: Sequence[Row]) -> None:
    reviewed = (row for row in rows if row["state"] == "reviewed")
    used = Counter(a["label"] for row in reviewed for a in row["annotations"])
    if unknown := {name: n for name, n in sorted(used.items()) if name not in project.settings.labels}:
        named = ", ".join(f"{name!r} ({n})" for name, n in unknown.items())
        what = f"change {number} has labels that are no class of {project.name} any more: {named}"
        raise StageError(what, "add them to classes, restore, and then rename them")


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jsonl"), key=lambda path: int(path.stem))


def _rows(path: Path) -> Iterator[Row]:
    rows = read_rows(path)
    next(rows)
    return rows


def _append(folder: Path, by: str, lines: Callable[[], Iterable[bytes]], renamed: Mapping[str, str]) -> None:
    hashed = hashlib.sha256(orjson.dumps(renamed, option=orjson.OPT_SORT_KEYS) if renamed else b"")
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
        header = {"at": now, "by": by, "content": content} | ({"renamed": renamed} if renamed else {})
        file.write(orjson.dumps(header) + b"\n")
        file.writelines(lines())

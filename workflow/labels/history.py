"""Every state labels.jsonl has been in: data/history/, one file a change, none ever rewritten.

A file holds the new lines of the images that changed, behind a header that says when and by what, how many
lines there are and their digest, and which classes got another name. A state is what the files up to it say,
the later ones winning, in today's names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import orjson

from workflow.errors import StageError
from workflow.project.aside import move_aside
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import BOM, Row, atomic, read_catalog, readable_row, sample_to_row
from workflow.records import Sample

# Files of the history that are open at a time: a system allows a thousand or so.
OPEN = 64


@dataclass(frozen=True)
class Change:
    """One file of the history; `renamed` leads from a class's old name to its new one.

    `before` and `after` name what labels.jsonl said, where the file tells. `damage` says what is wrong with
    the file, and is empty where it holds just what was written.
    """

    number: int
    path: Path
    at: str = ""
    by: str = ""
    images: int = 0
    renamed: Mapping[str, str] = field(default_factory=dict)
    content: str = ""
    before: str = ""
    after: str = ""
    damage: str = ""


@dataclass(frozen=True)
class Restored:
    """How many images' lines changed, and what people must know of it."""

    images: int
    notes: tuple[str, ...] = ()


def save(project: Project, labels: RowFile, by: str, renamed: Mapping[str, str] | None = None) -> bool:
    """Write labels.jsonl, its change into the history first; False where nothing changed.

    That classes were `renamed` is kept even where no label has one of them now: an earlier one may. What
    somebody changed in labels.jsonl by hand since the last change is a change of its own, and kept too.

    Killed between the two, it says the same the next time, and that is not written down twice.
    """
    folder = project.data / "history"
    last = _last(folder)
    if project.labels.exists():
        before = _digest(labels.lines_before())
        if last is None:
            _append(folder, "as found", labels.lines_before, {}, "", before)
        elif last.after and before not in (last.before, last.after):
            edited = _edited(project, labels)
            _append(folder, "edited by hand", lambda: labels.lines_before(edited), {}, last.after, before)
    else:
        before = ""
    changed = labels.changed()
    if not changed and project.labels.exists() and (not renamed or (last and last.renamed == renamed)):
        return False
    after = _digest(labels.lines(labels))
    _append(folder, by, lambda: labels.lines(changed), renamed or {}, before, after)
    return labels.write()


def changes(project: Project) -> list[Change]:
    """The history, oldest first, each file read and compared with what it says of itself."""
    return [_read(path) for path in _paths(project.data / "history")]


def of_image(project: Project, image: str) -> Iterator[tuple[Change, Row]]:
    """The changes of one image's line, oldest first, each with the line as it was from then on."""
    wanted = image.encode()
    for change in changes(project):
        with change.path.open("rb") as file:
            next(file, b"")
            for line in file:
                # Most lines are other images': they are not worth parsing.
                if wanted in line and (row := readable_row(project.labels, line)) and row["image"] == image:
                    yield change, row


def restore(project: Project, number: int, partial: bool = False) -> Restored:
    """Bring labels.jsonl back to what it was after change `number`.

    StageError where there is no such change, where it has labels of what is no class any more, or where a
    file up to it is damaged or gone and it is not to be restored in part. A labels.jsonl that does not read
    is moved aside. The restoring is itself a change, so it can be undone.
    """
    history = changes(project)
    if not any(change.number == number for change in history):
        last = f"1 to {history[-1].number}" if history else "none"
        raise StageError(f"{project.name} has no change {number}: there is {last}", "workflow history")
    notes = _damages(history, number)
    if notes and not partial:
        fix = f"bring them back from a copy, or: workflow history {project.name} --restore {number} --partial"
        raise StageError(f"the history does not hold all of change {number}: {'; '.join(notes)}", fix)
    state = _State(history, number)
    _refuse_unknown(project, number, map(state.row, state))
    try:
        labels = RowFile(project.labels)
    except StageError as error:
        notes.append(f"{error.problem}; it is now {move_aside(project.labels)}")
        labels = RowFile(project.labels)
    for image in {*(record.id for record in read_catalog(project.catalog)), *labels, *state}:
        labels.put(image, state.row(image) or sample_to_row(Sample(image, "unlabeled")))
    changed = len(labels.changed())
    save(project, labels, f"restore {number}")
    return Restored(changed, tuple(notes))


def _damages(history: Sequence[Change], number: int) -> list[str]:
    """What is wrong with the files up to a change: a line each."""
    known = {change.number: change for change in history}
    gone = [f"{n:06d}.jsonl is gone" for n in range(1, number) if n not in known]
    return gone + [change.damage for change in history if change.number <= number and change.damage]


class _State:
    """What labels.jsonl said after a change, by default the last, in today's names.

    Held is where each image's line begins, in which file; the lines are read when they are asked for.
    """

    def __init__(self, history: Sequence[Change], number: int | None = None) -> None:
        self._history = history
        self._files: dict[int, IO[bytes]] = {}
        self._places: dict[str, tuple[int, int, int]] = {}
        for n, change in enumerate(history):
            if number is None or change.number <= number:
                self._index(n, change)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def row(self, image: str) -> Row:
        """An image's line; empty where it has none."""
        if image not in self._places:
            return {}
        n, begin, length = self._places[image]
        file = self._open(n)
        file.seek(begin)
        row: Row = orjson.loads(file.read(length))
        for change in self._history[n:]:
            row = with_names(row, change.renamed)
        return row

    def _index(self, n: int, change: Change) -> None:
        """Note the lines of a file below its first; of a damaged one those that read."""
        as_labels = change.path.parent / "labels.jsonl"
        with change.path.open("rb") as file:
            begin = len(next(file, b""))
            for line in file:
                if line.strip():
                    row = readable_row(as_labels, line) if change.damage else orjson.loads(line)
                    if row:
                        self._places[row["image"]] = (n, begin, len(line))
                begin += len(line)

    def _open(self, n: int) -> IO[bytes]:
        if n not in self._files:
            if len(self._files) == OPEN:
                self._files.pop(next(iter(self._files))).close()
            self._files[n] = self._history[n].path.open("rb")
        return self._files[n]


def _edited(project: Project, labels: RowFile) -> list[str]:
    """The images whose lines in labels.jsonl are not those of the history."""
    state = _State(changes(project))
    rows = map(orjson.loads, labels.lines_before())
    return [row["image"] for row in rows if row != state.row(row["image"])]


def with_names(row: Row, renamed: Mapping[str, str]) -> Row:
    """A line of labels.jsonl, its labels by their new names."""
    if not renamed:
        return row
    annotations = [a | {"label": renamed.get(a["label"], a["label"])} for a in row["annotations"]]
    return row | {"annotations": annotations}


def _refuse_unknown(project: Project, number: int, rows: Iterable[Row]) -> None:
    reviewed = (row for row in rows if row["state"] == "reviewed")
    used = Counter(a["label"] for row in reviewed for a in row["annotations"])
    if unknown := {name: n for name, n in sorted(used.items()) if name not in project.settings.labels}:
        named = ", ".join(f"{name!r} ({n})" for name, n in unknown.items())
        what = f"change {number} has labels that are no class of {project.name} any more: {named}"
        raise StageError(what, "add them to classes, restore, and then rename them")


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.jsonl"), key=lambda path: int(path.stem))


def _last(folder: Path) -> Change | None:
    """The newest file of the history, by its first line alone."""
    paths = _paths(folder)
    if not paths:
        return None
    with paths[-1].open("rb") as file:
        header = _header(next(file, b""))
    return _change(paths[-1], header, "" if header else "its first line does not read")


def _read(path: Path) -> Change:
    """A file of the history, compared with what its first line says of it."""
    with path.open("rb") as file:
        header = _header(next(file, b""))
        renamed = header.get("renamed", {})
        content, count = _content(file, renamed)
    damage = ""
    if not header:
        damage = f"the first line of {path.name} does not read"
    elif content != header["content"]:
        images = header.get("images")
        short = f"has {count} of {images} lines" if images not in (None, count) else "was changed"
        damage = f"{path.name} {short}"
    return _change(path, header, damage, count)


def _change(path: Path, header: Row, damage: str, images: int = 0) -> Change:
    fields = {key: header.get(key, "") for key in ("at", "by", "content", "before", "after")}
    return Change(
        int(path.stem), path, images=images, renamed=header.get("renamed", {}), damage=damage, **fields
    )


def _header(line: bytes) -> Row:
    """The first line of a file of the history; empty where it does not read."""
    try:
        header = orjson.loads(line.removeprefix(BOM))
        texts = [header[key] for key in ("at", "by", "content")]
        renamed = header.get("renamed", {})
        texts += [header.get("before", ""), header.get("after", ""), *renamed, *renamed.values()]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return {}
    return header if all(isinstance(text, str) for text in texts) else {}


def _content(lines: Iterable[bytes], renamed: Mapping[str, str]) -> tuple[str, int]:
    """Sixteen hex digits that name what a file of the history says below its first line, and in how many."""
    hashed, count = hashlib.sha256(), 0
    if renamed:
        hashed.update(orjson.dumps(renamed, option=orjson.OPT_SORT_KEYS))
    for line in lines:
        if line.strip():
            hashed.update(line.rstrip(b"\r\n") + b"\n")
            count += 1
    return hashed.hexdigest()[:16], count


def _digest(lines: Iterable[bytes]) -> str:
    return _content(lines, {})[0]


def _append(
    folder: Path,
    by: str,
    lines: Callable[[], Iterable[bytes]],
    renamed: Mapping[str, str],
    before: str,
    after: str,
) -> None:
    """Add a change of `lines`, which are gone through twice and never held."""
    (content, count), last = _content(lines(), renamed), _last(folder)
    if last and last.content == content:
        return
    number = last.number + 1 if last else 1
    now = datetime.now(UTC).isoformat(timespec="seconds")
    header = {"at": now, "by": by, "images": count, "content": content, "before": before, "after": after}
    with atomic(folder / f"{number:06d}.jsonl") as file:
        file.write(orjson.dumps(header | ({"renamed": renamed} if renamed else {})) + b"\n")
        file.writelines(lines())

"""JSON Lines on disk: sorted, streamed, atomic; and records to rows and back.

A file is either its old or its new self: content goes to a temporary name in the same folder, is
flushed to the disk, then renamed. Appended files may end in half a line after a crash; `read_rows`
drops that half only where `repair=True` says that the file is one of those.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from workflow.errors import StageError
from workflow.project.checks import Shape, shape_of
from workflow.project.sizes import Sizes, misfit, sizes_of
from workflow.records import Annotation, ImageRecord, Mask, Provenance, Relation, RotatedBox, Sample

Row = dict[str, Any]
BOM = b"\xef\xbb\xbf"


@contextmanager
def atomic(path: Path, flush: bool = True) -> Iterator[IO[bytes]]:
    """Open `path` for writing; it appears, whole, only when the block ends without an error.

    Without `flush` it may be lost if the machine fails: whoever writes thousands calls os.sync once.
    Whoever writes the same file meanwhile waits. What a killed writer left of it is written over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(_partial_name(path.name))
    with _named(path), _open_alone(partial) as file:
        try:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _partial_name(name: str) -> str:
    """What the unfinished content of a file is called: a system's names end at 255 bytes."""
    encoded = os.fsencode(name)
    short = name if len(encoded) < 200 else hashlib.sha256(encoded).hexdigest()[:16]
    return f".{short}.partial"


def _open_alone(partial: Path) -> IO[bytes]:
    """An empty file that no other writer has open: they wait, and then find another file in its place."""
    while True:
        file = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_still(partial, file):
            file.truncate(0)
            return file
        file.close()


def _is_still(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file has that name, which another writer may have given away or removed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let a failed write, say on a full disk, name its file: the system's own error does not."""
    try:
        yield
    except OSError as error:
        if not error.filename or str(error.filename).endswith(".partial"):
            error.filename = str(path)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    with atomic(path) as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def read_json(path: Path, default: Any = None) -> Any:
    """The file's value; `default` where there is no such file. StageError where it does not read.

    It is an object, or a list where that is the default. What .stages holds is made anew where it does not
    read: then it is the default too, if there is one.
    """
    kind = list if isinstance(default, list) else dict
    try:
        value = orjson.loads(path.read_bytes().removeprefix(BOM))
        problem = "" if isinstance(value, kind) else f"not a JSON {'list' if kind is list else 'object'}"
        if kind is list and not problem and not all(isinstance(item, str) for item in value):
            problem = "not a list of names"
    except FileNotFoundError:
        return default
    except orjson.JSONDecodeError as error:
        problem = f"not JSON ({error})"
    if not problem:
        return value
    if path.parent.name == ".stages" and default is not None:
        return default
    raise StageError(f"{path}: {problem}", "mend the file, or delete it and run again")


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write one JSON object a line, in the order given; returns how many."""
    count = 0
    with atomic(path) as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def write_rows_if_changed(path: Path, rows: list[Row]) -> bool:
    """Leave the file alone, its modification time too, where it already says just that."""
    content = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    if path.exists() and path.read_bytes() == content:
        return False
    write_bytes(path, content)
    return True


@contextmanager
def appending(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for `append_rows`."""
    with _named(path), path.open("ab") as file:
        yield file


def append_rows(file: IO[bytes], rows: Iterable[Row]) -> None:
    """Append whole lines in one write, so that a crash can cut only the last of them."""
    file.write(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    file.flush()


def read_rows(
    path: Path, repair: bool = False, shape: Shape | None = None, sizes: Sizes | None = None
) -> Iterator[Row]:
    """Stream the rows of a file; none where it does not exist. StageError names the lines that are not right.

    What is right follows from the file's name, else it is `shape`, and from `sizes`. Empty lines are passed
    over.
    """
    if path.exists():
        with path.open("rb") as file:
            for _, _, row in checked_lines(path, file, repair, shape, sizes):
                yield row


def checked_lines(
    path: Path,
    file: IO[bytes],
    repair: bool = False,
    shape: Shape | None = None,
    sizes: Sizes | None = None,
) -> Iterator[tuple[int, bytes, Row]]:
    """Where each line of an open file begins, the line, and its row; as `read_rows` says."""
    return ((begin, line, row) for begin, line, row, _ in _made_lines(path, file, repair, shape, sizes))


def _made_lines(
    path: Path,
    file: IO[bytes],
    repair: bool = False,
    shape: Shape | None = None,
    sizes: Sizes | None = None,
) -> Iterator[tuple[int, bytes, Row, Any]]:
    """The same, and what its shape makes of each row.

    A byte order mark before the first line, which editors write, is not of it. Where `sizes` of images are
    given, what is said of one must fit it.
    """
    shape = shape_of(path, annotation_from_row) or shape
    taken: dict[tuple[str, str], int] = {}
    begin = len(BOM) if file.read(len(BOM)) == BOM else 0
    file.seek(begin)
    lines = enumerate(file, 1)
    for number, line in lines:
        if line.strip():
            row, made, problem = _read(line, shape, number, taken, sizes)
            if problem and repair and not line.endswith(b"\n"):
                return
            if problem:
                rest = ((n, _read(text, shape, n, taken, sizes)[2]) for n, text in lines if text.strip())
                raise _damaged(path, [(number, problem), *((n, what) for n, what in rest if what)])
            yield begin, line, row, made
        begin += len(line)


def _read(
    line: bytes,
    shape: Shape | None,
    number: int,
    taken: dict[tuple[str, str], int],
    sizes: Sizes | None = None,
) -> tuple[Row, Any, str]:
    """A line's row, its record, and what is wrong with it; `taken` gets what no later line may say again."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {}, None, f"not a JSON line ({error})"
    if not isinstance(row, dict):
        return {}, None, f"not an object in braces but a {type(row).__name__}"
    made, problems = shape.check(line, row) if shape else (None, [])
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return {}, None, problems[0] + more
    for key in shape.unique if shape else ():
        first = taken.setdefault((key, row[key]), number)
        if first != number:
            return {}, None, f"{key} {row[key]!r} stands on line {first} already"
    return row, made, misfit(row, sizes) if sizes else ""


def _damaged(path: Path, problems: list[tuple[int, str]]) -> StageError:
    """All that is wrong with a file in one line: the first three, and how many more."""
    (number, what), *others = problems
    named = [f"{path}:{number}: {what}", *(f"line {n}: {text}" for n, text in others[:2])]
    if len(others) > 2:
        named.append(f"and {len(others) - 2} more lines")
    fix = "mend or delete those lines" if others else "mend or delete that line"
    if path.name == "labels.jsonl":
        fix += ", or take an earlier state: workflow history --restore N"
    return StageError("; ".join(named), fix)


def readable_row(path: Path, line: bytes) -> Row | None:
    """The row of one line, as it would stand in `path`; None where it is not right."""
    row, _, problem = _read(line, shape_of(path, annotation_from_row), 1, {})
    return None if problem else row


def cached_rows(path: Path, shape: Shape | None = None) -> list[Row]:
    """The rows of an append-only cache, ready for more: none, and the file gone, where they do not read."""
    drop_half_line(path)
    try:
        return list(read_rows(path, shape=shape))
    except StageError:
        path.unlink()
        return []


def drop_half_line(path: Path) -> None:
    """Cut what a crash left of an unfinished last line, so that appending goes on cleanly."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)


def digest(value: Any) -> str:
    """Sixteen hex digits that name a JSON-like value."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Sixteen hex digits that name the content of a file or of a folder; "absent" where there is none."""
    if not path.exists():
        return "absent"
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest([[str(p.relative_to(path)), file_digest(p)] for p in files])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def annotation_to_row(annotation: Annotation) -> Row:
    row: Row = {"label": annotation.label, "provenance": _said(annotation.provenance)}
    for name in ("box", "rotated_box", "mask", "keypoints", "score", "id", "polygons", "parent"):
        value = getattr(annotation, name)
        if value is not None and value != "":
            row[name] = _said(value) if is_dataclass(value) else value
    return row | ({"ignored": True} if annotation.ignored else {})


def _said(record: Any) -> Row:
    """A small record's fields but the empty ones; dataclasses.asdict copies deeply, ten times as slow."""
    fields = ((name, getattr(record, name)) for name in record.__slots__)
    return {name: value for name, value in fields if value != ""}


def annotation_from_row(row: Row) -> Annotation:
    return Annotation(
        label=row["label"],
        provenance=Provenance(**row["provenance"]),
        box=tuple(row["box"]) if row.get("box") is not None else None,
        rotated_box=RotatedBox(**row["rotated_box"]) if row.get("rotated_box") is not None else None,
        mask=Mask(**row["mask"]) if row.get("mask") is not None else None,
        keypoints=_points(row["keypoints"]) if row.get("keypoints") is not None else None,
        polygons=tuple(_points(p) for p in row["polygons"]) if row.get("polygons") is not None else None,
        parent=row.get("parent", ""),
        score=row.get("score"),
        id=row.get("id", ""),
        ignored=row.get("ignored", False),
    )


def _points(points: Iterable[Iterable[float]]) -> Any:
    return tuple(tuple(point) for point in points)


def relation_to_row(relation: Relation) -> Row:
    """{from_id, to_id, type, direction, labels} and whatever else it came with: as Label Studio has it."""
    row: Row = {"from_id": relation.first, "to_id": relation.last, "type": "relation"}
    if relation.direction:
        row["direction"] = relation.direction
    if relation.labels is not None:
        row["labels"] = list(relation.labels)
    return row | (orjson.loads(relation.more) if relation.more else {})


def relation_from_row(row: Row) -> Relation:
    """The relation whose `relation_to_row` this is; one end of it is empty where the row names none."""
    more = {key: value for key, value in row.items() if key not in ("from_id", "to_id", "type")}
    direction, labels = "", None
    if isinstance(more.get("direction"), str) and more["direction"]:
        direction = more.pop("direction")
    if isinstance(more.get("labels"), list) and all(isinstance(name, str) for name in more["labels"]):
        labels = tuple(more.pop("labels"))
    rest = orjson.dumps(more, option=orjson.OPT_SORT_KEYS).decode() if more else ""
    first, last = (str(row.get(key) or "") for key in ("from_id", "to_id"))
    return Relation(first, last, direction, labels, rest)


def sample_to_row(sample: Sample) -> Row:
    annotations = [annotation_to_row(a) for a in sample.annotations]
    return {"image": sample.image, "state": sample.state, "annotations": annotations, **sample.meta}


def sample_from_row(row: Row) -> Sample:
    meta = {k: v for k, v in row.items() if k not in ("image", "state", "annotations")}
    return Sample(row["image"], row["state"], tuple(annotation_from_row(a) for a in row["annotations"]), meta)


def read_catalog(path: Path) -> list[ImageRecord]:
    """The images of a project, sorted by path. StageError where `catalog` has not run."""
    if not path.exists():
        raise StageError(f"{path} does not exist: the images are not catalogued", "workflow catalog")
    return [ImageRecord(**row) for row in read_rows(path)]


def read_samples(path: Path, records: Iterable[ImageRecord] | None = None) -> dict[str, Sample]:
    """Samples by image id; none where the file does not exist.

    With the catalog's `records` at hand, StageError also names what does not fit the size of its image.
    """
    return {sample.image: sample for sample in stream_samples(path, records)}


def stream_samples(path: Path, records: Iterable[ImageRecord] | None = None) -> Iterator[Sample]:
    """The samples of a file one by one, checked as `read_samples` says; none where there is no file."""
    return (sample for _, _, sample in located_samples(path, records))


def located_samples(
    path: Path, records: Iterable[ImageRecord] | None = None
) -> Iterator[tuple[int, int, Sample]]:
    """The same, with where the line of each begins, and its length in bytes."""
    sizes = None if records is None else sizes_of(records)
    if path.exists():
        with path.open("rb") as file:
            for begin, line, row, made in _made_lines(path, file, sizes=sizes):
                yield begin, len(line), made if isinstance(made, Sample) else sample_from_row(row)

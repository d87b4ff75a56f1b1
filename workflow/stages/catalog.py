"""Catalog the raw images: content hash, upright size, duplicates, quarantine, leak-safe split."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from workflow.errors import ImageError, StageError
from workflow.images import decode
from workflow.project.paths import Project
from workflow.project.rows import Row, append_rows, appending, cached_rows, digest, read_rows, write_rows
from workflow.project.settings import SplitRule
from workflow.records import ImageRecord, Split
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner


def plan(project: Project) -> Plan:
    listing = digest([(path, size, changed) for path, size, changed in _listing(project.images)])
    settings = {"images": project.settings.images.model_dump(), "split": project.settings.split.model_dump()}
    return Plan("catalog", 1, settings, {"images": listing}, (project.catalog, project.quarantine))


def run(project: Project, workers: int | None = None, force: bool = False) -> Outcome:
    """Write catalog.jsonl, duplicates.jsonl and quarantine.jsonl. StageError if there is no image."""
    return Runner(project.marks).run(plan(project), lambda _: _catalog(project, workers), force)


def _catalog(project: Project, workers: int | None) -> str:
    listing = _listing(project.images)
    if not listing:
        formats = " ".join(sorted(decode.SUFFIXES))
        raise StageError(
            f"{project.images} holds no images ({formats})", "put images there, or set images.folder"
        )
    measured = _measure(project, listing, workers)
    good = [row for row in measured if "id" in row]
    bad = [{k: row[k] for k in ("path", "reason", "problem")} for row in measured if "reason" in row]
    write_rows(project.quarantine, bad)
    if not good:
        raise StageError(f"none of {len(listing)} images can be read", f"see {project.quarantine}")
    records, duplicates = _records(good, project.settings.split)
    write_rows(project.duplicates, duplicates)
    write_rows(project.catalog, (asdict(r) for r in records))
    counts = ", ".join(f"{sum(r.split == s for r in records)} {s}" for s in ("train", "validation", "test"))
    return f"{len(records)} images ({counts}), {len(duplicates)} duplicates, {len(bad)} quarantined"


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """Relative path, size in bytes and modification time in ns of every image file, sorted."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in names:
            path = Path(root, name)
            if path.suffix.lower() in decode.SUFFIXES and not name.startswith(".") and path.is_file():
                status = path.stat()
                found.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return sorted(found)


def _measure(project: Project, listing: list[tuple[str, int, int]], workers: int | None) -> list[Row]:
    """Hash and decode every file once; what an earlier run measured is taken from its cache."""
    cache = project.marks / "measured.jsonl"
    cache.parent.mkdir(parents=True, exist_ok=True)
    limit = project.settings.images.max_megapixels
    known = {tuple(row["stat"]): row for row in cached_rows(cache) if row["limit"] == limit}
    rows = {stat: known[stat] for stat in listing if stat in known}
    fresh = [stat for stat in listing if stat not in rows]
    with (
        appending(cache) as file,
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        progress("reading images", len(fresh)) as advance,
    ):
        for stat, row in zip(
            fresh, pool.map(lambda s: _measure_one(project.images, s, limit), fresh), strict=True
        ):
            append_rows(file, [row])
            rows[stat] = row
            advance()
    return [rows[stat] for stat in listing]


def _measure_one(folder: Path, stat: tuple[str, int, int], limit: float) -> Row:
    row: Row = {"stat": list(stat), "limit": limit, "path": stat[0]}
    path = folder / stat[0]
    try:
        height, width = decode.from_file(path, limit).shape[:2]
    except ImageError as error:
        return row | {"reason": error.reason, "problem": error.problem}
    with path.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return row | {"id": name, "width": width, "height": height}


def _records(rows: Iterable[Row], rule: SplitRule) -> tuple[list[ImageRecord], list[Row]]:
    """One record a content, the first path in order; the other paths are its duplicates."""
    records: dict[str, ImageRecord] = {}
    duplicates = []
    for row in rows:
        if row["id"] in records:
            duplicates.append({"path": row["path"], "of": records[row["id"]].path, "id": row["id"]})
            continue
        group = _group(row["path"], rule)
        split = assign_split(group or row["id"], rule)
        records[row["id"]] = ImageRecord(row["id"], row["path"], row["width"], row["height"], split, group)
    return list(records.values()), duplicates


def _group(path: str, rule: SplitRule) -> str | None:
    found = re.search(rule.group, path) if rule.group else None
    return found[1] if found else None


def assign_split(key: str, rule: SplitRule) -> Split:
    """The split of an image or group, from a hash of its name alone: new images never move old ones."""
    number = int.from_bytes(hashlib.sha256((rule.salt + key).encode()).digest()[:8], "big") / 2**64
    if number < rule.test:
        return "test"
    return "validation" if number < rule.test + rule.validation else "train"


def quarantined(project: Project) -> Iterator[Row]:
    """The files that could not be read: path, reason, problem."""
    return read_rows(project.quarantine)

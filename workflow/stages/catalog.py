"""Catalog the raw images: content hash, upright size, duplicates, quarantine, leak-safe split."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from workflow.errors import ImageError, StageError
from workflow.images import copies, decode, depth
from workflow.images.depth import Gray
from workflow.images.listing import Listing, Stat, list_elsewhere, list_images
from workflow.project.paths import Project
from workflow.project.remote import Remote
from workflow.project.rows import (
    Row,
    append_rows,
    appending,
    atomic,
    cached_rows,
    digest,
    read_rows,
    write_rows,
)
from workflow.project.settings import Images, SplitRule
from workflow.records import ImageRecord, Split
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner


def plan(project: Project) -> Plan:
    seen = digest(_listing(project).to_json())
    settings = {"images": project.settings.images.model_dump(), "split": project.settings.split.model_dump()}
    return Plan("catalog", 3, settings, {"images": seen}, (project.catalog, project.quarantine))


def run(project: Project, workers: int | None = None, force: bool = False) -> Outcome:
    """Write catalog.jsonl, duplicates.jsonl, quarantine.jsonl, and copies/ of what browsers do not show.

    StageError if there is no image.
    """
    return Runner(project.marks).run(plan(project), lambda _: _catalog(project, workers), force)


def _catalog(project: Project, workers: int | None) -> str:
    listing = _listing(project)
    if not listing.files and not listing.strange:
        formats = " ".join(sorted(decode.SUFFIXES))
        raise StageError(
            f"{project.image_root} holds no images ({formats}){listing.passed_over}",
            "put images there, or set images.folder",
        )
    measured = _measure(project, listing.files, workers)
    good = [row for row in measured if "id" in row]
    bad = [{k: row[k] for k in ("path", "reason", "problem")} for row in measured if "reason" in row]
    bad += [_strange_name(path) for path in listing.strange]
    write_rows(project.quarantine, bad)
    if not good:
        count = len(measured) + len(listing.strange)
        raise StageError(f"none of {count} images can be read", f"see {project.quarantine}")
    records, duplicates = _records(good, project.settings.split)
    write_rows(project.duplicates, duplicates)
    records, copied = _copy(project, records, {row["path"]: row for row in good}, workers)
    write_rows(project.catalog, map(_row, records))
    counts = ", ".join(f"{sum(r.split == s for r in records)} {s}" for s in ("train", "validation", "test"))
    summary = f"{len(records)} images ({counts}){copied}{listing.passed_over}"
    return f"{summary}, {len(duplicates)} duplicates, {len(bad)} quarantined"


def _listing(project: Project) -> Listing:
    root = project.image_root
    return list_elsewhere(root.files()) if isinstance(root, Remote) else list_images(root, project.copies)


def _row(record: ImageRecord) -> Row:
    """Without a copy where there is none, as version 0.1.0 wrote it, so that nothing is made anew."""
    return {name: value for name, value in asdict(record).items() if name != "png" or value}


def _strange_name(path: str) -> Row:
    return {
        "path": path,
        "reason": "name-not-utf-8",
        "problem": f"{path}: its name is not UTF-8 -> rename it",
    }


def _measure(project: Project, listing: list[Stat], workers: int | None) -> list[Row]:
    """Hash and decode every file once; what an earlier run measured is taken from its cache."""
    cache = project.marks / "measured.jsonl"
    cache.parent.mkdir(parents=True, exist_ok=True)
    settings = project.settings.images
    limit = [settings.max_megapixels, settings.memory]
    known = {tuple(row["stat"]): row for row in cached_rows(cache) if row.get("limit") == limit}
    # Where a link leads is not in its size and time.
    files = [stat for stat in listing if not (project.image_root / stat[0]).is_symlink()]
    rows = {stat: known[stat] for stat in files if stat in known}
    fresh = [stat for stat in listing if stat not in rows]

    def measure(stat: Stat) -> Row:
        row: Row = {"stat": list(stat), "limit": limit, "path": stat[0]}
        return row | _measure_one(project.image_root / stat[0], project.image_root, settings)

    with (
        appending(cache) as file,
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        progress("reading images", len(fresh)) as advance,
    ):
        for stat, row in zip(fresh, pool.map(measure, fresh), strict=True):
            append_rows(file, [row])
            rows[stat] = row
            advance()
    return [rows[stat] for stat in listing]


def _measure_one(path: Path | Remote, folder: Path | Remote, settings: Images) -> Row:
    if outside := _leads_out(path, folder):
        # Nobody would see it: Label Studio serves nothing that a link leads to elsewhere.
        what = f"{path.name} links to {outside}, out of the image folder: put the file itself there"
        return {"reason": "links-elsewhere", "problem": what}
    try:
        look = decode.look(path, settings.max_megapixels, settings.memory)
    except ImageError as error:
        return {"reason": error.reason, "problem": error.problem}
    with path.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    row = {"id": name, "width": look.width, "height": look.height}
    # What is not as usual only, as most of a hundred thousand rows are.
    unusual = {"copy": look.copy, "gray": look.gray and asdict(look.gray), "levels": look.levels}
    return row | {key: value for key, value in unusual.items() if value}


def _leads_out(path: Path | Remote, folder: Path | Remote) -> Path | None:
    """Where a link leads that leaves the folder."""
    if isinstance(path, Remote) or isinstance(folder, Remote) or not path.is_symlink():
        return None
    return None if path.resolve().is_relative_to(folder) else path.resolve()


def _copy(
    project: Project, records: list[ImageRecord], rows: dict[str, Row], workers: int | None
) -> tuple[list[ImageRecord], str]:
    """Make the copies that are not there yet and write copies.jsonl; the records with their copies' names.

    The second value is what was done, for the summary.
    """
    settings = project.settings.images
    grays = {path: Gray(**row["gray"]) for path, row in rows.items() if "gray" in row}
    stated = {path: tuple(row["levels"]) for path, row in rows.items() if "levels" in row}
    levels = copies.levels_of(grays, stated, settings.depth)

    def copy(record: ImageRecord) -> ImageRecord:
        black_and_white = levels.get(record.path)
        target = project.copies / copies.name(record.id, black_and_white)
        if not target.exists():
            limits = (settings.max_megapixels, settings.memory)
            with atomic(target) as file:
                copies.write(project.image_path(record.path), file, *limits, black_and_white)
        advance()
        return replace(record, png=target.name)

    shown = [record for record in records if "copy" in rows[record.path]]
    with (
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        progress("copying what browsers do not show", len(shown)) as advance,
    ):
        copied = {record.id: record for record in pool.map(copy, shown)}
    listed = [{"path": r.path, "copy": r.png, "why": rows[r.path]["copy"]} for r in copied.values()]
    depths = {row["path"]: depth.describe(levels[row["path"]]) for row in listed if row["path"] in levels}
    write_rows(
        project.copied, (r | {"gray": depths[r["path"]]} if r["path"] in depths else r for r in listed)
    )
    gray = "".join(f", {count} gray of {bits}" for bits, count in sorted(Counter(depths.values()).items()))
    did = f"; {len(copied)} shown as copies{gray}" if copied else ""
    return [copied.get(record.id, record) for record in records], did


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
    match = re.search(rule.group, path) if rule.group else None
    return match[1] if match else None


def assign_split(key: str, rule: SplitRule) -> Split:
    """The split of an image or group, from a hash of its name alone: new images never move old ones."""
    number = int.from_bytes(hashlib.sha256((rule.salt + key).encode()).digest()[:8], "big") / 2**64
    if number < rule.test:
        return "test"
    return "validation" if number < rule.test + rule.validation else "train"


def quarantined(project: Project) -> Iterator[Row]:
    """The files that could not be read: path, reason, problem."""
    return read_rows(project.quarantine)


def copied(project: Project) -> list[str]:
    """Why images are shown as copies, a line a reason, most images first."""
    whys = Counter(row["why"] for row in read_rows(project.copied))
    return [f"{count} shown as copies: {why}" for why, count in whys.most_common()]

"""Catalog the raw images: content hash, upright size, duplicates, quarantine, leak-safe split."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

import orjson

from workflow.alike import groups
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
    checked_lines,
    digest,
    drop_half_line,
    read_rows,
    write_rows,
)
from workflow.project.settings import Images, SplitRule
from workflow.records import ImageRecord, Split
from workflow.running.ahead import each_ahead
from workflow.running.cores import cores
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner

# Files that a thread looks at before it hands on what it measured.
BATCH = 8
# What a line of measures.jsonl says of an image.
MEASURES = ("id", "sha256", "orientation", "dhash", "mirrored", "down", "brightness", "blur")


@dataclass
class _Others:
    """What is no record: files that are no good, and the rows of unusual images by their paths."""

    bad: list[Row] = field(default_factory=list)
    unusual: dict[str, Row] = field(default_factory=dict)


def plan(project: Project) -> Plan:
    seen = digest(_listing(project).to_json())
    rule = project.settings.split
    split = rule.model_dump(exclude=set() if rule.near_duplicates else {"near_duplicates"})
    settings = {"images": project.settings.images.model_dump(), "split": split}
    inputs: dict[str, Path | str] = {"images": seen}
    inputs |= {"set aside": project.set_aside} if project.set_aside.exists() else {}
    return Plan("catalog", 3, settings, inputs, (project.catalog, project.quarantine))


def run(project: Project, workers: int | None = None, force: bool = False) -> Outcome:
    """Write catalog.jsonl, duplicates.jsonl, quarantine.jsonl, measures.jsonl, and copies/ of what browsers
    do not show.

    With `force` also those images are measured that version 0.1.0 catalogued, which took no measures.
    StageError if there is no image.
    """
    return Runner(project.marks).run(plan(project), lambda _: _catalog(project, workers, force), force)


def _catalog(project: Project, workers: int | None, complete: bool) -> str:
    listing = _listing(project)
    if not listing.files and not listing.strange:
        formats = " ".join(sorted(decode.SUFFIXES))
        raise StageError(
            f"{project.image_root} holds no images ({formats}){listing.passed_over}",
            "put images there, or set images.folder",
        )
    others = _Others()
    places = _places(project, listing.files, complete)
    rows = _measure(project, listing.files, places, workers)
    records, duplicates = _records(_sort_out(rows, others), project.settings.split)
    aside = {row["image"] for row in read_rows(project.set_aside)}
    left = f", {len(aside & {r.id for r in records})} set aside" if aside else ""
    records = [record for record in records if record.id not in aside]
    others.bad += [_strange_name(path) for path in listing.strange]
    write_rows(project.quarantine, others.bad)
    if not records:
        raise StageError(f"none of {len(others.bad)} images can be read", f"see {project.quarantine}")
    write_rows(project.duplicates, duplicates)
    records, copied = _copy(project, records, others.unusual, workers)
    write_rows(project.measures, _measures(project, (places[r.path] for r in records)))
    records, joined = _join(project, records)
    write_rows(project.catalog, map(_row, records))
    measured = sum(_is_complete(row) for row in read_rows(project.measures))
    counts = ", ".join(f"{sum(r.split == s for r in records)} {s}" for s in ("train", "validation", "test"))
    summary = f"{len(records)} images ({counts}){copied}{listing.passed_over}{joined}"
    less = len(records) - measured
    without = f", {less} without measures (take them: --force)" if less else ""
    return f"{summary}, {len(duplicates)} duplicates, {len(others.bad)} quarantined{left}{without}"


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


def _sort_out(rows: Iterable[Row], others: _Others) -> Iterator[Row]:
    """The rows of good images."""
    for row in rows:
        if "reason" in row:
            others.bad.append({key: row[key] for key in ("path", "reason", "problem")})
            continue
        if not row.keys().isdisjoint(("copy", "gray", "levels")):
            others.unusual[row["path"]] = row
        yield row


def _cache(project: Project) -> Path:
    """A line a file that was measured, in any earlier run too; a later line of a file counts."""
    return project.marks / "measured.jsonl"


def _limit(project: Project) -> list[float | None]:
    return [project.settings.images.max_megapixels, project.settings.images.memory]


def _measure(
    project: Project, listing: Sequence[Stat], places: dict[str, int], workers: int | None
) -> Iterator[Row]:
    """A row a file, in their order. Each that has no line in the cache is read once, and gets its place."""
    fresh = [stat for stat in listing if stat[0] not in places]
    root, limit, settings = project.image_root, _limit(project), project.settings.images

    def measure(batch: Sequence[Stat]) -> list[Row]:
        heads: list[Row] = [{"stat": list(stat), "limit": limit, "path": stat[0]} for stat in batch]
        return [head | _measure_one(root / head["path"], root, settings) for head in heads]

    threads = workers or cores()
    batches = [fresh[start : start + BATCH] for start in range(0, len(fresh), BATCH)]
    with (
        appending(_cache(project)) as file,
        _cache(project).open("rb") as lines,
        progress("reading images", len(fresh)) as advance,
        closing(each_ahead(measure, batches, 2 * threads, threads)) as measured,
    ):
        for stat in listing:
            if stat[0] not in places:
                batch = next(measured)
                for row in batch:
                    places[row["path"]] = file.tell()
                    append_rows(file, [row])
                advance(len(batch))
            yield _line(lines, places[stat[0]])


def _line(lines: IO[bytes], place: int) -> Row:
    lines.seek(place)
    return orjson.loads(lines.readline())


def _measures(project: Project, places: Iterable[int]) -> Iterator[Row]:
    """The lines of measures.jsonl for images whose lines in the cache begin there, where these have any."""
    with _cache(project).open("rb") as lines:
        for place in places:
            row = _line(lines, place)
            if "dhash" in row:
                yield {key: row[key] for key in MEASURES if key in row}


def _places(project: Project, listing: Sequence[Stat], complete: bool) -> dict[str, int]:
    """Where in the cache the line of each file begins that is what it was when it was measured, by path.

    Nothing where the cache does not read: then it is gone. `complete` passes over lines without measures.
    """
    cache, limit = _cache(project), _limit(project)
    cache.parent.mkdir(parents=True, exist_ok=True)
    drop_half_line(cache)
    if not cache.exists():
        return {}
    stats = {stat[0]: stat for stat in listing}
    places: dict[str, int] = {}
    try:
        with cache.open("rb") as file:
            for begin, _, row in checked_lines(cache, file):
                stat = stats.get(row["path"])
                if stat is None or row["stat"] != list(stat) or row["limit"] != limit:
                    continue
                # Where a link leads is not in its size and time.
                as_before = row.get("target", "") == _target(project.image_root / stat[0])
                if as_before and not (complete and "id" in row and not _is_complete(row)):
                    places[stat[0]] = begin
    except StageError:
        cache.unlink()
        return {}
    return places


def _target(path: Path | Remote) -> str:
    """The file to which a link leads in the end; empty for what is no link."""
    return os.path.realpath(str(path)) if path.is_symlink() else ""


def _measure_one(path: Path | Remote, folder: Path | Remote, settings: Images) -> Row:
    target = _target(path)
    row: Row = {"target": target} if target else {}
    if target and not Path(target).is_relative_to(str(folder)):
        # Nobody would see it: Label Studio serves nothing that a link leads to elsewhere.
        what = f"{path.name} links to {target}, out of the image folder: put the file itself there"
        return row | {"reason": "links-elsewhere", "problem": what}
    try:
        look = decode.look(path, settings.max_megapixels, settings.memory)
    except ImageError as error:
        return row | {"reason": error.reason, "problem": error.problem}
    row |= {"id": look.sha256[:16], "width": look.width, "height": look.height}
    # What is not as usual only, as most of a hundred thousand rows are.
    unusual = {"copy": look.copy, "gray": look.gray and asdict(look.gray), "levels": look.levels}
    row |= {key: value for key, value in unusual.items() if value}
    return row | {"sha256": look.sha256, "orientation": look.orientation} | asdict(look.thumbnail)


def _is_complete(row: Row) -> bool:
    return row.keys() >= set(MEASURES)


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

    shown = [record for record in records if "copy" in rows.get(record.path, ())]
    threads = workers or cores()
    with (
        progress("copying what browsers do not show", len(shown)) as advance,
        closing(each_ahead(copy, shown, 2 * threads, threads)) as copies_made,
    ):
        copied = {record.id: record for record in copies_made}
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


def _join(project: Project, records: list[ImageRecord]) -> tuple[list[ImageRecord], str]:
    """The records with near-copies in one group, if they are wanted so, and what to say of it."""
    rule = project.settings.split

    def split_of(key: str) -> Split:
        return assign_split(key, rule)

    measures = list(read_rows(project.measures)) if rule.near_duplicates else []
    return groups.join(project, records, measures, split_of, rule.near_duplicates)


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

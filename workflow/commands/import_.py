"""Import labels that other tools wrote: their images into the project, their labels as reviewed ones.

Or as predictions. What a person labeled here is never replaced, what an earlier import did is. All that is
wrong with a source is said at once, before anything is written, and all that cannot be carried is counted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from workflow.commands.import_images import copy_images
from workflow.commands.import_source import Entry, read_source, resolve
from workflow.errors import FormatError
from workflow.formats.page import Losses, Options
from workflow.labels import history
from workflow.labels.renames import lock_schema
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import (
    Row,
    digest,
    read_catalog,
    read_rows,
    relation_to_row,
    sample_to_row,
    write_rows_if_changed,
)
from workflow.records import ImageRecord, Provenance, Sample
from workflow.running.runner import Outcome
from workflow.stages import catalog

Target = Literal["labels", "predictions"]


@dataclass
class Result:
    """What an import did: `lines` say, a reason each, what could not be carried."""

    outcome: Outcome
    lines: list[str] = field(default_factory=list)


def run(
    project: Project,
    name: str,
    source: Path,
    images: Path | None = None,
    target: Target = "labels",
    class_map: Mapping[str, str] | None = None,
    dry_run: bool = False,
    options: Options | None = None,
) -> Result:
    """Bring the labels at `source`, of the format `name`, into labels.jsonl or predictions/import-*.jsonl.

    Images are looked for below `images`, beside the source, and in the project; those that are not in the
    project are copied there. `class_map` renames the source's classes; one that it leads to "" is left out.
    `options` are what people say of the source that it does not say itself.
    FormatError where the source is broken, has other classes or does not fit the task: then nothing is done.
    """
    start = time.perf_counter()
    labels = target == "labels"
    source = resolve(project, name, source)
    title = name if labels else _title(name, source)
    provenance = Provenance("import" if labels else "model", title)
    options = replace(options or Options(), class_map=class_map or {})
    entries, disputes, losses = read_source(project, name, source, images, provenance, options)
    copied = 0
    if not dry_run:
        lock_schema(project)
        copied = copy_images(project, entries, losses)
        catalog.run(project)
        entries = _readable(entries, read_catalog(project.catalog), losses)
    name_there = os.fsencode(source.name).decode(errors="backslashreplace")
    revision = name_there if labels else digest([e.rows() for e in entries])
    provenance = replace(provenance, revision=revision, at=datetime.now(UTC).isoformat(timespec="seconds"))
    samples = {e.id: _sample(e, title, labels, provenance) for e in entries}
    path = project.labels if labels else project.data / "predictions" / f"{title}.jsonl"
    left = _left_to_people(project, samples) if labels else set()
    did = _summary(project, [s for image, s in samples.items() if image not in left], len(left))
    by = f"import {name}" if labels else ""
    changed = dry_run or _write(project, path, _rows(project, samples, left, labels), by)
    if labels:
        disputed = _disputed(entries) + len(disputes)
        losses.add("images on which people disagree (see disagreements.jsonl)", count=disputed)
        if not dry_run:
            disputes |= {e.id: e.disagreement or {} for e in entries}
            left = _left_to_people(project, disputes)
            _write_disagreements(project, {i: row for i, row in disputes.items() if i not in left})
    did = f"would be {did}" if dry_run else f"{did}, {copied} images copied; in {path}"
    outcome = Outcome("import", time.perf_counter() - start, did, skipped=not changed)
    return Result(outcome, losses.lines() + _unused(project, entries))


def parse_class_map(pairs: Sequence[str]) -> dict[str, str]:
    """old=new, as the command line has it. FormatError where there is no `=`."""
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise FormatError(f"--class-map {wrong[0]!r} is no OLD=NEW")
    return dict(pair.split("=", 1) for pair in pairs)


def parse_columns(said: str) -> Literal["", "last", "second"]:
    """Where the score stands, as the command line has it: a word, or a whole line's columns by name.

    FormatError where that says neither last nor second.
    """
    words = re.split(r"[\s,]+", said.strip().lower())
    places = [place for place, word in enumerate(words) if word in ("score", "conf", "confidence")]
    if not said or words == ["last"] or (len(places) == 1 and 1 < places[0] == len(words) - 1):
        return "last" if said else ""
    if words == ["second"] or places == [1] and len(words) > 2:
        return "second"
    what = f"--columns {said!r} does not say where the score stands"
    raise FormatError(what, "--columns last, --columns second, or --columns 'class score cx cy w h'")


def _title(name: str, source: Path) -> str:
    """What imported predictions are called: their file, and the annotator."""
    return "import-" + re.sub(r"[^a-z0-9]+", "-", f"{name} {source.stem}".lower()).strip("-")


def _readable(entries: list[Entry], catalogued: list[ImageRecord], losses: Losses) -> list[Entry]:
    """The entries whose images the catalog could read."""
    records = {r.id: r for r in catalogued}
    for entry in entries:
        if entry.id not in records:
            losses.add("images that cannot be read: see quarantine.jsonl", entry.image.name)
        elif entry.split and entry.split != records[entry.id].split:
            losses.add("images whose split here is another than in the source", entry.image.name)
    return [entry for entry in entries if entry.id in records]


def _sample(entry: Entry, name: str, labels: bool, provenance: Provenance) -> Sample:
    """Name every region, the same on every run, so that the ledger can follow it."""
    given = {a.id: digest([entry.id, name, n])[:10] for n, a in enumerate(entry.annotations) if a.id}
    annotations = tuple(
        replace(
            a,
            id=given.get(a.id) or digest([entry.id, name, n])[:10],
            parent=given.get(a.parent, ""),
            provenance=provenance,
        )
        for n, a in enumerate(entry.annotations)
    )
    if not labels:
        return Sample(entry.id, "predicted", annotations)
    meta: Row = {"imported": name, "at": provenance.at}
    if entry.relations:
        ends = [replace(r, first=given[r.first], last=given[r.last]) for r in entry.relations]
        meta["relations"] = [relation_to_row(relation) for relation in ends]
    return Sample(entry.id, "reviewed", annotations, meta)


def _left_to_people(project: Project, images: Mapping[str, object]) -> set[str]:
    """Of the images, those that a person labeled or skipped in Label Studio, or edited in the App."""
    decided = (row for row in read_rows(project.labels) if row["state"] in ("reviewed", "skipped"))
    return {row["image"] for row in decided if "imported" not in row or "edited" in row} & images.keys()


def _rows(project: Project, samples: Mapping[str, Sample], left: set[str], labels: bool) -> list[Row]:
    """The lines to be written: all predictions, or the labels merged into those that are there."""
    fresh = {image: sample_to_row(sample) for image, sample in samples.items() if image not in left}
    if not labels:
        return list(fresh.values())
    images = [record.id for record in read_catalog(project.catalog)]
    unlabeled = {image: sample_to_row(Sample(image, "unlabeled")) for image in images}
    rows = unlabeled | {row["image"]: row for row in read_rows(project.labels)} | fresh
    return [row for _, row in sorted(rows.items())]


def _write(project: Project, path: Path, rows: list[Row], by: str) -> bool:
    """Replace the file, but not a line that would say only when it was imported again.

    Labels, changed `by` that import, go into their history too.
    """
    old = {row["image"]: row for row in read_rows(path)}
    lines_by_image = {image: _without_time(row) for image, row in old.items()}
    kept = [old[r["image"]] if lines_by_image.get(r["image"]) == _without_time(r) else r for r in rows]
    if not by:
        return write_rows_if_changed(path, kept)
    file = RowFile(path)
    for row in kept:
        file.put(row["image"], row)
    return history.save(project, file, by)


def _disputed(entries: Sequence[Entry]) -> int:
    return sum(entry.disagreement is not None for entry in entries)


def _write_disagreements(project: Project, disputes: Mapping[str, Row]) -> None:
    """List where the people of the source differ, as pull does, in place of what was said of those images.

    What the project has no image of is not listed.
    """
    files = {record.id: record.path for record in read_catalog(project.catalog)}
    rows = RowFile(project.disagreements)
    for image in disputes.keys() & files.keys():
        about = {"image": image, "file": files[image]}
        rows.put(image, *([about | disputes[image]] if disputes[image] else []))
    if rows.changed():
        rows.write()


def _without_time(row: Row) -> str:
    """A name of what a line says, whenever it was imported."""
    annotations = [
        a | {"provenance": {k: v for k, v in a["provenance"].items() if k != "at"}}
        for a in row["annotations"]
    ]
    return digest({k: v for k, v in row.items() if k != "at"} | {"annotations": annotations})


def _summary(project: Project, samples: Sequence[Sample], left: int) -> str:
    count = sum(len(s.annotations) for s in samples)
    empty = sum(not s.annotations for s in samples)
    did = f"{len(samples)} images ({count} {project.settings.schema.task.noun}, {empty} empty)"
    return f"{did}, {left} left as people labeled them" if left else did


def _unused(project: Project, entries: Sequence[Entry]) -> list[str]:
    """Classes the source never has: of its images, the project now believes that they show none."""
    used = {a.label for e in entries for a in e.annotations}
    unused = [name for name in project.settings.labels if name not in used]
    return [f"no image shows {', '.join(unused)}: true only if the source labels them"] if unused else []

"""The near-copies of a project: which images, on which sides, how labeled; drawn, and set aside if wanted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from workflow.alike.groups import RANKS, near_pairs
from workflow.alike.hashes import clusters
from workflow.alike.twins import agreement
from workflow.errors import StageError
from workflow.images import decode
from workflow.project.aside import move_aside
from workflow.project.paths import Project
from workflow.project.rows import Row, read_catalog, read_rows, read_samples, write_rows
from workflow.records import ImageRecord, Sample
from workflow.running.progress import progress
from workflow.running.runner import Outcome
from workflow.shown import duplicates as shown
from workflow.stages import catalog

# Twins whose labels agree less are listed: below it COCO no longer calls two boxes well placed.
AGREE = 0.75
# So many conflicts are printed; the sheet has more.
LISTED = 10


@dataclass(frozen=True)
class Twins:
    """Two near-copies that people labeled, and how far their labels agree."""

    one: ImageRecord
    other: ImageRecord
    agreement: float


@dataclass(frozen=True)
class Look:
    """The near-copies: `groups`, each best first, `near` ones of each, twins that disagree, worst first."""

    groups: list[list[ImageRecord]]
    near: dict[str, set[str]]
    conflicts: list[Twins]
    labeled: dict[str, Sample]

    @property
    def straddling(self) -> list[list[ImageRecord]]:
        """The groups with images in train and in what measures."""
        return [
            g for g in self.groups if len({r.split for r in g}) > 1 and any(r.split == "train" for r in g)
        ]


def look(project: Project) -> Look:
    """Find the near-copies among the catalogued images. StageError where there is no catalog or no hash."""
    records = {r.id: r for r in read_catalog(project.catalog)}
    measures = {row["id"]: row for row in read_rows(project.measures) if row["id"] in records}
    pairs = near_pairs(list(measures.values()))
    if len(records) > 1 and not any("mirrored" in row for row in measures.values()):
        raise StageError(f"{project.measures} has no hashes of these images", "workflow catalog --force")
    labeled = {
        i: s for i, s in read_samples(project.labels).items() if s.state == "reviewed" and i in records
    }
    near: dict[str, set[str]] = defaultdict(set)
    for a, b, _ in pairs:
        near[a].add(b)
        near[b].add(a)
    images = sorted(near)
    number = {image: n for n, image in enumerate(images)}
    first, second = ([number[a] for a, _, _ in pairs], [number[b] for _, b, _ in pairs])
    names = clusters(len(images), first, second)
    together: dict[int, list[ImageRecord]] = defaultdict(list)
    for image, name in zip(images, names.tolist(), strict=True):
        together[name].append(records[image])

    def goodness(record: ImageRecord) -> tuple[object, ...]:
        size = record.width * record.height
        blur = measures[record.id]["blur"]
        return record.id not in labeled, RANKS[record.split], -size, -blur, record.path

    groups = [sorted(members, key=goodness) for members in together.values()]
    groups.sort(key=lambda members: (-len(members), members[0].path))
    conflicts = []
    for a, b, _ in pairs:
        if a in labeled and b in labeled:
            mirrored = _is_mirrored(measures[a], measures[b])
            both = (records[a], records[b])
            share = agreement(labeled[a].annotations, labeled[b].annotations, both, mirrored)
            conflicts += [Twins(*both, share)] if share < AGREE else []
    conflicts.sort(key=lambda twins: (twins.agreement, twins.one.path, twins.other.path))
    return Look(groups, near, conflicts, labeled)


def run(project: Project, drop: bool = False) -> Iterator[Outcome]:
    """Draw the near-copies into data/duplicates.html; with `drop` keep the best of them and catalog anew.

    The best is labeled, in test rather than in train, larger, sharper; what is a near-copy of one that is
    kept goes. Nothing is deleted, labels stay: set-aside.jsonl lists what the catalog leaves out.
    """
    start = time.perf_counter()
    found = look(project)
    sheet = project.data / "duplicates.html"
    groups = list(_shown(project, found))
    with progress("drawing near-copies", min(len(groups), shown.GROUPS), "groups") as advance:
        shown.write(sheet, project.settings.title, groups, advance)
    images = sum(map(len, found.groups))
    did = f"{images} images in {len(found.groups)} groups of near-copies"
    did += f", {len(found.straddling)} of them on both sides of the split" if found.straddling else ""
    did += f", {len(found.conflicts)} pairs labeled differently" if found.conflicts else ""
    yield Outcome("duplicates", time.perf_counter() - start, f"{did}: {sheet}", lines=tuple(_told(found)))
    if drop:
        yield _drop(project, found)
        yield catalog.run(project)


def restore(project: Project) -> Iterator[Outcome]:
    """Take back what was set aside. StageError where nothing was."""
    if not project.set_aside.exists():
        raise StageError("nothing is set aside", "workflow duplicates --drop keep-best")
    count = sum(1 for _ in read_rows(project.set_aside))
    kept = move_aside(project.set_aside)
    yield Outcome("duplicates", 0.0, f"{count} images are taken back; the list of them is {kept.name} now")
    yield catalog.run(project)


def dropped(found: Look) -> list[tuple[ImageRecord, ImageRecord]]:
    """What goes, each with the better near-copy that stays."""
    gone = []
    for members in found.groups:
        kept: list[ImageRecord] = []
        for record in members:
            better = next((k for k in kept if k.id in found.near[record.id]), None)
            if better is None:
                kept.append(record)
            else:
                gone.append((record, better))
    return gone


def _drop(project: Project, found: Look) -> Outcome:
    gone = dropped(found)
    before = list(read_rows(project.set_aside))
    rows: list[Row] = [{"image": r.id, "path": r.path, "of": better.path} for r, better in gone]
    if rows:
        write_rows(project.set_aside, [*before, *rows])
    people = sum(r.id in found.labeled for r, _ in gone)
    kept = f", {people} of them labeled: labels.jsonl keeps what people said" if people else ""
    did = f"{len(gone)} images are set aside{kept} (back: workflow duplicates {project.name} --restore)"
    return Outcome("drop", 0.0, did, skipped=not gone)


def _told(found: Look) -> Iterator[str]:
    for twins in found.conflicts[:LISTED]:
        yield f"labeled differently, IoU {twins.agreement:.2f}: {twins.one.path} and {twins.other.path}"
    if more := len(found.conflicts) - LISTED if len(found.conflicts) > LISTED else 0:
        yield f"and {more} more pairs, in the sheet"


def _is_mirrored(one: Row, other: Row) -> bool:
    plain, turned = (int(one["dhash"], 16) ^ int(other[key], 16) for key in ("dhash", "mirrored"))
    return turned.bit_count() < plain.bit_count()


def _shown(project: Project, found: Look) -> Iterator[shown.Group]:
    """The groups as they are drawn: what disagrees first, then what straddles, then the rest."""
    worst: dict[str, float] = {}
    for twins in found.conflicts:
        for record in (twins.one, twins.other):
            worst.setdefault(record.id, twins.agreement)
    straddling = {members[0].id for members in found.straddling}

    def rank(members: Sequence[ImageRecord]) -> tuple[float, bool, int]:
        return min(worst.get(r.id, 1.0) for r in members), members[0].id not in straddling, -len(members)

    gone = {record.id for record, _ in dropped(found)}
    limits = (project.settings.images.max_megapixels, project.settings.images.memory)
    for members in sorted(found.groups, key=rank):
        agreed = min(worst.get(r.id, 1.0) for r in members)
        cells = [
            shown.Cell(
                record,
                found.labeled.get(record.id),
                record.id not in gone,
                lambda r=record: Image.fromarray(decode.from_file(project.shown_path(r), *limits)),  # type: ignore[misc]
            )
            for record in members
        ]
        yield shown.Group(cells, agreed if agreed < AGREE else None, members[0].id in straddling)

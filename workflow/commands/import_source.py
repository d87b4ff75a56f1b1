"""A foreign source, read and checked against a project before anything is written.

All that is wrong with it is said at once, and all that cannot be carried is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from workflow.errors import FormatError, StageError
from workflow.formats.fit import fit
from workflow.formats.mask_values import check_background
from workflow.formats.page import Losses, Options, Page, Reading, format_for
from workflow.images.decode import SUFFIXES
from workflow.images.finder import Finder, Measured, images_below
from workflow.images.orientation import QUARTER
from workflow.project.paths import Project
from workflow.project.rows import Row, annotation_to_row, file_digest
from workflow.records import Annotation, Provenance, Relation, Split
from workflow.running.progress import progress
from workflow.shapes.turn import upright

# How many of a source's problems are printed.
MOST = 20
ELSEWHERE = "images that may lie in other folders than the source says (--match name takes them)"


@dataclass
class Entry:
    """One image to be imported, with what the source says of it."""

    image: Measured
    id: str
    annotations: list[Annotation]
    split: Split | None = None
    relations: list[Relation] = field(default_factory=list)

    def rows(self) -> list[Row]:
        return [annotation_to_row(a) for a in self.annotations]


def read_source(
    project: Project,
    name: str,
    source: Path,
    images: Path | None,
    provenance: Provenance,
    options: Options,
) -> tuple[list[Entry], Losses]:
    """The images of a source with their annotations, and what could not be carried.

    FormatError where the source is broken, has other classes or does not fit the task.
    """
    if wrong := check_background(options):
        raise FormatError(wrong, "--background 0, or --background none where 0 is a class")
    finder = Finder(_folders(source, images), project.images, options.by_name)
    schema = project.settings.schema
    ways = (finder.look, finder.pair, SUFFIXES, images_below)
    reading = Reading(schema, provenance, *ways, options)
    pages = _pages(name, source, reading)
    entries = _entries(pages, finder, reading)
    _tell_names(finder, reading.losses)
    _refuse(project, source, pages, entries, [*finder.problems, *reading.problems], reading.losses)
    return entries, reading.losses


def resolve(project: Project, name: str, source: Path) -> Path:
    """The file or folder in which a source of that format lies. StageError where it does not."""
    row = format_for(name, project.settings.task)
    source = source.expanduser().resolve()
    if source.suffix in (".yaml", ".yml") and row.lies_in == "folder":
        # YOLO's own tools are given the data.yaml.
        source = source.parent
    if not source.exists():
        raise StageError(f"{source} does not exist")
    if (row.lies_in == "folder") != source.is_dir():
        what = "folder" if source.is_dir() else "file"
        raise StageError(f"{source} is a {what}", f"workflow import {name} {row.lies_in.upper()}")
    return source


def _folders(source: Path, images: Path | None) -> list[Path]:
    """Where people say the images of a source are, first things first."""
    if images is None:
        return [source if source.is_dir() else source.parent]
    images = images.expanduser().resolve()
    if not images.is_dir():
        raise StageError(f"--images {images} is no folder")
    return [images, *([source] if source.is_dir() else [])]


def _tell_names(finder: Finder, losses: Losses) -> None:
    """Count the images that only their names lead to, taken or not."""
    for path in finder.by_name_alone:
        losses.add("images found by their names alone, not where the source says", path)
    for name, path in finder.elsewhere.items() if not finder.by_name else ():
        losses.add(ELSEWHERE, f"{name} is no {path}")


def _pages(name: str, source: Path, reading: Reading) -> list[Page]:
    pages, class_map = [], reading.options.class_map
    for page in format_for(name, reading.schema.task.name).load().read(source, reading):
        renamed = [replace(a, label=class_map.get(a.label, a.label) or "-") for a in page.annotations]
        dropped = [class_map.get(a.label) == "" for a in page.annotations]
        reading.losses.add("annotations of classes that --class-map leaves out", page.name, sum(dropped))
        page.annotations = [a for a, gone in zip(renamed, dropped, strict=True) if not gone]
        pages.append(page)
    return pages


def _entries(pages: Sequence[Page], finder: Finder, reading: Reading) -> list[Entry]:
    """Each image once, its annotations fitted to the task and upright."""
    entries: dict[str, Entry] = {}
    with progress("reading images", len(pages)) as advance:
        for page in pages:
            image = finder.measure(page.name)
            assert image is not None
            annotations = _turned(fit(page, reading.schema.classes), page, image)
            advance()
            if annotations is None:
                continue
            if page.lost and not annotations:
                # Without what was lost it would say that there is nothing to see.
                page.lose("images left out, as none of their labels can be carried")
                continue
            relations = _relations(page, annotations)
            entry = Entry(image, file_digest(image.path), annotations, page.split, relations)
            known = entries.setdefault(entry.id, entry)
            if known.rows() != entry.rows():
                page.lose("images labeled twice, in two ways (the first counts)")
    return list(entries.values())


def _relations(page: Page, annotations: Sequence[Annotation]) -> list[Relation]:
    """A page's relations between what is carried; the others are counted.

    They make no page `lost`: without them its labels still say all there is to see.
    """
    losses, there = page.reading.losses, len(page.relations)
    if page.reading.predictions:
        losses.add("relations, which predictions have none of", page.name, there)
        return []
    ids = {a.id for a in annotations if a.id}
    kept = [relation for relation in page.relations if {relation.first, relation.last} <= ids]
    losses.add("relations of regions that are not carried", page.name, there - len(kept))
    return kept


def _turned(annotations: list[Annotation], page: Page, image: Measured) -> list[Annotation] | None:
    """Annotations in pixels of the upright image; None where the source means another image."""
    drawn = any(a.geometry for a in annotations)
    if not page.states_size or (annotations and not drawn):
        return annotations
    turned, stated = image.orientation in QUARTER, (page.width, page.height)
    if stated == (image.width, image.height):
        # Nothing tells which way up a source saw what has the same size either way.
        either = drawn and image.orientation != 1 and (not turned or page.width == page.height)
        page.lose("images that EXIF turns or mirrors, taken as labeled upright", either)
        return annotations
    if turned and stated == (image.height, image.width):
        page.lose("images labeled as stored, their labels now upright as EXIF says", drawn)
        return [upright(a, image.orientation, page.width, page.height) for a in annotations]
    page.lose(f"images of another size than the source says ({page.width}x{page.height})")
    return None


def _refuse(
    project: Project,
    source: Path,
    pages: Sequence[Page],
    entries: Sequence[Entry],
    problems: list[str],
    losses: Losses,
) -> None:
    """FormatError for all that is wrong with a source."""
    if problems:
        problems = list(dict.fromkeys(problems))
        more = [f"and {len(problems) - MOST} more"] if len(problems) > MOST else []
        raise FormatError("\n".join([*problems[:MOST], *more]), "mend the source")
    settings = project.settings
    unknown: Counter[str] = Counter()
    for annotation in (a for e in entries for a in e.annotations):
        names = settings.keypoints if annotation.keypoints else settings.classes
        unknown[annotation.label] += annotation.label not in names
    if unknown := +unknown:
        used = ", ".join(f"{label!r} ({n})" for label, n in sorted(unknown.items()))
        some = sorted(unknown)[0]
        fix = f"add them to project.toml, or --class-map '{some}=CLASS' ('{some}=' leaves it out)"
        raise FormatError(f"labels that are no class of {project.name}: {used}", fix)
    why = "; ".join(losses.lines(most=3))
    if not pages:
        raise FormatError(f"{source} labels no image that is here: {why or 'it is empty'}", "--images DIR")
    if any(p.lost for p in pages) and not any(e.annotations for e in entries):
        raise FormatError(f"{source} has no {settings.schema.task.noun} for {settings.task}: {why}")

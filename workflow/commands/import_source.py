"""A foreign source, read and checked against a project before anything is written.

All that is wrong with it is said at once, and all that cannot be carried is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from workflow.errors import FormatError, StageError
from workflow.formats import coco
from workflow.formats.fit import fit
from workflow.formats.mask_values import check_background
from workflow.formats.page import Losses, Options, Page, Reading, format_for, split_of
from workflow.images.decode import SUFFIXES
from workflow.images.finder import Finder, Measured, images_below
from workflow.images.orientation import QUARTER
from workflow.labels.duplicates import collapse
from workflow.project.paths import Project
from workflow.project.rows import Row, annotation_to_row, file_digest
from workflow.records import Annotation, Provenance, Relation, Split
from workflow.running.progress import progress
from workflow.schema import CaseMatch, Schema
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
    disagreement: Row | None = None

    def rows(self) -> list[Row]:
        return [annotation_to_row(a) for a in self.annotations]


def read_source(
    project: Project,
    name: str,
    source: Path,
    images: Path | None,
    provenance: Provenance,
    options: Options,
) -> tuple[list[Entry], dict[str, Row], Losses]:
    """The images of a source with their annotations, the disputes by image, and what could not be carried.

    A dispute is about an image of which nothing is carried, since its people have not agreed.

    FormatError where the source is broken, has other classes or does not fit the task.
    """
    if wrong := check_background(options):
        raise FormatError(wrong, "--background 0, or --background none where 0 is a class")
    finder = Finder(_folders(source, images), project.images, options.by_name)
    schema = project.settings.schema
    ways = (finder.look, finder.pair, SUFFIXES, images_below)
    reading = Reading(schema, provenance, *ways, options, policy=project.settings.pull)
    pages = _pages(name, source, reading)
    entries = _entries(pages, finder, reading)
    _tell_names(finder, reading.losses)
    _refuse(project, source, pages, entries, [*finder.problems, *reading.problems], reading.losses)
    _refuse_lossy(source, entries, reading)
    return entries, _disputes(reading, finder), reading.losses


def _disputes(reading: Reading, finder: Finder) -> dict[str, Row]:
    disputes = {}
    for page in reading.disputes:
        image = finder.measure(page.name)
        if image is not None and page.disagreement is not None:
            disputes[file_digest(image.path)] = page.disagreement
    return disputes


def resolve(project: Project, name: str, source: Path) -> Path:
    """The file or folder in which a source of that format lies. StageError where it does not."""
    row = format_for(name, project.settings.task)
    source = source.expanduser().resolve()
    if source.suffix in (".yaml", ".yml") and row.lies_in == "folder":
        # YOLO's own tools are given the data.yaml.
        source = source.parent
    if not source.exists():
        raise StageError(f"{source} does not exist")
    if name == "coco" and source.is_dir() and coco.files(source, project.settings.schema):
        return source
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
    """The pages of a source, their labels by the project's names."""
    pages = []
    for page in format_for(name, reading.schema.task.name).load().read(source, reading):
        pages.append(page)
    by_case = _by_case(pages, reading)
    for page in pages:
        _rename(page, by_case)
        singles, between, twins = collapse(page.annotations, page.relations)
        page.annotations, page.relations = list(singles), list(between)
        reading.losses.add("annotations that are there twice, to the last bit (kept once)", page.name, twins)
        # An image folder's classes may be called train or test.
        if page.split is None and name != "folder":
            page.split = split_of(PurePosixPath(page.name).parts[:-1])
    return pages


def _by_case(pages: Sequence[Page], reading: Reading) -> dict[bool, Mapping[str, str]]:
    """Which names of the source are taken for a class, or (True) for a point's, that differs in its case."""
    schema, class_map = reading.schema, reading.options.class_map
    labels = [(bool(a.keypoints), a.label) for page in pages for a in page.annotations]
    # What is left out by the class map is a name all the same, as which nothing else is to be taken.
    free = {(points, label) for points, label in labels if not class_map.get(label)}
    names = {points: [label for of, label in free if of is points] for points in (False, True)}
    spellings = not reading.predictions
    return {points: CaseMatch.of(names[points], _known(schema, points), spellings).taken for points in names}


def _known(schema: Schema, points: bool) -> tuple[str, ...]:
    return schema.keypoints if points else schema.classes


def _rename(page: Page, by_case: Mapping[bool, Mapping[str, str]]) -> None:
    """Give the labels the project's names: as --class-map says, else where only their case differs."""
    class_map, losses = page.reading.options.class_map, page.reading.losses
    kept = []
    for a in page.annotations:
        label = class_map.get(a.label, a.label)
        if a.label in class_map:
            like = CaseMatch.of([label], _known(page.reading.schema, bool(a.keypoints))).taken.get(label)
        else:
            like = by_case[bool(a.keypoints)].get(label)
        if like:
            losses.add(f"labels {label!r}, taken for the class {like!r}", page.name)
            label = like
        if label or a.label not in class_map:
            kept.append(replace(a, label=label or "-"))
    gone = len(page.annotations) - len(kept)
    losses.add("annotations of classes that --class-map leaves out", page.name, gone)
    if gone and not kept:
        # Of one label an image cannot have none; of objects and paint it shows nothing else.
        page.lost |= page.reading.schema.task.exclusive
        losses.add("images of which --class-map leaves all labels out", page.name)
    page.annotations = kept


def _entries(pages: Sequence[Page], finder: Finder, reading: Reading) -> list[Entry]:
    """Each image once, its annotations fitted to the task and upright."""
    entries: dict[str, Entry] = {}
    with progress("reading images", len(pages)) as advance:
        for page in pages:
            image = finder.measure(page.name)
            assert image is not None
            fitted = fit(page, reading.schema.classes)
            annotations = _turned(fitted, page, image)
            advance()
            if annotations is None:
                reading.dropped += len(fitted)
                continue
            if page.lost and not annotations:
                # Without what was lost it would say that there is nothing to see.
                page.lose("images left out, as none of their labels can be carried")
                continue
            relations = _relations(page, annotations)
            entry = Entry(image, file_digest(image.path), annotations, page.split, relations)
            entry.disagreement = page.disagreement
            known = entries.setdefault(entry.id, entry)
            if known is not entry and known.rows() != entry.rows():
                counts = "first" if known.annotations else "labeled one"
                page.lose(f"images labeled twice, in two ways (the {counts} counts)")
                entries[entry.id] = known if known.annotations else entry
    return list(entries.values())


def _relations(page: Page, annotations: Sequence[Annotation]) -> list[Relation]:
    """A page's relations between what is carried; the others are counted.

    They make no page `lost`: without them its labels still say all there is to see.
    """
    losses, count = page.reading.losses, len(page.relations)
    if page.reading.predictions:
        losses.add("relations, which predictions have none of", page.name, count)
        return []
    ids = {a.id for a in annotations if a.id}
    kept = [relation for relation in page.relations if {relation.first, relation.last} <= ids]
    losses.add("relations of regions that are not carried", page.name, count - len(kept))
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
        away = [line for line in losses.lines() if "not there" in line]
        raise FormatError("\n".join([*problems[:MOST], *more, *away]), "mend the source")
    settings, schema = project.settings, project.settings.schema
    unknown: Counter[str] = Counter()
    for annotation in (a for e in entries for a in e.annotations):
        unknown[annotation.label] += not schema.names(annotation)
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


def _refuse_lossy(source: Path, entries: Sequence[Entry], reading: Reading) -> None:
    """FormatError where more annotations are dropped than carried: what is left would say too little."""
    carried = sum(len(entry.annotations) for entry in entries)
    if reading.dropped > carried and not reading.options.lossy:
        why = "; ".join(reading.losses.lines(most=3))
        what = f"{source}: {reading.dropped} of {reading.dropped + carried} labels cannot be carried: {why}"
        raise FormatError(what, "mend the source, or --lossy to import the others")

"""Labels that other tools wrote or will read: what a reader and a writer of a foreign format share.

A format is a module with `read(source, reading)`, which yields a `Page` an image, and `write(target,
pictures, writing)`. A page's coordinates are pixels of the size it states; whoever imports turns them
upright where that size is the stored one. Whatever cannot be carried is counted in `Losses`, with where it
was; what makes a source unreadable is gathered in `problems`, all of it.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np

from workflow.errors import FormatError
from workflow.project.remote import Remote
from workflow.project.settings import MaskStyle, Pull
from workflow.records import Annotation, ImageRecord, Point, Provenance, Relation, Split
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.shapes.clip import clip
from workflow.shapes.geometry import polygon_area
from workflow.tasks import TASKS, TaskName

ALL: tuple[TaskName, ...] = tuple(task.name for task in TASKS.values())
# What others call the sides of a split.
SPLITS: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def split_of(names: Iterable[str]) -> Split | None:
    """The side of a split that the first of some folders names: train, or as COCO has it train2017."""
    for name in names:
        if split := SPLITS.get(re.sub(r"\d{4}$", "", name.lower())):
            return split
    return None


@dataclass(frozen=True, slots=True)
class Format:
    """One row of FORMATS: where it is read and written, which tasks it can hold, what it lies in."""

    module: str
    tasks: tuple[TaskName, ...]
    lies_in: Literal["file", "folder"]
    scores: bool = False
    relations: bool = False
    ignored: bool = False

    def load(self) -> Any:
        return importlib.import_module(f"workflow.{self.module}")


FORMATS: dict[str, Format] = {
    "coco": Format(
        "formats.coco",
        ("detection", "instance-segmentation", "semantic-segmentation", "keypoints"),
        "file",
        scores=True,
        ignored=True,
    ),
    "csv": Format("formats.csv_labels", ("classification", "multilabel-classification"), "file", scores=True),
    "cvat": Format("formats.cvat", ALL, "file"),
    "folder": Format("formats.folder", ("classification",), "folder"),
    "label-studio": Format("labelstudio.json_format", ALL, "file", scores=True, relations=True, ignored=True),
    "labelme": Format(
        "formats.labelme", tuple(name for name in ALL if name != "oriented-detection"), "folder"
    ),
    "masks": Format("formats.masks", ("semantic-segmentation",), "folder", ignored=True),
    "voc": Format("formats.voc", ("detection",), "folder", ignored=True),
    "yolo": Format(
        "formats.yolo.folder",
        ("classification", "detection", "oriented-detection", "keypoints", "instance-segmentation"),
        "folder",
    ),
}


def format_for(name: str, task: TaskName) -> Format:
    """The row of a format that can hold the task. FormatError, with those that can, where it is none."""
    able = ", ".join(key for key, row in FORMATS.items() if task in row.tasks)
    if name not in FORMATS:
        raise FormatError(f"no format {name!r}", f"one of: {', '.join(FORMATS)}")
    if task not in FORMATS[name].tasks:
        raise FormatError(f"{name} cannot hold the labels of {task}", f"one of: {able}")
    return FORMATS[name]


class Losses(Counter[str]):
    """What could not be carried, counted by reason; `places` says in which images or files."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, dict[str, None]] = {}

    def add(self, reason: str, where: str = "", count: int = 1) -> None:
        if count:
            self[reason] += count
            self.places.setdefault(reason, {}).update({where: None} if where else {})

    def lines(self, most: int = 5) -> list[str]:
        """A line a reason, with the first places."""
        lines = []
        for reason, count in sorted(self.items()):
            places = list(self.places[reason])
            more = f" and {len(places) - most} more" if len(places) > most else ""
            where = f": {', '.join(places[:most])}{more}" if places else ""
            # Names that are not UTF-8 can be shown only so.
            lines.append(f"{count} {reason}{where}".encode(errors="backslashreplace").decode())
        return lines


@dataclass
class Page:
    """One image as a foreign source has it: annotations in pixels of `width` x `height`.

    `states_size` where the source says that size, and so which way up its pixels are; `lost` where
    something of it could not be carried. `relations` lead from one annotation's id to another's;
    `disagreement` is where its people differ, as in disagreements.jsonl.
    """

    name: str
    width: int
    height: int
    reading: Reading
    states_size: bool = False
    split: Split | None = None
    annotations: list[Annotation] = field(default_factory=list)
    lost: bool = False
    relations: list[Relation] = field(default_factory=list)
    disagreement: dict[str, Any] | None = None
    # Whether the image is of another size, whichever way up it lies.
    misfit: bool = False

    def lose_misfit(self) -> bool:
        """Whether the image is of another size than the source says, so that no mask fits; counted once."""
        if self.misfit and not self.lost:
            self.lose(f"images of another size than the source says ({self.width}x{self.height})")
        return self.misfit

    def lose(self, reason: str, count: int = 1) -> None:
        self.reading.losses.add(reason, self.name, count)
        self.lost |= bool(count)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count whole annotations that cannot be carried: an import of which most are dropped is refused."""
        self.lose(reason, count)
        self.reading.dropped += count

    def label(self, label: str, score: float | None = None) -> None:
        """A label of the whole image."""
        self.add(Annotation(label, self.reading.provenance, score=score))

    def box(self, label: str, x1: float, y1: float, x2: float, y2: float, **more: Any) -> bool:
        """An upright box, if there is any of it within the image."""
        numbers = (float(x1), float(y1), float(x2), float(y2))
        if not np.isfinite(numbers).all() or x2 <= x1 or y2 <= y1:
            self.drop("boxes without an area")
            return False
        return self.add(Annotation(label, self.reading.provenance, box=numbers, **more))

    def polygons(self, label: str, parts: Sequence[Sequence[Point]], **more: Any) -> bool:
        """The outlines of one object's parts."""
        whole = tuple(tuple(part) for part in parts if len(part) > 2 and polygon_area(part) > 0)
        self.lose("outlines without an area", len(parts) - len(whole))
        self.reading.dropped += not whole
        return bool(whole) and self.add(Annotation(label, self.reading.provenance, polygons=whole, **more))

    def mask(self, label: str, pixels: Any, **more: Any) -> bool:
        """Pixels (height, width) of the whole image."""
        if not np.any(pixels):
            self.drop("masks without pixels")
            return False
        return self.add(Annotation(label, self.reading.provenance, mask=masks.encode(pixels), **more))

    def point(self, label: str, x: float, y: float, parent: str = "") -> bool:
        point = ((float(x), float(y)),)
        return self.add(Annotation(label, self.reading.provenance, keypoints=point, parent=parent))

    def add(self, annotation: Annotation) -> bool:
        """Take an annotation, cut to the image; whether there is any of it."""
        cut = clip(annotation, self.width, self.height, self.lose)
        if cut is not None:
            if cut.score is not None and self.reading.provenance.kind != "model":
                self.lose("scores, which only predictions have")
                cut = replace(cut, score=None)
            self.annotations.append(cut)
        self.reading.dropped += cut is None
        return cut is not None


@dataclass(frozen=True)
class Options:
    """What the person who imports says of a source that it does not say itself.

    `by_name` takes images by their names alone. Of masks: the values, or names in a label map, that are
    `void`; the value of the `background`, or "none" where 0 is the first class; and what follows an image's
    name in its mask's. `class_map` leads from the source's classes to the project's, or to "" for none.
    `lossy` imports although most of the labels cannot be carried. `image_keys` say which of a task's images
    is meant: KEY, or NAME=KEY for the `<Image>` of that name. `gt` is the file that has the images and
    classes of COCO's results; `columns` says where the score stands in YOLO's lines.
    """

    by_name: bool = False
    background: str | None = None
    void: tuple[str, ...] = ()
    mask_suffix: str = ""
    class_map: Mapping[str, str] = field(default_factory=dict)
    lossy: bool = False
    image_keys: tuple[str, ...] = ()
    gt: Path | None = None
    columns: Literal["", "last", "second"] = ""


@dataclass
class Reading:
    """What a project wants of a foreign source, and what was lost or wrong there.

    `look` finds an image by the names a source may give it, and says its own name and upright size;
    `pair` finds it by what its path may be without the suffix; `below` lists the images below a folder.
    `suffixes` are those of images, in lower case. So many annotations were `dropped`. `policy` says whose
    word counts of several people's; `disputes` are the pages of images on which they have not agreed.
    """

    schema: Schema
    provenance: Provenance
    look: Callable[[Sequence[str]], tuple[str, int, int] | None]
    pair: Callable[..., str | None]
    suffixes: Collection[str]
    below: Callable[[Path], list[Path]]
    options: Options = Options()
    dropped: int = 0
    policy: Pull = Pull()
    disputes: list[Page] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    problems: list[str] = field(default_factory=list)

    @property
    def predictions(self) -> bool:
        return self.provenance.kind == "model"

    def is_image(self, name: str) -> bool:
        return PurePath(name).suffix.lower() in self.suffixes

    def page(self, *names: str, size: tuple[int | None, int | None] | None = None) -> Page | None:
        """The page of the image of the first of `names` that is there; None, counted, where none is.

        Without a `size`, or where a side of it is unsaid or 0, coordinates are those of the upright image.
        """
        image = self.look(names)
        if image is None:
            self.losses.add("images that are not there", names[0])
            return None
        name, width, height = image
        stated = (size[0], size[1]) if size and size[0] and size[1] else None
        misfit = stated is not None and sorted(stated) != sorted((width, height))
        return Page(name, *(stated or (width, height)), self, states_size=stated is not None, misfit=misfit)


@dataclass(frozen=True)
class Picture:
    """One image to be written: its record, its file, its annotations in upright pixels, their relations."""

    record: ImageRecord
    path: Path | Remote
    annotations: tuple[Annotation, ...]
    relations: tuple[Relation, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.record.width, self.record.height


@dataclass
class Writing:
    """What a project is, for a writer, and what was lost on the way; `notes` are what else to know.

    `categories` are the numbers some classes have in files that number them.
    """

    name: str
    schema: Schema
    masks: MaskStyle = "brush"
    predictions: bool = False
    losses: Losses = field(default_factory=Losses)
    notes: list[str] = field(default_factory=list)
    categories: Mapping[str, int] = field(default_factory=dict)


def poses(picture: Picture, writing: Writing) -> Iterator[tuple[Annotation, dict[str, Annotation]]]:
    """Each box of a picture with its points by name; points that belong to none are counted."""
    boxes = [a for a in picture.annotations if a.box is not None]
    own: dict[str, dict[str, Annotation]] = {box.id: {} for box in boxes}
    for a in picture.annotations:
        if a.keypoints is None:
            continue
        if a.parent not in own:
            writing.losses.add("points without a box", picture.record.path)
        elif a.label in own[a.parent]:
            writing.losses.add("points named twice", picture.record.path)
        else:
            own[a.parent][a.label] = a
    for box in boxes:
        yield box, own.pop(box.id, {})

"""What several foreign formats do with files: names of folders, XML, numbers."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath, PurePosixPath
from xml.etree import ElementTree

from workflow.formats import doors
from workflow.formats.page import SPLITS
from workflow.records import Split

# What people call folders of labels: images lie beside such a folder, not in another of that name.
LABELS = re.compile(
    r"anns?|annot.*|.*labels?.*|.*xmls?|.*jsons?|.*masks?.*|voc.*|gt|ground.?truth|targets?|seg.*",
    re.IGNORECASE,
)


def images_folder(labels: PurePath) -> PurePosixPath:
    """Where the images of a folder of labels are, by their common folders: `ann/day1` is `day1`."""
    return PurePosixPath(*(part for part in labels.parts if not LABELS.fullmatch(part)))


def image_sets(folder: Path) -> dict[str, Split]:
    """The split of each image, by its path without a suffix, as VOC's lists have it (train.txt, val.txt)."""
    sets: dict[str, Split] = {}
    for name, split in SPLITS.items():
        path = folder / f"{name}.txt"
        for line in doors.read_text(path).splitlines() if path.is_file() else ():
            sets |= dict.fromkeys(line.split()[:1], split)
    return sets


def beside(folder: PurePath, name: str) -> str:
    """A name that is relative to `folder`; that of another machine as it is."""
    plain = name.replace("\\", "/")
    foreign = re.match(r"/|[A-Za-z]:|[a-z0-9]+://", plain)
    return name if foreign or not folder.parts else os.path.normpath(folder / plain)


def write_xml(path: Path, root: ElementTree.Element) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def exact(number: float) -> str:
    """The shortest decimal that reads back as the very same number."""
    return str(int(number)) if number == int(number) else repr(float(number))

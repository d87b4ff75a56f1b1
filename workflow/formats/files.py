"""What several foreign formats do with files: names of folders, XML, numbers."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath, PurePosixPath
from xml.etree import ElementTree

# What people call folders of labels: images lie beside such a folder, not in another of that name.
LABELS = re.compile(
    r"anns?|annot.*|.*labels?.*|.*xmls?|.*jsons?|.*masks?.*|voc.*|gt|ground.?truth|targets?|seg.*",
    re.IGNORECASE,
)


def images_folder(labels: PurePath) -> PurePosixPath:
    """Where the images of a folder of labels are, by their common folders: `ann/day1` is `day1`."""
    return PurePosixPath(*(part for part in labels.parts if not LABELS.fullmatch(part)))


def beside(folder: PurePath, name: str) -> str:
    """A name that is relative to `folder`, or that of another machine, as it is."""
    name = name.replace("\\", "/")
    return name if re.match(r"/|[A-Za-z]:|[a-z0-9]+://", name) else os.path.normpath(folder / name)


def write_xml(path: Path, root: ElementTree.Element) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def exact(number: float) -> str:
    """The shortest decimal that reads back as the very same number."""
    return str(int(number)) if number == int(number) else repr(float(number))

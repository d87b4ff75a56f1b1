"""What several foreign formats do with files: XML and JSON of strangers, numbers."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import orjson

from workflow.formats.page import Reading

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


def parse_xml(path: Path, reading: Reading) -> Any:
    """The root of a stranger's XML; None, and a problem, where it is broken or declares entities."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        return parse(path, forbid_dtd=True).getroot()
    except ParseError as error:
        reading.problems.append(f"{path}:{error.position[0]}: not XML ({error})")
    except DefusedXmlException:
        reading.problems.append(f"{path}: declares a document type or entities, which no label needs")
    return None


def write_xml(path: Path, root: ElementTree.Element) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def parse_json(path: Path, reading: Reading) -> Any:
    """A file's value; None, and a problem, where it is not JSON."""
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        reading.problems.append(f"{path}: not JSON ({error})")
        return None


def exact(number: float) -> str:
    """The shortest decimal that reads back as the very same number."""
    return str(int(number)) if number == int(number) else repr(float(number))

"""Pascal VOC: an XML file an image, with boxes.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Its corners are taken and
written as today's tools have them, the edges of the box in pixels from 0, and not as whole pixels from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.files import beside, image_sets, images_folder, write_xml
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images

ANNOTATIONS = "Annotations"
# Marks of an object that no annotation has.
MARKS = ("truncated", "occluded")
SETS = {"train": "train", "validation": "val", "test": "test"}


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each XML file below the folder `source`."""
    sets = cache(lambda folder: image_sets(folder / "ImageSets" / "Main"))
    for path in doors.files_below(source, ".xml"):
        root = doors.tried(reading.problems, doors.load_xml, path)
        if root is None:
            continue
        for element in root.iter():
            # Some tools write <Object>, or declare a namespace.
            element.tag = element.tag.rpartition("}")[2].lower()
        if root.tag != "annotation":
            reading.problems.append(f"{path}: <{root.tag}> is no VOC <annotation>")
            continue
        try:
            if not len(root):
                raise ValueError("says nothing, not even <filename>")
            objects = list(root.iter("object"))
            if sum(1 for _ in root.iter("bndbox")) > sum(1 for one in objects for _ in one.iter("bndbox")):
                raise ValueError("a <bndbox> lies in no <object>")
            size = _size(root, str(path))
            stated = (_text(root, "filename"), _text(root, "folder"))
            page = reading.page(*_names(path.relative_to(source), *stated), size=size)
            if page is not None:
                devkit, stem = _in_devkit(path)
                page.split = sets(devkit).get(stem)
                for number, one in enumerate(objects, 1):
                    _read(page, one, number)
                yield page
        except ValueError as error:
            reading.problems.append(f"{path}: {error}")
        except FormatError as error:
            reading.problems.append(error.problem)


def _names(path: Path, filename: str | None, folder: str | None) -> list[str]:
    """Where an image may be: as <filename> says, or called as its XML file, in the folder of both.

    The devkit has its masks beside JPEGImages, under the same names. Of an XML file that lies in no folder of
    its own, <folder> tells two images of one name apart.
    """
    name = (filename or "").replace("\\", "/")
    renamed = (PurePosixPath(name).parent / path.stem).as_posix()
    swapped = ("JPEGImages" if part == ANNOTATIONS else part for part in path.parent.parts)
    plain = images_folder(path.parent)
    own = PurePosixPath((folder or "").replace("\\", "/"))
    first = [own] if str(plain) == "." and str(own) != "." else []
    folders = dict.fromkeys((*first, PurePosixPath(*swapped), "JPEGImages" / plain, plain))
    names = [name for name in dict.fromkeys((name, renamed)) if name]
    return [beside(folder, name) for folder in folders for name in names]


def _in_devkit(path: Path) -> tuple[Path, str]:
    """The folder of which Annotations is one, and what an XML file is called in its lists."""
    devkit = next((folder.parent for folder in path.parents if folder.name == ANNOTATIONS), path.parent)
    below = path.relative_to(devkit).with_suffix("").as_posix()
    return devkit, below.removeprefix(f"{ANNOTATIONS}/")


def _read(page: Page, one: Any, number: int) -> None:
    label = _text(one, "name")
    if not label:
        raise ValueError(f"object {number} has no name")
    for mark in MARKS:
        page.lose(f"marks that an object is {mark}", _text(one, mark) == "1")
    if one.find("bndbox") is None:
        page.drop("objects without a bndbox")
    else:
        edges = ("xmin", "ymin", "xmax", "ymax")
        corners = [doors.number(_text(one, f"bndbox/{edge}"), f"<{edge}>") for edge in edges]
        # VOC's own evaluation takes what is difficult for neither hit nor miss.
        page.box(label, *corners, ignored=_text(one, "difficult") == "1")


def _text(element: Any, path: str) -> str | None:
    """The text of the one element at `path`; None where there is none. ValueError where there are two."""
    for tag in path.split("/"):
        own = element.findall(tag)
        if len(own) > 1:
            raise ValueError(f"<{element.tag}> has <{tag}> twice")
        if not own:
            return None
        element = own[0]
    return (element.text or "").strip()


class _Size(doors.Record):
    width: doors.Pixels = 0
    height: doors.Pixels = 0


def _size(root: Any, where: str) -> tuple[int, int]:
    """What <size> says in pixels; 0 where it does not."""
    sides = {name: _text(root, f"size/{name}") for name in ("width", "height")}
    size = doors.take(_Size, {name: text for name, text in sides.items() if text}, f"{where}: <size>")
    return size.width, size.height


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """Annotations/, JPEGImages/ and ImageSets/Main/ as VOC2012 has them."""
    names = copy_images(pictures, target, writing, lambda picture: "JPEGImages")
    sets: dict[str, list[str]] = {}
    for picture, name in zip(pictures, names, strict=True):
        stem = Path(name).stem
        write_xml(target / "Annotations" / f"{stem}.xml", _annotation(picture, name))
        sets.setdefault(SETS[picture.record.split], []).append(stem)
    main = target / "ImageSets" / "Main"
    main.mkdir(parents=True)
    for split, stems in sets.items():
        (main / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


def _annotation(picture: Picture, name: str) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    _put(root, "folder", "JPEGImages")
    _put(root, "filename", name)
    size = ElementTree.SubElement(root, "size")
    for key, pixels in zip(("width", "height", "depth"), (*picture.size, 3), strict=True):
        _put(size, key, pixels)
    _put(root, "segmented", 0)
    for annotation in picture.annotations:
        one = ElementTree.SubElement(root, "object")
        for key, value in (
            ("name", annotation.label),
            ("pose", "Unspecified"),
            ("truncated", 0),
            ("difficult", int(annotation.ignored)),
        ):
            _put(one, key, value)
        box = ElementTree.SubElement(one, "bndbox")
        for key, edge in zip(("xmin", "ymin", "xmax", "ymax"), annotation.box or (), strict=True):
            _put(box, key, _shown(edge))
    return root


def _shown(edge: float) -> str:
    """A whole number where it is one to a millionth of a pixel: many readers take no other."""
    return f"{edge:.6f}".rstrip("0").rstrip(".")


def _put(parent: ElementTree.Element, tag: str, value: Any) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)

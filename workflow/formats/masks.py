"""Semantic masks as PNG: an image's mask has its name, and a pixel's value or colour is its class.

Value 0 is background, k the k-th class of the project. Where `labelmap.txt` lies in the folder, as CVAT and
Datumaro write it, it names the colours instead: `name:red,green,blue::`. A value without a class is read as a
class of that number's name, so that --class-map can say what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import FormatError
from workflow.formats.files import copy_images
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.shapes import masks
from workflow.tasks import BACKGROUND

Colour = tuple[int, int, int]
MOST_CLASSES = 255
LABELMAP = "labelmap.txt"


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each PNG of `source`/masks, or of `source` where it has no such folder."""
    colours = _labelmap(source / LABELMAP, reading)
    folder = source / "masks" if (source / "masks").is_dir() else source
    for path in sorted(folder.rglob("*.png")):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        name = reading.pair(f"images/{stem}", stem)
        painted = _painted(path, reading)
        if painted is None:
            continue
        page = reading.page(name or stem, size=painted.shape[1::-1])
        if page is None:
            continue
        if colours:
            _by_colour(page, _rgb(path), colours, path)
        elif painted.ndim == 2:
            _by_value(page, painted)
        else:
            reading.problems.append(f"{path}: is in colour, and {LABELMAP} does not say what they mean")
        yield page


def _painted(path: Path, reading: Reading) -> Any:
    """The values (height, width), or colours (height, width, 3 or 4); None, and a problem, where broken."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        reading.problems.append(f"{path}: no PNG ({error})")
        return None


def _rgb(path: Path) -> Any:
    from PIL import Image

    with Image.open(path, formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))


def _by_value(page: Page, painted: Any) -> None:
    classes = page.reading.schema.classes
    for value in np.unique(painted).tolist():
        if value:
            label = classes[value - 1] if value <= len(classes) else str(int(value))
            page.mask(label, painted == value)


def _by_colour(page: Page, painted: Any, colours: dict[Colour, str], path: Path) -> None:
    for colour in np.unique(painted.reshape(-1, 3), axis=0).tolist():
        label = colours.get(tuple(colour))
        if label is None:
            page.reading.problems.append(f"{path}: {LABELMAP} has no colour {','.join(map(str, colour))}")
        elif label != BACKGROUND:
            page.mask(label, (painted == colour).all(axis=2))


def _labelmap(path: Path, reading: Reading) -> dict[Colour, str]:
    colours: dict[Colour, str] = {}
    if not path.exists():
        return colours
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            label, colour, *_ = line.rsplit(":", 3)
            red, green, blue = (int(part) for part in colour.split(","))
            colours[red, green, blue] = label
        except ValueError:
            reading.problems.append(f"{path}:{number}: {line!r} is no `name:red,green,blue::`")
    return colours


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """images/, masks/ and labelmap.txt; where layers overlap, the later one counts."""
    from PIL import Image

    if len(writing.schema.classes) > MOST_CLASSES:
        raise FormatError(
            f"{len(writing.schema.classes)} classes do not fit a PNG of 8 bits", "255 are the most"
        )
    names = copy_images(pictures, target / "images", writing)
    for picture, name in zip(pictures, names, strict=True):
        image = Image.fromarray(_paint(picture, writing)).convert("P")
        image.putpalette([part for value in range(256) for part in voc_colour(value)])
        path = (target / "masks" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    lines = [
        f"{label}:{','.join(map(str, voc_colour(value)))}::\n"
        for value, label in enumerate((BACKGROUND, *writing.schema.classes))
    ]
    (target / LABELMAP).write_text("# label:color_rgb:parts:actions\n" + "".join(lines), encoding="utf-8")


def _paint(picture: Picture, writing: Writing) -> Any:
    width, height = picture.size
    painted = np.zeros((height, width), dtype=np.uint8)
    for annotation in picture.annotations:
        assert annotation.mask is not None
        pixels, value = masks.decode(annotation.mask), writing.schema.classes.index(annotation.label) + 1
        twice = int((pixels & (painted != 0) & (painted != value)).sum())
        writing.losses.add("pixels painted twice (the later layer counts)", picture.record.path, twice)
        writing.losses.add("masks without pixels", picture.record.path, not pixels.any())
        painted[pixels] = value
    return painted


def voc_colour(value: int) -> Colour:
    """VOC's colour of a value: its bits, three by three, from the highest bit of each channel down."""
    red = green = blue = 0
    for bit in range(8):
        red |= (value >> (3 * bit) & 1) << (7 - bit)
        green |= (value >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (value >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue

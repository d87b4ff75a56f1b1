"""Semantic masks as PNG: an image's mask has its name, and a pixel's value or colour is its class.

Where `labelmap.txt` lies in the folder, as CVAT and Datumaro write it, it names the colours:
`name:red,green,blue::`. Without it people say what the values mean (`mask_values`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.files import image_sets
from workflow.formats.mask_values import Values, add_void
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images
from workflow.shapes.paint import paint
from workflow.tasks import BACKGROUND, MOST_PAINTED

Colour = tuple[int, int, int]
LABELMAP = "labelmap.txt"
# Where masks lie, and where the images do beside them.
FOLDERS = ("masks", "SegmentationClass")
IMAGES = ("images", "JPEGImages")
# From so many pixels on, marking which of 2^24 colours occur is quicker than sorting the pixels.
MANY_PIXELS = 1 << 19


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each PNG of `source`/masks (VOC's and CVAT's SegmentationClass), or of `source` itself."""
    colours = _labelmap(source / LABELMAP, reading)
    folder = next((source / name for name in FOLDERS if (source / name).is_dir()), source)
    suffix, values = reading.options.mask_suffix, Values(reading)
    pngs = [path for path in reading.below(folder) if path.suffix.lower() == ".png"]
    paths = [path for path in pngs if path.stem.endswith(suffix)]
    without = set(paths)
    sets = image_sets(source / "ImageSets" / "Segmentation")
    unpaired: list[str] = []
    for path in paths:
        stem = path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)
        name = reading.pair(*(f"{images}/{stem}" for images in IMAGES), stem, without=without)
        if name is None:
            unpaired.append(stem)
            continue
        page = _page(path, name, reading, colours, values)
        if page is not None:
            page.split = sets.get(stem)
            yield page
    _tell_unpaired(unpaired, reading)
    values.refuse_unknown(source)


def _page(path: Path, name: str, reading: Reading, colours: dict[Colour, str], values: Values) -> Page | None:
    """The page of one mask; None, and a problem, where it is no PNG or its colours have no names."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            page = reading.page(name, size=image.size)
            if page is None or not _fits(page):
                return page
            if not colours and len(image.getbands()) > 1:
                reading.problems.append(f"{path}: is in colour, and {LABELMAP} does not say what they mean")
                return None
            painted = np.asarray(image.convert("RGB") if colours else image)
    except (OSError, ValueError, SyntaxError) as error:
        reading.problems.append(f"{path}: no PNG ({error})")
        return None
    if colours:
        _by_colour(page, painted, colours, path)
    else:
        values.paint(page, painted)
    return page


def _fits(page: Page) -> bool:
    """Whether a mask has its image's size, one way up or the other; else its pixels are not even read."""
    image_name = page.reading.look([page.name])
    return image_name is not None and {page.width, page.height} == set(image_name[1:])


def _by_colour(page: Page, painted: Any, colours: dict[Colour, str], path: Path) -> None:
    codes = painted.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    for code in _distinct(codes).tolist():
        colour = (code >> 16, code >> 8 & 255, code & 255)
        label = colours.get(colour)
        if label is None:
            page.reading.problems.append(f"{path}: {LABELMAP} has no colour {','.join(map(str, colour))}")
        elif label in page.reading.options.void:
            add_void(page, codes == code)
        elif label != BACKGROUND:
            page.mask(label, codes == code)


def _distinct(codes: Any) -> Any:
    """The codes, below 2^24, that occur in an array of them, in order."""
    if codes.size < MANY_PIXELS:
        return np.unique(codes)
    marks = np.zeros(1 << 24, dtype=bool)
    marks[codes] = True
    return np.flatnonzero(marks)


def _tell_unpaired(stems: Sequence[str], reading: Reading) -> None:
    """Count masks without an image; where their names end alike, say how to tell the images'."""
    for stem in stems:
        reading.losses.add("images that are not there", stem)
    alike = os.path.commonprefix([stem[::-1] for stem in stems])[::-1]
    start = max(alike.rfind(sign) for sign in "_-. ")
    if start >= 0:
        reason = f"masks whose names end alike (--mask-suffix {alike[start:]} takes that off)"
        reading.losses.add(reason, count=len(stems))


def _labelmap(path: Path, reading: Reading) -> dict[Colour, str]:
    colours: dict[Colour, str] = {}
    if not path.exists():
        return colours
    for number, line in enumerate(doors.read_text(path).split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            label, colour, *_ = line.rsplit(":", 3)
            red, green, blue = (doors.whole(part, "a colour") for part in colour.split(","))
        except ValueError:
            reading.problems.append(f"{path}:{number}: {doors.shown(line)} is no `name:red,green,blue::`")
            continue
        if (red, green, blue) in colours:
            reading.problems.append(f"{path}:{number}: the colour of {label!r} is one of a line before")
        colours[red, green, blue] = label
    return colours


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """images/, masks/ and labelmap.txt; where layers overlap, the later one counts.

    The masks are gray, and a pixel's gray is its value: of a palette's, as VOC has them, OpenCV and FiftyOne
    would read the colours instead, and OpenCV's gray of a colour is another number.
    """
    from PIL import Image

    if len(writing.schema.classes) > MOST_PAINTED:
        raise FormatError(
            f"{len(writing.schema.classes)} classes do not fit a PNG of 8 bits",
            f"{MOST_PAINTED} are the most",
        )
    names = copy_images(pictures, target, writing, lambda picture: "images")
    for picture, name in zip(pictures, names, strict=True):
        path = (target / "masks" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_paint(picture, writing)).save(path)
    lines = [
        f"{label}:{value},{value},{value}::\n"
        for value, label in enumerate((BACKGROUND, *writing.schema.classes))
    ]
    (target / LABELMAP).write_text("# label:color_rgb:parts:actions\n" + "".join(lines), encoding="utf-8")


def _paint(picture: Picture, writing: Writing) -> Any:
    width, height = picture.size
    painting = paint(picture.annotations, writing.schema.classes, height, width)
    where = picture.record.path
    writing.losses.add("pixels painted twice (the later layer counts)", where, painting.twice)
    writing.losses.add("masks without pixels", where, painting.empty)
    return painting.pixels

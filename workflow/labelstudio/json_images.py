"""Which image a region of an export is of: tasks may show several.

A task's `data` holds addresses under keys, or lists of them. A region's `to_name` is the name of an `<Image>`
of the labeling interface, which says what key that shows; of a list, `item_index` counts its images. The
interface is not in the export, so a name must be a key itself, or somebody must say which key it shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from workflow.errors import FormatError
from workflow.formats.page import Reading
from workflow.labelstudio.regions.read import RELATION
from workflow.records import Json

ADVICE = "--image-key KEY, or NAME=KEY for each <Image> of the labeling interface"


@dataclass(frozen=True)
class Place:
    """One image of a task: under which `key`, and at which `index` where a list stands there."""

    key: str
    index: int = 0


@dataclass(frozen=True)
class ImageKeys:
    """What somebody said of the interface: `by_name` leads from an `<Image>`'s name to its key, and `only`,
    where it is not empty, is the key whose images are wanted, whatever their names.
    """

    by_name: Mapping[str, str]
    only: str = ""

    @classmethod
    def of(cls, pairs: Sequence[str]) -> ImageKeys:
        """From --image-key, given any number of times. FormatError where two say that it is the only one."""
        plain = [one for one in pairs if "=" not in one]
        if len(plain) > 1:
            raise FormatError(f"--image-key names {' and '.join(plain)}: which <Image> shows which?", ADVICE)
        return cls(dict(one.split("=", 1) for one in pairs if "=" in one), plain[0] if plain else "")

    def key_of(self, to_name: str, keys: Sequence[str]) -> str:
        """Which of a task's `keys` an `<Image>` of that name shows; empty where nobody can tell."""
        if to_name in self.by_name:
            return self.by_name[to_name]
        if to_name in keys or len(keys) == 1:
            return to_name if to_name in keys else keys[0]
        return self.only if self.only in keys else ""


def images_of(data: Json, reading: Reading) -> dict[Place, list[str]]:
    """The images of a task, each with what it may be called: our own name of it, and by its address."""
    images: dict[Place, list[str]] = {}
    for key, value in data.items():
        addresses = value if isinstance(value, list) else [value]
        for index, address in enumerate(addresses):
            names = list(_names(address, reading)) if isinstance(address, str) and key != "file" else []
            if names:
                images[Place(key, index)] = names
    file = data.get("file")
    if isinstance(file, str) and file:
        # What we pushed says so of its one image; of several nobody knows which it would be.
        if len(images) == 1:
            (names,) = images.values()
            names.insert(0, file)
        elif not images:
            images[Place("file")] = [file]
        elif "image_id" in data and reading.is_image(file):
            return {Place("file"): [file, *(name for names in images.values() for name in names)]}
    return images


def _names(address: str, reading: Reading) -> Iterator[str]:
    parts = urlsplit(address)
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0].lstrip("/")
    if reading.is_image(path):
        yield path
        # The server puts eight digits before the name of an uploaded file.
        yield re.sub(r"(^|/)[0-9a-f]{8}-([^/]*)$", r"\1\2", path)


def part(
    result: Sequence[Json], place: Place, images: Mapping[Place, Sequence[str]], keys: ImageKeys
) -> tuple[list[Json], int]:
    """The regions of one image with the relations that touch them, and how many are of none of the images.

    FormatError where nobody can tell which image a region is of.
    """
    places = [_place(region, images, keys) for region in result]
    own = [region for region, at in zip(result, places, strict=True) if at == place]
    ids = {str(region.get("id") or "") for region in own}
    for region in result:
        ends = {str(region.get(key) or "") for key in ("from_id", "to_id")}
        if region.get("type") == RELATION and (len(images) == 1 or ends & ids):
            own.append(region)
    drawn = sum(region.get("type") != RELATION for region in result)
    return own, drawn - sum(at in images for at in places)


def _place(region: Json, images: Mapping[Place, Sequence[str]], keys: ImageKeys) -> Place | None:
    """The image a region is of; None where it is of none, as a relation, or a choice about a text."""
    if region.get("type") == RELATION:
        return None
    own = list(dict.fromkeys(place.key for place in images))
    name = str(region.get("to_name") or "")
    key = keys.key_of(name, own)
    if not key:
        what = f"shows several images ({', '.join(own)}), and a region is of {name!r}"
        raise FormatError(what, ADVICE)
    of_key = sum(place.key == key for place in images)
    index = region.get("item_index")
    if of_key > 1 and index is None:
        raise FormatError(f"{key} is a list of {of_key} images, and a region has no item_index")
    place = Place(key, index or 0)
    if of_key and place not in images:
        raise FormatError(f"a region is of image {index!r} of {key}, which has {of_key}")
    return place

"""The images a foreign source speaks of: found below known folders only, measured by their headers.

No path of a source is trusted: one that leads out of the folders is refused, never opened.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from workflow.images import decode

ORIENTATION = 0x0112
# EXIF's orientations that turn an image by a quarter, so that its stored width is its upright height.
QUARTER = (5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Measured:
    """An image file: its path, upright size in pixels, and EXIF's orientation (1 is upright)."""

    path: Path
    name: str
    width: int
    height: int
    orientation: int


@dataclass
class Finder:
    """Finds images by path or name, also without the suffix, below the first of `folders` that has them."""

    folders: Sequence[Path]
    problems: list[str] = field(default_factory=list)
    measured: dict[str, Measured | None] = field(default_factory=dict)

    @cached_property
    def listed(self) -> list[dict[str, Path]]:
        """The images below each folder by path; not walked while the paths of a source are right."""
        found: list[dict[str, Path]] = []
        for folder in self.folders:
            own: dict[str, Path] = {}
            for root, below, names in os.walk(folder):
                below[:] = sorted(name for name in below if not name.startswith("."))
                for path in (Path(root, name) for name in sorted(names)):
                    if path.suffix.lower() in decode.SUFFIXES and not path.name.startswith("."):
                        own[path.relative_to(folder).as_posix()] = path
            found.append(own)
        return found

    @cached_property
    def by_name(self) -> list[dict[str, list[str]]]:
        """The paths below each folder that end in a name, with and without its suffix."""
        found: list[dict[str, list[str]]] = [defaultdict(list) for _ in self.folders]
        for own, ends in zip(self.listed, found, strict=True):
            for name, path in own.items():
                ends[path.name].append(name)
                ends[path.stem].append(name)
        return found

    def look(self, names: Sequence[str]) -> tuple[str, int, int] | None:
        """Name and upright size of the first of `names` that is there. What leads out is a problem."""
        for name in names:
            found = self._find(name)
            if found is not None and (image := self.measure(found)) is not None:
                return found, image.width, image.height
        return None

    def pair(self, *paths: str) -> str | None:
        """The image whose path without suffix is one of `paths`, or ends as the first does."""
        wanted = PurePosixPath(paths[0]).name
        near = [name for ends in self.by_name for name in ends.get(wanted, ())]
        for path in paths:
            same = {name for name in near if str(PurePosixPath(name).with_suffix("")) == path}
            if len(same) == 1:
                return same.pop()
        return self._first(wanted, paths[0])

    def _find(self, name: str) -> str | None:
        pure = PurePosixPath(name.replace("\\", "/"))
        for folder in self.folders:
            if pure.is_relative_to(folder.as_posix()):
                pure = pure.relative_to(folder.as_posix())
        if pure.is_absolute() or ".." in pure.parts or ":" in (pure.parts or ("",))[0]:
            self.problems.append(f"{name!r} leads out of {self.folders[0]}")
            return None
        there = pure.suffix.lower() in decode.SUFFIXES and any((f / pure).is_file() for f in self.folders)
        return str(pure) if there else self._first(pure.name, name)

    def _first(self, end: str, wanted: str) -> str | None:
        """The one image that ends so, of the first folder that has any; several there are a problem."""
        found = next((ends[end] for ends in self.by_name if end in ends), [])
        if len(found) > 1:
            self.problems.append(f"{wanted!r} may be {' or '.join(found[:3])}")
        return found[0] if len(found) == 1 else None

    def measure(self, name: str) -> Measured | None:
        """An image's size, from its header; None where it is no image."""
        if name not in self.measured:
            path = next(folder / name for folder in self.folders if (folder / name).is_file())
            size = _header(path)
            self.measured[name] = Measured(path, name, *size) if size else None
        return self.measured[name]


def _header(path: Path) -> tuple[int, int, int] | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            orientation = image.getexif().get(ORIENTATION, 1)
            # Pillow gives the size of a TIFF upright already.
            turned = orientation in QUARTER and image.format != "TIFF"
    except Exception:
        # Pillow raises OSError, SyntaxError, ValueError and more; the catalog says what is wrong.
        return None
    return (height, width, orientation) if turned else (width, height, orientation)

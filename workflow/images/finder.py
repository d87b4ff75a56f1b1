"""The images a foreign source speaks of: found below known folders only, measured by their headers.

A source may name an image as it lay on another machine (`C:\\photos\\day1\\1.png`, `/data/upload/4/1.png`,
`../imgs/1.png`). No such path is opened: what is below the known folders is compared with it, by this rule.

1. Of a name the drive, an address's server and what leads out (a leading `/` or `..`) are left away, and, if
   there is no folder `upload`, those under which Label Studio keeps uploads (`media/upload/4/`). Backslashes
   are slashes.
2. A name fits a file where, read from their ends, they agree in every part that both have: `day1/1.png` fits
   `x/day1/1.png` and, its folder being a given one, `1.png`; it does not fit `day2/1.png`. Nor does it fit
   `1.png` where there is a folder day1: a folder that can be matched must be.
3. The first given folder that holds the very path counts, else the first in which a file fits, there the one
   that agrees in most parts. Several that agree alike are a problem, and so are two names for one file.
4. In a folder nobody gave for this source, the project's own, a file must agree in all parts of the name.
5. Where nothing fits, names are compared with accents composed (Unicode's NFC); and after that, if people ask
   for it, by the last part alone.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from workflow.images import decode
from workflow.images.orientation import header

UPLOAD = "upload"
Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """An image file: its path, upright size in pixels, and EXIF's orientation (1 is upright)."""

    path: Path
    name: str
    width: int
    height: int
    orientation: int


def stated_parts(name: str) -> Parts:
    """What a name says of where an image is: folders and file, without what is another machine's."""
    if re.match(r"[a-z][a-z0-9+.-]+://", name, re.IGNORECASE):
        name = unquote(name.split("://", 1)[1].partition("/")[2].partition("?")[0])
    name = re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/"))
    parts = PurePosixPath(os.path.normpath(name.lstrip("/") or ".")).parts
    return tuple(part for part in parts if part not in ("..", "."))


def without_upload(parts: Parts) -> Parts:
    """A name's parts without the folders in which Label Studio keeps what was uploaded: upload/NUMBER."""
    ends = [n for n in range(1, len(parts) - 1) if parts[n - 1] == UPLOAD and parts[n].isdecimal()]
    return parts[ends[-1] + 1 :] if ends else parts


def agreement(stated: Parts, path: Parts) -> int:
    """In how many parts, from their ends, a name and a file's path agree; 0 where they contradict.

    A name without an image's suffix agrees with a file of any.
    """
    last = path[-1] if _is_image(stated[-1]) else str(PurePosixPath(path[-1]).with_suffix(""))
    pairs = zip((stated[-1], *stated[-2::-1]), (last, *path[-2::-1]), strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return alike if alike == min(len(stated), len(path)) else 0


class Tree:
    """The images below a folder, by the last part of their paths, `spelled` in one of Unicode's ways."""

    def __init__(self, paths: Sequence[Parts], spelled: Callable[[str], str] = str) -> None:
        self.ends: dict[str, dict[Parts, Parts]] = defaultdict(dict)
        self.folders: set[Parts] = set()
        for path in paths:
            plain = tuple(map(spelled, path))
            self.ends[plain[-1]][path] = plain
            self.ends[str(PurePosixPath(plain[-1]).with_suffix(""))][path] = plain
            above = plain[:-1]
            if above not in self.folders:
                self.folders.update(above[start:] for start in range(len(above)))

    def fitting(self, stated: Parts, whole: bool) -> list[Parts]:
        """The paths that a name fits best; with `whole`, only those that agree in all of its parts."""
        fits: dict[int, list[Parts]] = defaultdict(list)
        for path, plain in self.ends.get(stated[-1], {}).items():
            alike = agreement(stated, plain)
            if alike == len(stated) or (alike and not whole and not self._has_more(stated, alike)):
                fits[alike].append(path)
        best = fits[max(fits)] if fits else []
        # The very path is no riddle where a file deeper down agrees as well.
        return [path for path in best if len(path) == len(stated)] or best

    @cached_property
    def has_uploads(self) -> bool:
        return any(UPLOAD in folder for folder in self.folders)

    def _has_more(self, stated: Parts, alike: int) -> bool:
        """Whether there are folders that agree in one part more than a file did."""
        return stated[-1 - alike : -1] in self.folders


@dataclass
class Finder:
    """Finds images below the `folders` given for a source, then in the project's `own`.

    What cannot be decided is a problem. `elsewhere` leads from names that fit no file to a file that is
    called alike; with `by_name` those are taken, and listed in `by_name_alone`.
    """

    folders: Sequence[Path]
    own: Path | None = None
    by_name: bool = False
    problems: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)
    by_name_alone: list[str] = field(default_factory=list)
    measured: dict[str, Measured | None] = field(default_factory=dict)
    # A file -> the name that led there, of the two ways to ask.
    looked: dict[str, str] = field(default_factory=dict)
    paired: dict[str, str] = field(default_factory=dict)

    @property
    def everywhere(self) -> list[Path]:
        return [*self.folders, *([self.own] if self.own else [])]

    @cached_property
    def trees(self) -> list[Tree]:
        """A tree a folder; not walked while the paths of a source are right."""
        return [Tree(paths) for paths in self._paths]

    @cached_property
    def composed_trees(self) -> list[Tree]:
        return [Tree(paths, _composed) for paths in self._paths]

    @cached_property
    def _paths(self) -> list[list[Parts]]:
        return [[path.relative_to(top).parts for path in images_below(top)] for top in self.everywhere]

    def look(self, names: Sequence[str]) -> tuple[str, int, int] | None:
        """Name and upright size of the first of `names` that is there."""
        paths = (self._by_path(name, self._parts(name)) for name in names)
        alike = (self._by_name(names[0], name) for name in names)
        for path in chain(paths, alike):
            if path is not None and (image := self.measure(path)) is not None:
                self._claim(self.looked, path, names[0])
                return path, image.width, image.height
        return None

    def pair(self, *paths: str, without: Collection[Path] = ()) -> str | None:
        """The image that one of `paths`, without a suffix, leads to; the files of `without` are none."""
        fits = (self._fitting(paths[0], stated_parts(path), without) for path in paths)
        path = next((path for path in fits if path), None) or self._by_name(paths[0], paths[0], without)
        if path is not None:
            self._claim(self.paired, path, paths[0])
        return path

    def measure(self, name: str) -> Measured | None:
        """An image's size, from its header; None where it is no image."""
        if name not in self.measured:
            path = next(top / name for top in self.everywhere if _is_file(top / name))
            size = header(path)
            self.measured[name] = Measured(path, name, *size) if size else None
        return self.measured[name]

    def _parts(self, name: str) -> Parts:
        """A name's parts, below the folder where it leads into one."""
        path = PurePosixPath(os.path.normpath(name)) if name else PurePosixPath()
        for top in self.everywhere:
            if path.is_relative_to(top.as_posix()):
                return path.relative_to(top.as_posix()).parts
        return stated_parts(name)

    def _by_path(self, name: str, parts: Parts) -> str | None:
        path = "/".join(parts)
        if path and any(_is_file(folder / path) for folder in self.folders):
            return path
        return self._fitting(name, parts)

    def _fitting(self, name: str, parts: Parts, without: Collection[Path] = ()) -> str | None:
        """The one file that a name fits, by the rule above; several are a problem."""
        for stated in filter(None, dict.fromkeys((parts, *self._as_uploaded(parts)))):
            composed = tuple(map(_composed, stated))
            for plain, trees in ((stated, self.trees), (composed, self.composed_trees)):
                for top, tree in zip(self.everywhere, trees, strict=True):
                    fitting = self._others(tree.fitting(plain, top == self.own), top, without)
                    if fitting:
                        return self._only(fitting, name)
        return None

    def _as_uploaded(self, parts: Parts) -> list[Parts]:
        uploads = any(tree.has_uploads for tree in self.trees)
        return [] if uploads else [without_upload(parts)]

    def _by_name(self, stated: str, name: str, without: Collection[Path] = ()) -> str | None:
        """The file whose last part is that of a name: taken only where people asked for it."""
        last = tuple(map(_composed, stated_parts(name)[-1:]))
        for top, tree in zip(self.everywhere, self.composed_trees, strict=True):
            paths = self._others([*tree.ends.get(last[0], {})] if last else [], top, without)
            if not paths:
                continue
            self.elsewhere.setdefault(stated, "/".join(paths[0]))
            path = self._only(paths, stated) if self.by_name else None
            if path:
                self.by_name_alone.append(path)
            return path
        return None

    def _others(self, paths: list[Parts], top: Path, without: Collection[Path]) -> list[Parts]:
        return [path for path in paths if top.joinpath(*path) not in without] if without else paths

    def _only(self, paths: Sequence[Parts], name: str) -> str | None:
        if len(paths) > 1:
            self.problems.append(f"{name!r} may be {' or '.join('/'.join(path) for path in paths[:3])}")
        return "/".join(paths[0]) if len(paths) == 1 else None

    def _claim(self, claims: dict[str, str], path: str, name: str) -> None:
        """Two names for one file: one of them means another file, which is not there."""
        first, parts = claims.setdefault(path, name), self._parts(name)
        # Whoever found a file calls it by its very path from then on.
        if "/".join(parts) != path and self._parts(first) != parts:
            what = f"{first!r} and {name!r} would both be {path}"
            self.problems.append(f"{what}: give --images the folder in which they are apart")


def images_below(folder: Path) -> list[Path]:
    """The image files below a folder by their suffixes, sorted; hidden ones are none."""
    return sorted(
        Path(root, name)
        for root, names in _walk(folder)
        for name in names
        if _is_image(name) and not name.startswith(".")
    )


def usual_suffix(path: Path) -> str:
    """The suffix that files of an image's format have."""
    from PIL import Image

    with Image.open(path) as image:
        name = image.format or ""
    return {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}.get(name, f".{name.lower()}")


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder below `folder` with its files; also behind links, each of those folders once."""
    behind = {folder.resolve()}
    for root, below, names in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(below):
            if name.startswith("."):
                continue
            if (path := Path(root, name)).is_symlink():
                real = path.resolve()
                # What it leads to is walked anyway; or it leads to above, and round and round.
                if any(real.is_relative_to(top) or top.is_relative_to(real) for top in behind):
                    continue
                behind.add(real)
            kept.append(name)
        below[:] = kept
        yield root, names


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no system takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in decode.SUFFIXES


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)

"""Images beside labels that are written: copies under flat names, and names.csv that says whose each is.

A name has no folders: readers of YOLO look for the last folder called `images`, those of image folders take
the first folder for the class, and those of VOC join a file's name to one folder.
"""

from __future__ import annotations

import csv
import io
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from workflow.formats.page import Picture, Writing

NAMES = "names.csv"
# Suffixes that readers pass over, of files that they read under another.
SUFFIXES = {".jpe": ".jpg", ".jfif": ".jpg"}
# What ultralytics, torchvision and supervision look for.
READ_BY_ALL = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
# Bytes of a name, which leave room for a longer suffix: file systems take 255.
LONGEST = 240


def copy_images(
    pictures: Sequence[Picture], target: Path, writing: Writing, folder_of: Callable[[Picture], str]
) -> list[str]:
    """Copy each image, as it is, to `target`/FOLDER/NAME; the names, none like another, also without suffix.

    `target`/names.csv has a line an image: where it is now, the project's path of it, and its id. Those whose
    kind some readers pass over are told.
    """
    names = flat_names(pictures)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "image", "id"])
    for picture, name in zip(pictures, names, strict=True):
        place = PurePosixPath(folder_of(picture), name)
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with picture.path.open("rb") as original, path.open("wb") as copy:
            shutil.copyfileobj(original, copy)
        table.writerow([place, picture.record.path, picture.record.id])
    if strange := sorted({PurePosixPath(name).suffix.lower() for name in names} - READ_BY_ALL):
        count = sum(name.lower().endswith(tuple(strange)) for name in names)
        writing.notes.append(f"{count} images are {', '.join(strange)}, which some readers pass over")
    put(target / NAMES, text.getvalue().encode("utf-8", "surrogateescape"))
    return names


def put(path: Path, content: bytes) -> None:
    """Write a file of a folder that appears only when it is whole, so that none of its files must."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def flat_names(pictures: Sequence[Picture]) -> list[str]:
    """For each image its file's name; with its folders or its id before it where that is another's too.

    Names that differ only in suffix, case or the way they spell an accent are the same.
    """
    paths = [_usual(PurePosixPath(picture.record.path)) for picture in pictures]
    alike = Counter(_key(path.name) for path in paths)
    taken: set[str] = {_key(path.name) for path in paths if alike[_key(path.name)] == 1}
    names = []
    for picture, path in zip(pictures, paths, strict=True):
        if alike[_key(path.name)] == 1:
            names.append(path.name)
            continue
        options = ["-".join(path.parts), f"{path.stem}-{picture.record.id}{path.suffix}"]
        fitting = (name for name in options if _key(name) not in taken and len(name.encode()) <= LONGEST)
        names.append(next(fitting, f"{picture.record.id}{path.suffix}"))
        taken.add(_key(names[-1]))
    return names


def _usual(path: PurePosixPath) -> PurePosixPath:
    return path.with_suffix(SUFFIXES.get(path.suffix.lower(), path.suffix))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", PurePosixPath(name).stem).casefold()

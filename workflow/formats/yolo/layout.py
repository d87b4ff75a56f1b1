"""Where YOLO's images and label files lie: as ultralytics has it, and as other tools leave it.

| who | images | label files | what says which |
|---|---|---|---|
| ultralytics | images/train | labels/train | `train: images/train` in data.yaml |
| CVAT | images/train | labels/train | `train: train.txt`, a list of paths |
| Roboflow | train/images | train/labels | `train: ../train/images`, which means train/images |
| labelImg | beside the labels | beside the images | nothing |
| darknet | obj_train_data | beside the images | train.txt |

A folder or list of another machine's means the one here whose path is its longest end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from workflow.formats import doors
from workflow.formats.page import SPLITS, Reading
from workflow.records import Split

# Text files that lie among label files and are none, but for their suffix.
NO_LABELS = ("classes", "predefined_classes", "labels", "notes", "obj", *SPLITS)


@dataclass(frozen=True)
class Pair:
    """An image by what the source calls it, the label file it should have, and its split."""

    image: str
    labels: Path
    split: Split | None = None


def pairs(source: Path, data: dict[str, Any], reading: Reading) -> Iterator[Pair]:
    """Each image below `source` or in its lists; where none is there, each label file's."""
    images: dict[str, Pair] = {}
    folders = []
    for path, split in _listed(source, data, reading):
        if path.is_dir():
            folders.append(path)
            names = [image.relative_to(source).as_posix() for image in reading.below(path)]
            pairs_there = [Pair(name, label_file(source / name, source), split) for name in names]
        else:
            pairs_there = [_of_line(line, source, split, reading) for line in _lines(path)]
        for pair in pairs_there:
            images.setdefault(pair.image, pair)
    taken: dict[Path, str] = {}
    for pair in images.values():
        other = taken.setdefault(pair.labels, pair.image)
        if other != pair.image and pair.labels.exists():
            what = f"is that of {other} and of {pair.image}"
            reading.problems.append(f"{pair.labels}: {what}: each image needs one of its own")
        else:
            yield pair
    yield from _left_over(source, folders, taken, reading)


def label_file(image: Path, source: Path) -> Path:
    """ultralytics' rule: the last folder called images becomes labels, the suffix .txt; or beside it."""
    parts = image.relative_to(source).parts
    usual = source.joinpath(*_swapped(parts, "images", "labels")).with_suffix(".txt")
    ways = (path.with_suffix(suffix) for path in (usual, image) for suffix in (".txt", ".TXT"))
    return next((path for path in ways if path.exists()), usual)


def _swapped(parts: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    """A path whose last folder `old` is `new`."""
    folders = parts[:-1]
    if old not in folders:
        return parts
    place = len(folders) - 1 - folders[::-1].index(old)
    return (*parts[:place], new, *parts[place + 1 :])


def _listed(source: Path, data: dict[str, Any], reading: Reading) -> list[tuple[Path, Split | None]]:
    """The folders and lists that data.yaml names, each with its split; else whatever there is."""
    named = [(key, entry) for key in SPLITS for entry in _entries(data.get(key))]
    places = [(key, entry, _place(source, str(data.get("path") or ""), entry)) for key, entry in named]
    listed: list[tuple[Path, Split | None]] = [(path, SPLITS[key]) for key, _, path in places if path]
    gone = [(key, entry) for key, entry, path in places if path is None]
    if gone and not listed and reading.below(source):
        reading.problems += [_why_gone(source, key, entry) for key, entry in gone]
        return []
    for key, entry in gone:
        reading.losses.add("folders or lists of data.yaml that are not there", f"{key}: {entry}")
    if named:
        return listed
    lists = [(path, SPLITS[key]) for key in SPLITS if _is_list(path := source / f"{key}.txt")]
    folder = source / "images"
    return [*lists, (folder if folder.is_dir() else source, None)]


def _entries(value: Any) -> list[str]:
    """One path, or several."""
    return [str(entry) for entry in (value if isinstance(value, list) else [value]) if entry]


def _place(source: Path, base: str, entry: str) -> Path | None:
    """The folder or list within `source` that a path of data.yaml means."""
    whole = os.path.normpath(PurePosixPath(base.replace("\\", "/"), entry.replace("\\", "/")))
    parts = [part for part in PurePosixPath(whole).parts if part not in ("/", "..")]
    if not parts:
        return source
    ends = (source.joinpath(*parts[start:]) for start in range(len(parts)))
    return next((path for path in ends if path.is_dir() or path.suffix == ".txt" and path.is_file()), None)


def _why_gone(source: Path, key: str, entry: str) -> str:
    path = source / entry.removeprefix("../")
    if not Path(os.path.normpath(path)).is_relative_to(source):
        return f"data.yaml: {key}: {entry!r} leads out of {source}"
    return f"data.yaml: {key}: {path} is no folder of images"


def _is_list(path: Path) -> bool:
    """Whether a text file is a list of paths, and not the label file of an image called like a split."""
    first = next(iter(_lines(path)), "") if path.is_file() else ""
    return bool(first) and not first.split()[0].replace(".", "").isdecimal()


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in doors.read_text(path).splitlines() if line.strip()]


def _of_line(line: str, source: Path, split: Split | None, reading: Reading) -> Pair:
    """The pair of a line of a list. Where its image lies elsewhere, its labels are found by the line."""
    image = reading.look([line])
    name = image[0] if image else line
    if image and (source / name).is_file():
        return Pair(name, label_file(source / name, source), split)
    parts = _swapped(tuple(PurePosixPath(line.replace("\\", "/")).parts), "images", "labels")
    starts = (start for start, part in enumerate(parts) if part != "/")
    ends = [source.joinpath(*parts[start:]).with_suffix(".txt") for start in starts]
    whole = [path for path in ends if "labels" in path.relative_to(source).parts[:-1]] or ends
    return Pair(name, next((path for path in whole if path.exists()), whole[0]), split)


def _left_over(source: Path, folders: list[Path], taken: dict[Path, str], reading: Reading) -> Iterator[Pair]:
    """Label files without an image: counted; where no image here has any, they say which there are."""
    some = any(path.exists() for path in taken)
    tops = [label_file(folder / "any", source).parent for folder in folders] if some else [_labels(source)]
    files = {path for top in tops for path in top.rglob("*") if path.suffix.lower() == ".txt"}
    for path in sorted(files - taken.keys()):
        if path.stem.lower() in NO_LABELS or path.stem.lower().startswith("readme"):
            continue
        name = path.relative_to(source).with_suffix("")
        if some:
            reading.losses.add("label files whose image is not there", str(name) + path.suffix)
            continue
        plain = PurePosixPath(*(part for part in name.parts if part != "labels"))
        ways = (str(PurePosixPath(*_swapped(name.parts, "labels", "images"))), str(plain))
        yield Pair(reading.pair(*ways) or str(plain), path)


def _labels(source: Path) -> Path:
    return source / "labels" if (source / "labels").is_dir() else source

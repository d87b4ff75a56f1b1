"""YOLO's folders: data.yaml, images/ and labels/ side by side; for classification a folder a class.

Format: https://docs.ultralytics.com/datasets/. What a label file says, `lines` reads and writes. What tools
without data.yaml leave is read too; where it lies, `layout` says. An image without a label file has not been
looked at, whereas an empty label file says that nothing is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats import folder as image_folder
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images, put
from workflow.formats.yolo import layout
from workflow.formats.yolo.lines import Kind, from_lines, to_lines
from workflow.tasks import TaskName

KINDS: dict[TaskName, Kind] = {
    "detection": "detect",
    "instance-segmentation": "segment",
    "oriented-detection": "obb",
    "keypoints": "pose",
}
# Split -> the folder ultralytics' own data sets have for it.
FOLDERS = {"train": "train", "validation": "val", "test": "test"}
# Files of a class a line: of labelImg, which puts it among the labels, and of darknet.
NAMES = ("classes.txt", "labels/classes.txt", "obj.names")
LABELED = "images without a label file (an empty one says that nothing is there)"


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each image that has a label file. FormatError where nothing names the classes."""
    if reading.schema.task.exclusive:
        yield from image_folder.read(source, reading)
        return
    data = _data(source)
    names, points = _names(data, source), _points(data, reading)
    for pair in layout.pairs(source, data, reading):
        page = reading.page(pair.image)
        if page is None:
            continue
        if not pair.labels.exists():
            reading.losses.add(LABELED, pair.image)
            continue
        page.split = pair.split
        _read(page, pair.labels, names, points, data.get("kpt_shape", [0, 3])[1])
        yield page


def _data(source: Path) -> dict[str, Any]:
    """What data.yaml says; of folders without one, what classes.txt does."""
    found = sorted(p for p in source.iterdir() if p.suffix in (".yaml", ".yml"))
    if not found:
        ways = [source / name for name in NAMES if (source / name).exists()]
        if not ways:
            raise FormatError(f"{source}: has neither data.yaml nor classes.txt")
        return {"names": doors.read_text(ways[0]).split("\n")}
    if len(found) > 1:
        raise FormatError(f"{source}: which is it, {' or '.join(p.name for p in found)}?", "leave one there")
    data = doors.load_yaml(found[0])
    if not isinstance(data, dict) or "names" not in data:
        raise FormatError(f"{found[0]}: has no names")
    return data


class _Names(doors.Record):
    names: tuple[Annotated[str, BeforeValidator(doors.name)], ...]


def _names(data: dict[str, Any], source: Path) -> list[str]:
    given = data["names"]
    if isinstance(given, dict):
        numbered = {doors.plain(key): name for key, name in given.items()}
        if set(numbered) != set(range(len(given))):
            raise FormatError(f"{source}: names are not numbered from 0 on")
        given = [numbered[number] for number in range(len(given))]
    names = list(doors.take(_Names, {"names": given}, f"{source}: data.yaml").names)
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if twice := next((name for name in names if names.count(name) > 1), None):
        numbers = " and ".join(str(number) for number, name in enumerate(names) if name == twice)
        raise FormatError(f"{source}: the classes {numbers} are both called {twice!r}", "give each its name")
    return names


def _points(data: dict[str, Any], reading: Reading) -> list[str]:
    """The keypoints' names; the project's own where data.yaml has as many and no names."""
    if not reading.schema.task.points:
        return []
    count = data.get("kpt_shape", [len(reading.schema.keypoints)])[0]
    named = data.get("kpt_names") or reading.schema.keypoints
    named = next(iter(named.values())) if isinstance(named, dict) else named
    if len(named) != count:
        what = f"data.yaml has {count} keypoints without names, and the project {len(named)}"
        raise FormatError(what, "name them by kpt_names in data.yaml")
    return [str(name) for name in named]


def _read(page: Page, labels: Path, names: Sequence[str], points: Sequence[str], numbers: int) -> None:
    reading = page.reading
    kind = KINDS[reading.schema.task.name]
    lines = (doors.tried(reading.problems, doors.read_text, labels) or "").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        line, score = _score(line, kind, len(points) * numbers)
        parts = line.split()
        if kind in ("detect", "pose") and any(_is_zero(side) for side in parts[3:5]):
            page.drop("boxes without an area")
            continue
        if kind == "pose" and numbers == 2:
            parts[5:] = [n for x, y in zip(parts[5::2], parts[6::2], strict=False) for n in (x, y, "2")]
        try:
            # Blank lines before it, so that an error and an object's name tell the line's number.
            text = "\n" * (number - 1) + " ".join(parts)
            size = (page.width, page.height)
            found, losses = from_lines(text, *size, names, reading.provenance, kind, points)
        except FormatError as error:
            reading.problems.append(f"{labels}:{error.problem.removeprefix('line ')}")
            continue
        for reason, count in losses.items():
            page.lose(reason, count)
        for annotation in found:
            page.add(replace(annotation, score=None if annotation.keypoints else score))


def _score(line: str, kind: Kind, points: int) -> tuple[str, float | None]:
    """A prediction's line has its score at the end."""
    parts = line.split()
    plain = {"detect": 5, "obb": 9, "pose": 5 + points}.get(kind, len(parts) - (len(parts) % 2 == 0))
    if len(parts) != plain + 1:
        return line, None
    try:
        score = float(parts[-1])
    except ValueError:
        return line, None
    return (" ".join(parts[:-1]), score) if 0 <= score <= 1 else (line, None)


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """images/SPLIT, labels/SPLIT and data.yaml; for classification SPLIT/CLASS.

    Where no image is in train or in val, which ultralytics wants both, data.yaml gives another split for it.
    """
    schema = writing.schema
    if schema.task.exclusive:
        image_folder.write(target, pictures, writing, FOLDERS)
        lent = _lent([folder for folder in FOLDERS.values() if (target / folder).is_dir()], writing)
        for missing, folder in lent.items():
            (target / missing).symlink_to(folder)
        return
    names = copy_images(pictures, target, writing, lambda picture: f"images/{FOLDERS[picture.record.split]}")
    for picture, name in zip(pictures, names, strict=True):
        path = target / "labels" / FOLDERS[picture.record.split] / name
        put(path.with_suffix(".txt"), _lines(picture, writing).encode())
    used = {picture.record.split for picture in pictures}
    folders = [folder for split, folder in FOLDERS.items() if split in used]
    data: dict[str, Any] = {"names": dict(enumerate(schema.classes))}
    data |= {folder: f"images/{folder}" for folder in folders}
    data |= {missing: f"images/{folder}" for missing, folder in _lent(folders, writing).items()}
    if schema.keypoints:
        data["kpt_shape"] = [len(schema.keypoints), 3]
        data["kpt_names"] = {number: list(schema.keypoints) for number in range(len(schema.classes))}
    put(target / "data.yaml", _yaml(data).encode())


def _lent(folders: Sequence[str], writing: Writing) -> dict[str, str]:
    """Which of the `folders` stands in for train and for val where they are not among them; that is told."""
    lent = {missing: folders[0] for missing in ("train", "val") if folders and missing not in folders}
    for missing, folder in lent.items():
        writing.notes.append(f"no image is in {missing}, which ultralytics needs: {folder} stands in for it")
    return lent


def _lines(picture: Picture, writing: Writing) -> str:
    kind = KINDS[writing.schema.task.name]
    text, losses = to_lines(
        picture.annotations, *picture.size, writing.schema.classes, kind, writing.schema.keypoints
    )
    for reason, count in losses.items():
        writing.losses.add(reason, picture.record.path, count)
    return text


def _yaml(data: dict[str, Any]) -> str:
    """YAML whose values are JSON, which is YAML too, and quotes any name."""
    lines = []
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"  {number}: {json.dumps(name)}" for number, name in value.items())]
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"

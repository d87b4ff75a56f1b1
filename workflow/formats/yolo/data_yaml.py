"""data.yaml: the classes, the keypoints and the folders of a YOLO data set, each value checked.

Format: https://docs.ultralytics.com/datasets/detect/#ultralytics-yolo-format. Values are taken as they are
written (`doors.load_yaml`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.page import SPLITS, Reading

# Files of a class a line: of labelImg, which puts it among the labels, and of darknet.
NAMES = ("classes.txt", "labels/classes.txt", "obj.names")


@dataclass
class Data:
    """What data.yaml says: the classes' names, of each object's points and how many numbers each has.

    `folders` has the paths of images, a list a split, and `path`, the folder below which they are.
    """

    names: list[str]
    points: list[str] = field(default_factory=list)
    numbers: int = 3
    folders: dict[str, Any] = field(default_factory=dict)


def read_data(source: Path, reading: Reading) -> Data:
    """What data.yaml says; of folders without one, what classes.txt does. FormatError names what is wrong."""
    files = sorted(p for p in source.iterdir() if p.suffix.lower() in (".yaml", ".yml"))
    if len(files) > 1:
        raise FormatError(f"{source}: which is it, {' or '.join(p.name for p in files)}?", "leave one there")
    if not files:
        return _of_classes(source)
    content = doors.load_yaml(files[0])
    if not isinstance(content, dict) or "names" not in content:
        raise FormatError(f"{files[0]}: has no names")
    try:
        data = Data(_numbered(content["names"], "names"))
        data.folders = {key: _paths(content[key], key) for key in ("path", *SPLITS) if content.get(key)}
        if reading.schema.task.points:
            _read_points(content, data, reading)
    except ValueError as error:
        raise FormatError(f"{files[0]}: {error}") from None
    doors.refuse_twice(data.names, "names", str(files[0]), "the name")
    doors.refuse_twice(data.points, "kpt_names", str(files[0]), "the name")
    return data


def _of_classes(source: Path) -> Data:
    ways = [source / name for name in NAMES if (source / name).exists()]
    if not ways:
        raise FormatError(f"{source}: has neither data.yaml nor classes.txt")
    lines = [line.strip() for line in doors.read_text(ways[0]).rstrip().split("\n")]
    if "" in lines:
        raise FormatError(f"{ways[0]}:{lines.index('') + 1}: names no class, and lines count", "name it")
    doors.refuse_twice(lines, "classes", str(ways[0]), "the name")
    return Data(lines)


def _numbered(names: Any, what: str) -> list[str]:
    """A list of names, or an object whose keys number them from 0 on."""
    if isinstance(names, dict):
        by_number = {doors.whole(key, f"a number of {what}"): name for key, name in names.items()}
        if by_number.keys() != set(range(len(names))):
            raise ValueError(f"{what} are not numbered from 0 on")
        names = [by_number[number] for number in range(len(names))]
    return [_text(name, f"{what}[{place}]").strip() for place, name in enumerate(_list(names, what))]


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is {doors.shown(value)}, not a list")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is {doors.shown(value)}, not text")
    return value


def _paths(value: Any, key: str) -> Any:
    if isinstance(value, list) and key != "path":
        return [_text(one, f"{key}[{place}]") for place, one in enumerate(value)]
    return _text(value, key)


def _read_points(content: dict[str, Any], data: Data, reading: Reading) -> None:
    """The keypoints' names; the project's own where data.yaml has as many and no names."""
    shape = _list(content.get("kpt_shape") or [str(len(reading.schema.keypoints)), "3"], "kpt_shape")
    if len(shape) != 2 or str(shape[1]) not in ("2", "3"):
        raise ValueError(f"kpt_shape is {doors.shown(shape)}, not [how many points, 2 or 3]")
    count, data.numbers = doors.whole(shape[0], "kpt_shape[0]"), int(shape[1])
    named: Any = content.get("kpt_names") or list(reading.schema.keypoints)
    if isinstance(named, dict):
        # ultralytics names them a class; ours are those of every class.
        ways = [_numbered(one, "kpt_names") for one in named.values()]
        if any(way != ways[0] for way in ways):
            raise ValueError("kpt_names differ from class to class")
        named = ways[0]
    data.points = _numbered(named, "kpt_names")
    if len(data.points) != count:
        what = f"data.yaml has {count} keypoints without names, and the project {len(data.points)}"
        raise FormatError(what, "name them by kpt_names in data.yaml")

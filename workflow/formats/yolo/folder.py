"""YOLO's folders: data.yaml, images/ and labels/ side by side; for classification a folder a class.

Format: https://docs.ultralytics.com/datasets/. What a label file says, `lines` reads and writes. What tools
without data.yaml leave is read too; where it lies, `layout` says. An image without a label file has not been
looked at, whereas an empty label file says that nothing is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workflow.formats import folder as image_folder
from workflow.formats.page import Page, Picture, Reading, Writing
from workflow.formats.pictures import copy_images, put
from workflow.formats.yolo import layout
from workflow.formats.yolo.data_yaml import read_data
from workflow.formats.yolo.label_files import LabelFile, read_labels
from workflow.formats.yolo.lines import Kind, to_lines
from workflow.tasks import TaskName

KINDS: dict[TaskName, Kind] = {
    "detection": "detect",
    "instance-segmentation": "segment",
    "oriented-detection": "obb",
    "keypoints": "pose",
}
# Split -> the folder ultralytics' own data sets have for it.
FOLDERS = {"train": "train", "validation": "val", "test": "test"}
LABELED = "images without a label file (an empty one says that nothing is there)"


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each image that has a label file. FormatError where nothing names the classes."""
    if reading.schema.task.exclusive:
        yield from image_folder.read(source, reading)
        return
    data = read_data(source, reading)
    files = []
    for pair in layout.pairs(source, data.folders, reading):
        page = reading.page(pair.image)
        if page is None:
            continue
        if not pair.labels.exists():
            reading.losses.add(LABELED, pair.image)
            continue
        page.split = pair.split
        files.append(LabelFile(page, pair.labels))
    read_labels(files, data, KINDS[reading.schema.task.name], reading, source)
    yield from (file.page for file in files)


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

"""Names of exported images: flat, none like another, and names.csv says whose each is."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from workflow.formats.page import FORMATS, Picture, Writing
from workflow.formats.pictures import flat_names
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.tasks import TaskName

ME = Provenance("person", "me")


def _picture(path: str, file: Path = Path("none"), *annotations: Annotation, split: str = "train") -> Picture:
    record = ImageRecord(f"id-{path}".replace("/", "~")[:40], path, 40, 30, split)  # type: ignore[arg-type]
    return Picture(record, file, annotations)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["images/train/x.jpg", "y.jpg"], ["x.jpg", "y.jpg"]),
        (["day1/0001.png", "day2/0001.png"], ["day1-0001.png", "day2-0001.png"]),
        # Label files have no suffix of the image.
        (["a.jpg", "a.png", "b.png"], ["a.jpg", "a-id-a.png.png", "b.png"]),
        # One file on a disk that does not tell them apart.
        (["d/A.png", "a.png"], ["d-A.png", "a.png"]),
        (["e/cafe\u0301.png", "f/caf\u00e9.png"], ["e-cafe\u0301.png", "f-caf\u00e9.png"]),
        # What folders and a name make together may be a name already.
        (["a-b.png", "a/b.png", "c/b.png"], ["a-b.png", "b-id-a~b.png.png", "c-b.png"]),
        (["a.JFIF", "b.jpe", "c.JPG"], ["a.jpg", "b.jpg", "c.JPG"]),
        ([f"{n}/{'x' * 236}.png" for n in (1, 2)], [f"id-{n}~{'x' * 35}.png" for n in (1, 2)]),
    ],
)
def test_names_are_flat_and_none_is_like_another(paths: list[str], names: list[str]) -> None:
    assert flat_names([_picture(path) for path in paths]) == names


BOX = Annotation("cat", ME, box=(1, 2, 11, 22))


@pytest.mark.parametrize(
    ("name", "task", "images"),
    [
        ("yolo", "detection", ["images/train/d1-x.png", "images/val/d2-x.png", "images/train/y.png"]),
        ("yolo", "classification", ["train/cat/d1-x.png", "val/cat/d2-x.png", "train/cat/y.png"]),
        ("folder", "classification", ["train/cat/d1-x.png", "validation/cat/d2-x.png", "train/cat/y.png"]),
        ("voc", "detection", ["JPEGImages/d1-x.png", "JPEGImages/d2-x.png", "JPEGImages/y.png"]),
        ("labelme", "detection", ["d1-x.png", "d2-x.png", "y.png"]),
        ("masks", "semantic-segmentation", ["images/d1-x.png", "images/d2-x.png", "images/y.png"]),
    ],
)
def test_the_map_says_whose_each_is(name: str, task: TaskName, images: list[str], tmp_path: Path) -> None:
    pictures = []
    for path, split in (("d1/x.png", "train"), ("d2/x.png", "validation"), ("images/y.png", "train")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
        labels = {"detection": [BOX], "classification": [Annotation("cat", ME)]}.get(task, [])
        pictures.append(_picture(path, tmp_path / path, *labels, split=split))
    writing = Writing("pets", Schema.of(task, ("cat", "dog")))
    FORMATS[name].load().write(tmp_path / "out", pictures, writing)
    with (tmp_path / "out" / "names.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == images
    assert [(row["image"], row["id"]) for row in rows] == [(p.record.path, p.record.id) for p in pictures]
    assert [(tmp_path / "out" / row["file"]).read_text() for row in rows] == [p.record.path for p in pictures]


def test_images_that_readers_pass_over_are_told(tmp_path: Path) -> None:
    pictures = []
    for name in ("a.gif", "b.GIF", "c.jfif", "d.png"):
        (tmp_path / name).write_text(name)
        pictures.append(_picture(name, tmp_path / name))
    writing = Writing("pets", Schema.of("detection", ("cat",)))
    FORMATS["voc"].load().write(tmp_path / "out", pictures, writing)
    assert writing.notes == ["2 images are .gif, which some readers pass over"]

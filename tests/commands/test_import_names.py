"""Images of any name a system takes: into the project under one that its catalog takes."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from tests.foreign import draw, labels, make_project, take
from workflow.commands.import_images import with_mark
from workflow.formats.page import Options
from workflow.project.paths import Project
from workflow.project.rows import read_rows

LATIN = os.fsdecode(b"caf\xe9")
CHINESE = "水" * 80


def _labeled(project: Project) -> list[str]:
    return [path for path, sample in labels(project).items() if sample.annotations]


def _yolo(folder: Path, stem: str, suffix: str = ".png") -> Path:
    image = draw(folder / "images" / "x.png")
    image.rename(image.with_name(stem + suffix))
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / f"{stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("names: [cat]\n")
    return folder


@pytest.mark.parametrize(
    "stem", [CHINESE, "a" * 251, "Caf\N{LATIN SMALL LETTER E WITH ACUTE} '\"\n;$x", "-rf"]
)
def test_a_long_or_strange_name_stays(stem: str, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    take(project, "yolo", _yolo(tmp_path / "in", stem))
    assert _labeled(project) == [f"images/{stem}.png"]
    assert take(project, "yolo", tmp_path / "in") == [
        "no image shows dog: true only if the source labels them"
    ]


def test_a_name_that_is_not_utf_8_is_spelled_out(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    lines = take(project, "yolo", _yolo(tmp_path / "in", LATIN))
    assert _labeled(project) == ["images/caf%E9.png"]
    assert lines[0] == ("1 images renamed, as the catalog would pass theirs over: images/caf\\udce9.png")
    assert list(read_rows(project.quarantine)) == []


def test_a_folder_that_is_not_utf_8(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    draw(tmp_path / "in" / LATIN / "cat" / "a.png")
    take(project, "folder", tmp_path / "in" / LATIN)
    assert _labeled(project) == ["cat/a.png"]


def test_an_image_without_a_suffix_gets_that_of_its_content(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    draw(tmp_path / "in" / "scan.png").rename(tmp_path / "in" / "scan")
    draw(tmp_path / "in" / "b.jpg").rename(tmp_path / "in" / "b.dat")
    (tmp_path / "in" / "l.csv").write_text("image,label\nscan,cat\nb.dat,dog\n")
    take(project, "csv", tmp_path / "in" / "l.csv")
    assert sorted(_labeled(project)) == ["b.dat.jpg", "scan.png"]


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG"])
def test_jpegs_by_their_other_suffixes(suffix: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    draw(tmp_path / "in" / "a.jpg").rename(tmp_path / "in" / f"a{suffix}")
    (tmp_path / "in" / "l.csv").write_text(f"image,label\na{suffix},cat\n")
    take(project, "csv", tmp_path / "in" / "l.csv")
    assert [PurePosixPath(path).stem.split(".")[0] for path in _labeled(project)] == ["a"]


def test_images_behind_linked_folders(tmp_path: Path) -> None:
    """A class's folder that is a link."""
    project = make_project(tmp_path, "classification")
    draw(tmp_path / "far" / "a.png")
    draw(tmp_path / "in" / "dog" / "b.png")
    (tmp_path / "in" / "cat").symlink_to(tmp_path / "far")
    take(project, "folder", tmp_path / "in")
    assert _labeled(project) == ["cat/a.png", "dog/b.png"]
    assert not (project.images / "cat").is_symlink()


def test_a_long_name_that_another_has_is_cut(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    draw(project.images / "images" / "x.png", 50).rename(project.images / "images" / f"{CHINESE}.png")
    take(project, "yolo", _yolo(tmp_path / "in", CHINESE))
    (path,) = _labeled(project)
    assert path.startswith("images/水")
    assert len(PurePosixPath(path).name.encode()) <= 255


@pytest.mark.parametrize(
    ("name", "mark", "expected"), [("a.png", "-1", "a-1.png"), ("a" * 260, "", "a" * 255)]
)
def test_a_mark_goes_before_the_suffix(name: str, mark: str, expected: str) -> None:
    assert with_mark(name, mark) == expected


def test_hidden_images_are_shown(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    draw(tmp_path / "in" / "a.png").rename(tmp_path / "in" / ".a.png")
    (tmp_path / "in" / "l.csv").write_text("image,label\n.a.png,cat\n")
    take(project, "csv", tmp_path / "in" / "l.csv", options=Options())
    assert _labeled(project) == ["a.png"]


def test_of_two_images_of_one_name_vocs_folder_says_which(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    pictures, source = tmp_path / "pictures", tmp_path / "xml"
    source.mkdir()
    for number, day in enumerate(("day1", "day2"), 1):
        draw(pictures / day / "1.png", 40 + number, 30)
        box = f"<xmin>{number}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
        (source / f"{day}.xml").write_text(
            f"<annotation><folder>C:\\photos\\{day}</folder><filename>1.png</filename>"
            f"<object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
        )
    take(project, "voc", source, images=pictures)
    boxes = {name: [a.box for a in sample.annotations] for name, sample in labels(project).items()}
    assert boxes == {"day1/1.png": [(1, 1, 9, 9)], "day2/1.png": [(2, 1, 9, 9)]}

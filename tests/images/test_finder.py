"""Which image a source's name means: the rule as a table, and the files it is tried on."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from workflow.images.finder import Finder, images_below

COMPOSED = unicodedata.normalize("NFC", "Café.png")
APART = unicodedata.normalize("NFD", "Café.png")


def _put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(folder / name, "PNG")
    return folder


# What a source says; the files below the given folder; which of them is meant, or None.
TABLE = [
    # The very path, or more or less of it.
    ("a.png", ["a.png", "x/a.png"], "a.png"),
    ("a.png", ["images/a.png"], "images/a.png"),
    ("./a.png", ["a.png"], "a.png"),
    ("x/../a.png", ["a.png"], "a.png"),
    ("day1/1.png", ["day1/1.png", "day2/1.png"], "day1/1.png"),
    ("day1/1.png", ["photos/day1/1.png", "photos/day2/1.png"], "photos/day1/1.png"),
    ("train2017/1.png", ["1.png"], "1.png"),
    ("day1/1.png", ["1.png", "x/day1/1.png"], "x/day1/1.png"),
    # A stated folder that is another's, or that there is.
    ("day1/1.png", ["day2/1.png"], None),
    ("2024/1.png", ["2023/1.png"], None),
    ("day1/1.png", ["1.png", "day1/2.png"], None),
    ("a/day1/1.png", ["b/day1/1.png"], None),
    ("day1/1.png", ["day1.png", "1.jpg"], None),
    # Another machine's paths.
    ("images\\1a2b3c4d-a.png", ["images/1a2b3c4d-a.png"], "images/1a2b3c4d-a.png"),
    ("..\\..\\label-studio\\media\\upload\\4\\x-b.png", ["images/x-b.png"], "images/x-b.png"),
    ("/data/upload/4/x-b.png", ["x-b.png"], "x-b.png"),
    ("/data/upload/4/a.png", ["upload/3/a.png"], None),
    ("/data/upload/4/a.png", ["upload/3/a.png", "upload/4/a.png"], "upload/4/a.png"),
    ("../imgs/a.png", ["a.png"], "a.png"),
    ("../imgs/a.png", ["imgs/a.png"], "imgs/a.png"),
    ("C:\\Users\\me\\set\\day1\\1.png", ["day1/1.png", "day2/1.png"], "day1/1.png"),
    ("C:\\Users\\me\\set\\day1\\1.png", ["day2/1.png"], None),
    ("/home/me/day1/1.png", ["set/day1/1.png"], None),
    ("\\\\server\\share\\a.png", ["a.png"], "a.png"),
    ("file:///home/me/a.png", ["a.png"], "a.png"),
    ("https://example.org/set/caf%C3%A9.png?v=1", ["set/café.png"], "set/café.png"),
    ("s3://bucket/day1/1.png", ["day1/1.png", "day2/1.png"], "day1/1.png"),
    # Suffixes.
    ("2007_000001", ["JPEGImages/2007_000001.jpg"], "JPEGImages/2007_000001.jpg"),
    ("a.png", ["a.jpg"], None),
    ("v1.2", ["v1.2.png"], "v1.2.png"),
    ("scan", ["scan"], "scan"),
    # Accents, where nothing else is there.
    (COMPOSED, [APART], APART),
    (APART, [COMPOSED, APART], APART),
    (COMPOSED, [COMPOSED, APART], COMPOSED),
    # No names at all.
    ("", ["a.png"], None),
    ("..", ["a.png"], None),
    ("a\0.png", ["a.png"], None),
    ("a" * 300 + ".png", ["a.png"], None),
    (".hidden/a.png", ["b.png"], None),
]


@pytest.mark.parametrize(("name", "files", "meant"), TABLE)
def test_the_rule(name: str, files: list[str], meant: str | None, tmp_path: Path) -> None:
    finder = Finder([_put(tmp_path / "in", *files)])
    found = finder.look([name])
    assert (found and found[0], finder.problems) == (meant, [])


@pytest.mark.parametrize(
    ("name", "files", "meant"),
    [
        ("2024/1.png", ["2023/1.png"], None),
        ("2024/1.png", ["1.png"], None),
        ("1.png", ["2023/1.png"], "2023/1.png"),
        ("2024/1.png", ["photos/2024/1.png", "1.png"], "photos/2024/1.png"),
    ],
)
def test_in_the_projects_own_folder_every_stated_folder_counts(
    name: str, files: list[str], meant: str | None, tmp_path: Path
) -> None:
    finder = Finder([_put(tmp_path / "in", "b.png")], own=_put(tmp_path / "own", *files))
    found = finder.look([name])
    assert (found and found[0], finder.problems) == (meant, [])


def test_given_folders_go_before_the_projects(tmp_path: Path) -> None:
    given, own = _put(tmp_path / "in", "images/a.png"), _put(tmp_path / "own", "a.png")
    assert Finder([given], own=own).look(["a.png"]) == ("images/a.png", 4, 3)


def test_a_path_that_leads_into_a_given_folder_is_one_of_it(tmp_path: Path) -> None:
    given = _put(tmp_path / "in", "day1/1.png", "day2/1.png")
    assert Finder([given]).look([str(given / "day2" / "1.png")]) == ("day2/1.png", 4, 3)


def test_no_path_is_opened_outside_of_the_folders(tmp_path: Path) -> None:
    _put(tmp_path, "secret.png", "in/a.png")
    finder = Finder([tmp_path / "in"])
    for name in ("../secret.png", str(tmp_path / "secret.png"), "x\\..\\..\\secret.png"):
        assert finder.look([name]) is None


def test_one_name_for_two_files_is_a_problem(tmp_path: Path) -> None:
    finder = Finder([_put(tmp_path / "in", "x/a.png", "y/a.png")])
    assert finder.look(["a.png"]) is None
    assert finder.problems == ["'a.png' may be x/a.png or y/a.png"]


def test_two_names_for_one_file_are_a_problem(tmp_path: Path) -> None:
    finder = Finder([_put(tmp_path / "day2", "1.png")])
    assert finder.look(["day2/1.png"]) == finder.look(["./day2/1.png"]) == ("1.png", 4, 3)
    assert finder.problems == []
    finder.look(["day1/1.png"])
    assert finder.problems == [
        "'day2/1.png' and 'day1/1.png' would both be 1.png: give --images the folder in which they are apart"
    ]


def test_by_name_what_contradicts_is_taken_and_counted(tmp_path: Path) -> None:
    folder = _put(tmp_path / "in", "day2/1.png", "x/2.png", "y/2.png")
    strict, loose = Finder([folder]), Finder([folder], by_name=True)
    assert strict.look(["day1/1.png"]) is None
    assert strict.elsewhere == {"day1/1.png": "day2/1.png"}
    assert loose.look(["day1/1.png"]) == ("day2/1.png", 4, 3)
    assert loose.by_name_alone == ["day2/1.png"]
    assert loose.look(["day1/2.png"]) is None
    assert loose.problems == ["'day1/2.png' may be x/2.png or y/2.png"]


def test_a_label_is_no_image_of_its_own(tmp_path: Path) -> None:
    folder = _put(tmp_path / "in", "images/a.png", "masks/a.png", "masks/c.png")
    finder = Finder([folder])
    labels = {folder / "masks" / "a.png", folder / "masks" / "c.png"}
    assert finder.pair("images/a", "a", without=labels) == "images/a.png"
    assert finder.pair("images/c", "c", without=labels) is None
    assert finder.problems == []


def test_linked_folders_are_walked_once_and_without_end(tmp_path: Path) -> None:
    folder = _put(tmp_path / "in", "a/1.png")
    _put(tmp_path / "far", "2.png", ".hidden/3.png", ".4.png")
    (folder / "far").symlink_to(tmp_path / "far")
    (folder / "again").symlink_to(tmp_path / "far")
    (folder / "a" / "up").symlink_to(folder)
    (tmp_path / "far" / "round").symlink_to(tmp_path / "far")
    below = [path.relative_to(folder).as_posix() for path in images_below(folder)]
    assert below == ["a/1.png", "again/2.png"]
    assert Finder([folder]).look(["far/2.png"]) == ("far/2.png", 4, 3)


def test_names_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    _put(tmp_path / "in", name)
    assert Finder([tmp_path / "in"]).look([name]) == (name, 4, 3)

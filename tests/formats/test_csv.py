"""CSV of image labels: a line a label, or a column a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.foreign import look_up, there_and_back
from workflow.errors import FormatError
from workflow.formats.page import Reading
from workflow.records import Annotation, Kind, Provenance

ME = Provenance("person", "me")
SIZES = {f"{name}.png": (40, 30) for name in ("a", "b", "c, d")}


def _read(folder: Path, text: str, kind: Kind = "import") -> tuple[dict[str, list[str]], Reading]:
    source = folder / "labels.csv"
    source.write_bytes(text.encode())
    pages, reading = look_up("csv", source, "multilabel-classification", SIZES, kind=kind)
    return {name: [a.label for a in page.annotations] for name, page in pages.items()}, reading


@pytest.mark.parametrize(
    "text",
    [
        'image,label\na.png,cat\na.png,dog\nb.png,\n"c, d.png",dog\n',
        '\ufefffilename;class\r\na.png;cat\r\na.png;dog\r\nb.png;\r\n"c, d.png";dog\r\n',
        "Path\tLabel\na.png\tcat\na.png\tdog\nb.png\t\nc, d.png\tdog",
        'image,cat,dog\na.png,1,1\nb.png,0,0\n"c, d.png",0,1.0\n',
    ],
)
def test_tables_that_say_the_same(text: str, tmp_path: Path) -> None:
    found, reading = _read(tmp_path, text)
    assert found == {"a.png": ["cat", "dog"], "b.png": [], "c, d.png": ["dog"]}
    assert (reading.losses, reading.problems) == ({}, [])


def test_what_cannot_be_carried_is_counted(tmp_path: Path) -> None:
    text = "image,label,score,by\na.png,cat,0.5,me\na.png,cat,,me\nz.png,dog,,\n"
    found, reading = _read(tmp_path, text)
    assert found == {"a.png": ["cat"]}
    assert reading.losses == {
        "columns": 1,
        "labels given twice": 1,
        "images that are not there": 1,
        "scores, which only predictions have": 1,
    }


def test_predictions_have_scores(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label,score\na.png,cat,0.25\n")
    pages, _ = look_up("csv", tmp_path / "labels.csv", "classification", SIZES, kind="model")
    assert [a.score for a in pages["a.png"].annotations] == [0.25]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,label\na.png\n", "2: has not 2 columns, or no image"),
        ("image,label\na.png,cat,dog\n", "2: has not 2 columns, or no image"),
        ("image,label\n,cat\n", "2: has not 2 columns, or no image"),
        ("image,cat\na.png,maybe\n", "2: 'maybe' is neither 0 nor 1"),
        ("image,label,score\na.png,cat,high\n", "2: score is 'high', not a number"),
        ("image,label,score\na.png,cat,7\n", "2: score 7.0 is not in [0, 1]"),
    ],
)
def test_a_broken_line_is_named(text: str, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, text)
    assert reading.problems == [f"{tmp_path / 'labels.csv'}:{problem}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"name,label\n", "1: no column is called image"),
        (b"image\n", "1: no column is called label"),
        (b"image,label\n\xff", "2: is not in UTF-8"),
    ],
)
def test_a_table_of_something_else_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(FormatError) as error:
        look_up("csv", tmp_path / "labels.csv", "classification", SIZES)
    assert error.value.problem.startswith(f"{tmp_path / 'labels.csv'}:{problem}")


def test_names_with_commas_and_quotes_survive(tmp_path: Path) -> None:
    labels = [Annotation(name, ME) for name in ("a, b", 'the "c"', "d;e", "line\nbreak")]
    found, written, read = there_and_back("csv", "multilabel-classification", labels, (4, 3), tmp_path)
    assert [a.label for a in found] == [a.label for a in labels]
    assert (written, read) == ({}, {})

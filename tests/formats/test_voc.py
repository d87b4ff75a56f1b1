"""Pascal VOC: boxes by their edges, marks counted, strangers' XML not trusted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.foreign import look_up, there_and_back
from workflow.formats.page import Page, Reading
from workflow.records import Annotation, Provenance

ME = Provenance("person", "me")
HEAD = "<filename>a.png</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
BOX = "<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>11</xmax><ymax>22</ymax></bndbox>"


def _read(folder: Path, body: str, name: str = "a.xml") -> tuple[dict[str, Page], Reading]:
    (folder / name).write_text(body)
    return look_up("voc", folder, "detection", {"a.png": (40, 30)})


def test_objects_with_their_marks(tmp_path: Path) -> None:
    marked = "<difficult>1</difficult><truncated>1</truncated><occluded>0</occluded>"
    body = f"<annotation>{HEAD}<object><name>cat</name>{marked}{BOX}</object>"
    pages, reading = _read(tmp_path, f"{body}<object><name>dog</name></object></annotation>")
    (annotation,) = pages["a.png"].annotations
    assert (annotation.label, annotation.box, annotation.ignored) == ("cat", (1, 2.5, 11, 22), True)
    assert reading.losses == {
        "marks that an object is truncated": 1,
        "objects without a bndbox": 1,
    }


def test_an_image_that_is_misnamed_is_found_by_the_file(tmp_path: Path) -> None:
    pages, _ = _read(tmp_path, f"<annotation>{HEAD.replace('a.png', 'IMG_1.JPG')}</annotation>")
    assert list(pages) == ["a.png"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<annotation>\n<size>", "a.xml:2: not XML (no element found: line 2, column 6)"),
        ("<html/>", "a.xml: <html> is no VOC <annotation>"),
        (
            "<annotation><size><width>x</width></size></annotation>",
            "a.xml: <size>: width is 'x', not a whole number",
        ),
        (f"<annotation>{HEAD}<object/></annotation>", "a.xml: object 1 has no name"),
        (
            f"<annotation>{HEAD}<object><name>cat</name>{BOX.replace('2.5', 'x')}</object></annotation>",
            "a.xml: <ymin> is 'x', not a number",
        ),
        (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>',
            "a.xml: declares a document type or entities, which no label needs",
        ),
    ],
)
def test_what_is_wrong_is_named(body: str, problem: str, tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, body)
    assert reading.problems == [f"{tmp_path}/{problem}"]
    assert pages == {}


def test_labels_may_have_any_name(tmp_path: Path) -> None:
    pages, _ = _read(
        tmp_path, f"<annotation>{HEAD}<object><name>&lt;cat&gt; &amp; dög</name>{BOX}</object></annotation>"
    )
    assert [a.label for a in pages["a.png"].annotations] == ["<cat> & dög"]


def test_what_is_written_is_as_voc_has_it(tmp_path: Path) -> None:
    box = Annotation("cat", ME, box=(1, 2.5, 11, 22))
    there_and_back("voc", "detection", [box], (40, 30), tmp_path)
    files = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*"))
    assert files == ["Annotations/x.xml", "ImageSets/Main/train.txt", "JPEGImages/x.png", "names.csv"]
    assert (tmp_path / "out/ImageSets/Main/train.txt").read_text() == "x\n"
    text = "".join((tmp_path / "out/Annotations/x.xml").read_text().split())
    assert BOX in text


@pytest.mark.parametrize(
    ("edge", "text"),
    [
        (496.21999999999997, "496.22"),
        (3.0000000004, "3"),
        (29.99999999997, "30"),
        (0.0, "0"),
        (1 / 3, "0.333333"),
    ],
)
def test_edges_are_whole_numbers_where_they_are_whole(edge: float, text: str, tmp_path: Path) -> None:
    """Many readers take `int(text)`, which refuses 3.0000000004."""
    box = Annotation("cat", ME, box=(edge, 0, 600, 20))
    there_and_back("voc", "detection", [box], (640, 480), tmp_path)
    assert f"<xmin>{text}</xmin>" in (tmp_path / "out/Annotations/x.xml").read_text()


@pytest.mark.skipif(not (SHARED / "bccd").is_dir(), reason="no BCCD here")
def test_bccd_is_carried_but_for_its_two_boxes_without_an_area() -> None:
    sizes = {f"{p.stem}.jpg": (640, 480) for p in (SHARED / "bccd/BCCD/JPEGImages").glob("*.jpg")}
    pages, reading = look_up("voc", SHARED / "bccd" / "BCCD", "detection", sizes)
    assert (len(pages), reading.problems) == (364, [])
    found = Counter(a.label for page in pages.values() for a in page.annotations)
    # 4155, 372 and 361 in the files.
    assert sum(found.values()) == 4888 - 2
    assert found["WBC"] == 372
    assert reading.losses == {"boxes without an area": 2, "marks that an object is truncated": 1131}
    assert list(reading.losses.places["boxes without an area"]) == [
        "BloodImage_00338.jpg",
        "BloodImage_00343.jpg",
    ]

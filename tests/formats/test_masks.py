"""MaskStyle as PNG: by value, by colour, and what no class has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.foreign import draw, labels, look_up, make_project, take, there_and_back
from workflow.errors import FormatError
from workflow.formats.masks import voc_colour
from workflow.formats.page import Page, Reading
from workflow.records import Annotation, Provenance
from workflow.shapes import masks

ME = Provenance("person", "me")
PAINTED = np.zeros((30, 40), dtype=np.uint8)
PAINTED[:, 10:20], PAINTED[5:9, 15:30] = 1, 2


def _read(folder: Path, image: Image.Image, labelmap: str = "") -> tuple[dict[str, Page], Reading]:
    image.save(folder / "a.png")
    if labelmap:
        (folder / "labelmap.txt").write_text(labelmap)
    return look_up("masks", folder, "semantic-segmentation", {"images/a.jpg": (40, 30)})


def _areas(pages: dict[str, Page]) -> dict[str, list[tuple[str, int]]]:
    return {n: [(a.label, masks.area(a.mask)) for a in p.annotations if a.mask] for n, p in pages.items()}


FOUND = {"images/a.jpg": [("cat", 280), ("dog", 60)]}


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_a_value_is_a_class(mode: str, tmp_path: Path) -> None:
    image = (
        Image.fromarray(PAINTED.astype(np.uint16))
        if mode == "I;16"
        else Image.fromarray(PAINTED).convert(mode)
    )
    pages, reading = _read(tmp_path, image)
    assert _areas(pages) == FOUND
    assert (reading.losses, reading.problems) == ({}, [])


def test_colours_are_named_by_the_labelmap(tmp_path: Path) -> None:
    """As CVAT and Datumaro write them, in any order."""
    colours = np.array([[0, 0, 0], [10, 20, 30], [200, 0, 5]], dtype=np.uint8)
    labelmap = "# label:color_rgb:parts:actions\ndog:200,0,5::\nbackground:0,0,0::\ncat:10,20,30::\n"
    pages, reading = _read(tmp_path, Image.fromarray(colours[PAINTED]), labelmap)
    assert sorted(_areas(pages)["images/a.jpg"]) == FOUND["images/a.jpg"]
    assert reading.problems == []


@pytest.mark.parametrize(
    ("labelmap", "problem"),
    [
        ("", "a.png: is in colour, and labelmap.txt does not say what they mean"),
        ("cat:1,2,3::\n", "a.png: labelmap.txt has no colour 9,9,9"),
        ("cat 9,9,9\n", "labelmap.txt:1: 'cat 9,9,9' is no `name:red,green,blue::`"),
    ],
)
def test_colours_without_a_name_are_problems(labelmap: str, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, Image.new("RGB", (40, 30), (9, 9, 9)), labelmap)
    assert reading.problems[0] == f"{tmp_path}/{problem}"


def test_what_is_no_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    _, reading = look_up("masks", tmp_path, "semantic-segmentation", {"a.jpg": (40, 30)})
    assert reading.problems[0].startswith(f"{tmp_path / 'a.png'}: no PNG (")


def test_a_value_without_a_class_is_refused_named_or_left_out(tmp_path: Path) -> None:
    project = make_project(tmp_path, "semantic-segmentation")
    draw(tmp_path / "photos" / "a.jpg")
    painted = PAINTED.copy()
    painted[:3] = 255
    (tmp_path / "in").mkdir()
    Image.fromarray(painted).save(tmp_path / "in" / "a.png")
    with pytest.raises(FormatError, match=r"labels that are no class of pets: '255' \(1\) -> .*'255=CLASS'"):
        take(project, "masks", tmp_path / "in", images=tmp_path / "photos")
    lines = take(project, "masks", tmp_path / "in", images=tmp_path / "photos", class_map={"255": ""})
    assert lines == ["1 annotations of classes that --class-map leaves out: a.jpg"]
    take(project, "masks", tmp_path / "in", images=tmp_path / "photos", class_map={"255": "dog"})
    areas = [masks.area(a.mask) for a in labels(project)["a.jpg"].annotations if a.mask]
    assert areas == [280 - 30, 60 + 120]


def test_layers_are_written_one_over_the_other_in_vocs_colours(tmp_path: Path) -> None:
    layers = [
        Annotation("dog", ME, mask=masks.encode(PAINTED > 0)),
        Annotation("cat", ME, mask=masks.encode(PAINTED == 1)),
    ]
    found, written, _ = there_and_back("masks", "semantic-segmentation", layers, (40, 30), tmp_path)
    assert written == {"pixels painted twice (the later layer counts)": 280}
    assert {a.label: masks.area(a.mask) for a in found if a.mask} == {"cat": 280, "dog": 60}
    image = Image.open(tmp_path / "out" / "masks" / "x.png")
    assert (np.asarray(image) == PAINTED).all()
    assert image.convert("RGB").getpixel((12, 0)) == (128, 0, 0)
    assert (tmp_path / "out" / "labelmap.txt").read_text().splitlines()[1:] == [
        "background:0,0,0::",
        "cat:128,0,0::",
        "dog:0,128,0::",
    ]


def test_vocs_colours() -> None:
    """The first and last of the devkit's colour map."""
    assert [voc_colour(n) for n in (0, 1, 2, 3, 4, 8, 255)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (64, 0, 0),
        (224, 224, 192),
    ]
    assert len({voc_colour(n) for n in range(256)}) == 256

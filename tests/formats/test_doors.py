"""What strangers' files say, taken where it is exact, else refused in a line; nothing grows meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign import draw, labels, look_up, make_project, take
from workflow.commands.import_ import parse_columns
from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.page import Options
from workflow.records import Mask
from workflow.shapes import masks

CAFE = '<?xml version="1.0" encoding="{}"?>\n<annotation><filename>a.png</filename></annotation>'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_text_is_read_by_its_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("café\r\nhund\r".encode(encoding))
    assert doors.read_text(path) == "café\nhund\n"


@pytest.mark.parametrize("encoding", ["GBK", "latin-1", "utf-8", "Shift_JIS"])
def test_xml_is_read_in_the_encoding_it_declares(encoding: str, tmp_path: Path) -> None:
    word = "é" if encoding == "latin-1" else "中"
    path = tmp_path / "a.xml"
    path.write_bytes(CAFE.format(encoding).replace("a.png", f"{word}.png").encode(encoding))
    assert doors.load_xml(path).findtext("filename") == f"{word}.png"


def test_xml_that_declares_what_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(CAFE.format("utf-16"))
    assert doors.load_xml(path).findtext("filename") == "a.png"
    path.write_text(CAFE.format("nonsense"))
    with pytest.raises(FormatError, match=r"a.xml: declares the encoding 'nonsense', which is none -> save"):
        doors.load_xml(path)


def test_text_in_no_encoding_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(b"hund\ncaf\xe9\n")
    with pytest.raises(FormatError) as error:
        doors.read_text(path)
    assert str(error.value) == f"{path}:2: is not in UTF-8 -> save it as UTF-8"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("names: [no, 007, 1.0, '~']", {"names": ["no", "007", "1.0", "~"]}),
        ("names: {0: cat, '1': dog}\ntest:", {"names": {"0": "cat", "1": "dog"}, "test": None}),
    ],
)
def test_yaml_is_read_as_it_is_written(text: str, value: dict, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert doors.load_yaml(path) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [x]\nb: *a", "not YAML (line 1 is meant again elsewhere, by an alias: write it out)"),
        ("a: &a [*a]", "not YAML (line 1 is meant again elsewhere, by an alias: write it out)"),
        ("names: [a]\nnames: [b]", "not YAML (the key 'names' is there twice)"),
        ("names: !!python/name:os.system", "not YAML (in line 1 stands the tag"),
        ("[" * 5000, "not YAML"),
    ],
)
def test_yaml_that_multiplies_or_is_ambiguous_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(FormatError) as error:
        doors.load_yaml(path)
    assert error.value.problem.startswith(f"{path}: {problem}")


def _coco(folder: Path, **more: object) -> Path:
    draw(folder / "a.png")
    draw(folder / "7.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": "40", "height": 30}],
        "categories": [{"id": "1", "name": 7}, {"id": 2, "name": "dog"}],
        "annotations": [{"image_id": "1", "category_id": 1, "bbox": ["12", "5", "3", "3"], "iscrowd": "0"}],
    }
    path = folder / "c.json"
    path.write_text(json.dumps(content | more))
    return path


def test_numbers_in_quotes_are_numbers_and_a_class_may_be_one(tmp_path: Path) -> None:
    project = make_project(tmp_path, classes=("7", "dog"))
    take(project, "coco", _coco(tmp_path / "in"))
    assert [(a.label, a.box) for a in labels(project)["a.png"].annotations] == [("7", (12, 5, 15, 8))]
    other = make_project(tmp_path / "b", classes=("dog",))
    take(other, "coco", tmp_path / "in" / "c.json", class_map={"7": "dog"})
    assert [a.label for a in labels(other)["a.png"].annotations] == ["dog"]


IMAGE = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"images": [IMAGE | {"file_name": None}]}, "images[0]: file_name is null, not text"),
        ({"images": [IMAGE | {"file_name": 7}]}, "images[0]: file_name is 7, not text"),
        (
            {"images": [IMAGE, IMAGE | {"file_name": "7.png", "id": "1"}]},
            "images[0] and images[1] both have the id 1",
        ),
        (
            {"images": [IMAGE, IMAGE | {"id": 2}]},
            "images[0] and images[1] both have the file name 'a.png'",
        ),
        (
            {"categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "dog"}]},
            "categories[0] and categories[1] both have the name 'dog'",
        ),
        ({"annotations": [{"image_id": 1, "category_id": 1, "bbox": ["1_0", 0, 1, 1]}]}, ""),
        ({"annotations": [None]}, ""),
    ],
)
def test_what_is_ambiguous_or_of_a_wrong_type_is_refused(more: dict, problem: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, classes=("7", "dog"))
    source = _coco(tmp_path / "in", **more)
    with pytest.raises(FormatError) as error:
        take(project, "coco", source)
    problem = problem or ("annotations[0]: ")
    assert error.value.problem.startswith(f"{source}: {problem}")
    assert not project.data.exists()


def test_roboflows_category_above_the_others_is_no_class(tmp_path: Path) -> None:
    above = [
        {"id": 1, "name": "dog", "supercategory": "dog"},
        {"id": 0, "name": "dog", "supercategory": "none"},
    ]
    project = make_project(tmp_path, classes=("dog",))
    take(project, "coco", _coco(tmp_path / "in", categories=above))
    assert [a.label for a in labels(project)["a.png"].annotations] == ["dog"]


def test_results_take_images_and_classes_of_another_file(tmp_path: Path) -> None:
    truth = _coco(tmp_path / "in")
    results = tmp_path / "in" / "results.json"
    results.write_text('[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]')
    project = make_project(tmp_path, classes=("7", "dog"))
    with pytest.raises(FormatError, match="name neither images nor classes -> --gt FILE"):
        take(project, "coco", results, target="predictions")
    take(project, "coco", results, target="predictions", options=Options(gt=truth))
    text = (project.data / "predictions" / "import-coco-results.jsonl").read_text()
    assert '"box":[1.0,2.0,4.0,6.0],"score":0.5' in text


def _yolo(folder: Path, line: str, columns: str = "") -> tuple[list, list[str]]:
    (folder / "labels").mkdir(parents=True)
    (folder / "classes.txt").write_text("cat\n")
    (folder / "labels" / "a.txt").write_text(line)
    (folder / "images").mkdir()
    draw(folder / "images" / "a.png", 100, 100)
    options = Options(columns=parse_columns(columns))
    sizes = {"images/a.png": (100, 100)}
    pages, reading = look_up("yolo", folder, "detection", sizes, kind="model", options=options)
    return [(a.box, a.score) for page in pages.values() for a in page.annotations], reading.problems


LAST, SECOND = "0 0.5 0.75 0.9 0.5 0.25", "0 0.25 0.5 0.75 0.9 0.5"
BOX = (pytest.approx((5, 50, 95, 100)), 0.25)


def test_where_the_score_stands_is_told_by_geometry_or_asked(tmp_path: Path) -> None:
    assert _yolo(tmp_path / "a", LAST) == ([BOX], [])
    assert _yolo(tmp_path / "b", SECOND) == ([BOX], [])
    either = "0 0.431418 0.527778 0.437 0.388889 0.49"
    _, problems = _yolo(tmp_path / "c", either)
    assert len(problems) == 1
    assert "where do the scores stand?" in problems[0]
    for n, columns in enumerate(("second", "class conf cx cy w h")):
        ((box, score),), problems = _yolo(tmp_path / f"d{n}", either, columns)
        assert (score, problems) == (0.431418, [])
        assert box == pytest.approx((33.3334, 19.2, 72.2223, 68.2), abs=1e-3)
    with pytest.raises(FormatError, match="does not say where the score stands"):
        parse_columns("cx cy")


def test_runs_that_wrap_or_lie_are_refused_before_they_are_painted() -> None:
    for runs in ([2**63, 2**63, 100], [2**64 + 100], [-1, 101], [], [50, 51]):
        with pytest.raises(ValueError, match="mask"):
            masks.from_runs(runs, 10, 10)
    for counts in ("", "zz0", "o" * 14 + "0", "0" * 20):
        with pytest.raises(ValueError, match="mask"):
            masks.decode(Mask(60_000, 60_000, counts))


LIMITED = """
import resource, sys
from pathlib import Path
from workflow.commands import import_
from workflow.errors import WorkflowError
from workflow.project.paths import load_project
import numpy, PIL.Image, faster_coco_eval.core.mask, pydantic, yaml
now = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (400 << 20), now + (400 << 20)))
try:
    print(import_.run(load_project(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3]), dry_run=True))
except WorkflowError as error:
    print('refused', error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
@pytest.mark.parametrize("case", ["coco", "cvat", "yaml"])
def test_nothing_grows_beyond_the_image_itself(case: str, tmp_path: Path) -> None:
    """Sizes of 60,000 pixels a side, and a list that means 10^9 others, within 400 MB."""
    task = "detection" if case == "yaml" else "semantic-segmentation"
    project = make_project(tmp_path, task)
    folder = tmp_path / "in"
    draw(folder / "a.png")
    if case == "coco":
        image = {"id": 1, "file_name": "a.png", "width": 60000, "height": 60000}
        rle = {"size": [60000, 60000], "counts": [0, 3600000000]}
        one = {"image_id": 1, "category_id": 1, "segmentation": rle}
        outline = one | {"segmentation": [[0, 0, 60000, 0, 60000, 60000]]}
        content = {"images": [image], "categories": [{"id": 1, "name": "cat"}], "annotations": [one, outline]}
        source = folder / "c.json"
        source.write_text(json.dumps(content))
    elif case == "cvat":
        source = folder / "c.xml"
        source.write_text(
            '<annotations><image name="a.png" width="50000" height="50000"><mask label="cat" left="0" '
            'top="0" width="50000" height="50000" rle="0, 2500000000"/></image></annotations>'
        )
    else:
        source = folder
        levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
        (folder / "data.yaml").write_text(f"a0: &a0 [x]\n{levels}\nnames: *a9\n")
    command = [
        sys.executable,
        "-c",
        LIMITED,
        str(project.folder),
        "yolo" if case == "yaml" else case,
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.startswith("refused")
    assert len(done.stdout) < 1000


VOC = "<annotation><filename>a.png</filename>{}</annotation>"
CAT = (
    "<Object><Name>cat</Name><BndBox><xmin>1</xmin><ymin>2</ymin>"
    "<xmax>11</xmax><ymax>12</ymax></BndBox></Object>"
)


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>", "<Size/>"])
@pytest.mark.parametrize("suffix", ["xml", "XML"])
def test_voc_in_capitals_and_without_a_size(suffix: str, size: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{suffix}").write_text(VOC.format(size + CAT))
    pages, reading = look_up("voc", tmp_path, "detection", {"a.png": (40, 30)})
    assert reading.problems == []
    assert [(a.label, a.box) for a in pages["a.png"].annotations] == [("cat", (1, 2, 11, 12))]
    assert (pages["a.png"].width, pages["a.png"].height) == (40, 30)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (CAT.replace("Object>", "Item>"), "a <bndbox> lies in no <object>"),
        (CAT.replace("<xmin>", "<xmin>7</xmin><xmin>"), "<bndbox> has <xmin> twice"),
        (CAT.replace("<xmin>1", "<xmin>1_0"), "<xmin> is '1_0', not a number"),
    ],
)
def test_voc_that_says_two_things_or_hides_one(body: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC.format(body))
    _, reading = look_up("voc", tmp_path, "detection", {"a.png": (40, 30)})
    assert reading.problems == [f"{tmp_path / 'a.xml'}: {problem}"]


@pytest.mark.parametrize(
    ("corners", "geometry"),
    [
        ([[10, 5], [30, 5], [30, 25], [10, 25]], "box"),
        ([[30, 25], [10, 5]], "box"),
        ([[20, 5], [30, 15], [20, 25], [10, 15]], "polygons"),
    ],
)
def test_labelme_rectangles_of_two_and_four_corners(corners: list, geometry: str, tmp_path: Path) -> None:
    shape = {"label": "cat", "points": corners, "shape_type": "rectangle"}
    content = {"imagePath": "a.png", "imageWidth": None, "shapes": [shape]}
    (tmp_path / "a.JSON").write_text(json.dumps(content))
    pages, reading = look_up("labelme", tmp_path, "detection", {"a.png": (40, 30)})
    (one,) = pages["a.png"].annotations
    assert (reading.problems, one.geometry) == ([], geometry)
    assert one.box == ((10, 5, 30, 25) if geometry == "box" else None)


def test_a_table_with_commas_in_names_and_one_with_a_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text('image;"cat, big, old";dog\r\na.png;1;0\r\n')
    classes = ("cat, big, old", "dog")
    pages, _ = look_up("csv", path, "multilabel-classification", {"a.png": (40, 30)}, classes)
    assert [a.label for a in pages["a.png"].annotations] == ["cat, big, old"]
    for header, problem in (
        ("image,cat,cat", "two columns are called 'cat'"),
        (
            "ImageID,Source,LabelName,XMin",
            "these are OpenImages' boxes, no labels of whole images -> convert",
        ),
    ):
        path.write_text(f"{header}\na.png,1,0\n")
        with pytest.raises(FormatError) as error:
            look_up("csv", path, "multilabel-classification", {"a.png": (40, 30)})
        assert str(error.value).startswith(f"{path}:1: {problem}")


def test_what_rounding_leaves_outside_is_no_news(tmp_path: Path) -> None:
    project = make_project(tmp_path, classes=("7", "dog"))
    boxes = [[30, 20, 10.0003, 10.03], [30, 20, 10.06, 10]]
    rows = [{"image_id": 1, "category_id": 2, "bbox": box} for box in boxes]
    lines = take(project, "coco", _coco(tmp_path / "in", annotations=rows))
    assert [line for line in lines if "clipped" in line] == ["1 boxes clipped to the image: a.png"]

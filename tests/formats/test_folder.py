"""Image folders, and YOLO's: where images, label files and classes lie."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.foreign import draw, labels, look_up, make_project, take, there_and_back
from workflow.errors import FormatError
from workflow.formats.folder import write
from workflow.formats.page import Options, Page, Writing
from workflow.records import Annotation, Provenance
from workflow.schema import Schema
from workflow.tasks import TaskName

ME = Provenance("person", "me")


def test_a_folder_is_a_class_within_or_without_a_split(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    for name in ("cat/a.png", "val/dog/deep/b.png", "c.png", "valid/d.png"):
        draw(tmp_path / "in" / name)
    lines = take(project, "folder", tmp_path / "in", class_map={"valid": "dog"})
    found = {path: s.annotations[0].label for path, s in labels(project).items() if s.state == "reviewed"}
    assert found == {"cat/a.png": "cat", "val/dog/deep/b.png": "dog", "valid/d.png": "dog"}
    assert lines[0] == "1 images in no class's folder: c.png"


def test_one_image_in_two_classes_is_counted(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    draw(tmp_path / "in" / "cat" / "a.png")
    (tmp_path / "in" / "dog").mkdir()
    shutil.copy(tmp_path / "in" / "cat" / "a.png", tmp_path / "in" / "dog" / "b.png")
    lines = take(project, "folder", tmp_path / "in")
    assert lines[0] == "1 images labeled twice, in two ways (the first counts): dog/b.png"


@pytest.mark.parametrize("name", ["../cat", "a/b", "..", "a\\b"])
def test_a_class_that_is_no_folder_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be the name of a folder"):
        write(tmp_path / "out", [], Writing("pets", Schema.of("classification", ("cat", name))))


DETECT = "0 0.5 0.5 0.5 0.5\n"


def _yolo(
    folder: Path, yaml: str, *names: str, text: str = DETECT, task: TaskName = "detection", **more: object
):
    for name in names:
        draw(folder / name)
        label = Path(*["labels" if part == "images" else part for part in Path(name).parts]).with_suffix(
            ".txt"
        )
        (folder / label).parent.mkdir(parents=True, exist_ok=True)
        (folder / label).write_text(text)
    (folder / "data.yaml").write_text(yaml)
    sizes = dict.fromkeys(names, (40, 30))
    return look_up("yolo", folder, task, sizes, **more)  # type: ignore[arg-type]


def _boxes(pages: dict[str, Page]) -> dict[str, list[tuple[str, object]]]:
    return {name: [(a.label, a.box) for a in page.annotations] for name, page in pages.items()}


@pytest.mark.parametrize(
    ("yaml", "names", "splits"),
    [
        (
            "train: images/train\nval: images/val\nnames: [cat, dog]",
            ("images/train/a.png", "images/val/b.png"),
            "tv",
        ),
        ("train: ../train/images\nvalid: x\nval: ../valid/images\nnames: {0: cat, 1: dog}", (), ""),
        (
            "path: .\ntrain: [images/x, images/y]\nnames:\n  0: cat",
            ("images/x/a.png", "images/y/b.png"),
            "tt",
        ),
        ("path: /data/sets/pets\ntrain: images\nnames: [cat]", ("images/a.png",), "t"),
    ],
)
def test_data_yaml_says_where_the_images_are(yaml: str, names: tuple, splits: str, tmp_path: Path) -> None:
    if not names:
        yaml, names, splits = (
            yaml.replace("valid: x\n", ""),
            ("train/images/a.png", "valid/images/b.png"),
            "tv",
        )
    pages, reading = _yolo(tmp_path, yaml, *names)
    assert reading.problems == []
    assert _boxes(pages) == {name: [("cat", (10, 7.5, 30, 22.5))] for name in names}
    assert "".join((page.split or "")[:1] for page in pages.values()) == splits


def test_an_image_without_a_label_file_is_not_taken_for_empty(tmp_path: Path) -> None:
    names = ("images/a.png", "images/b.png", "images/c.png")
    _yolo(tmp_path, "train: images\nnames: [cat]", *names, text="")
    (tmp_path / "labels" / "b.txt").unlink()
    (tmp_path / "labels" / "c.txt").write_text(DETECT)
    pages, reading = look_up("yolo", tmp_path, "detection", dict.fromkeys(names, (40, 30)))
    assert {name: len(page.annotations) for name, page in pages.items()} == {
        "images/a.png": 0,
        "images/c.png": 1,
    }
    assert reading.losses == {"images without a label file (an empty one says that nothing is there)": 1}


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("train: ../../etc\nnames: [cat]", "data.yaml: train: '../../etc' leads out of {0}"),
        ("train: /etc\nnames: [cat]", "data.yaml: train: '/etc' leads out of {0}"),
        ("train: images/none\nnames: [cat]", "data.yaml: train: {0}/images/none is no folder of images"),
    ],
)
def test_folders_are_not_trusted(yaml: str, problem: str, tmp_path: Path) -> None:
    _, reading = _yolo(tmp_path, yaml, "images/a.png")
    assert reading.problems == [problem.format(tmp_path)]


@pytest.mark.parametrize(
    ("yaml", "problem"),
    [
        ("a: [", "data.yaml: not YAML"),
        ("train: images", "data.yaml: has no names"),
        ("names: {1: cat}", ": names are not numbered from 0 on"),
        ("names: !!python/object/apply:os.system ['true']", "data.yaml: not YAML"),
    ],
)
def test_a_data_yaml_that_says_no_classes_is_refused(yaml: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as error:
        _yolo(tmp_path, yaml, "images/a.png")
    assert problem in error.value.problem


def test_broken_lines_are_named_and_bad_boxes_counted(tmp_path: Path) -> None:
    text = "0 0.5 0.5 0 0.5\n\n7 0.5 0.5 0.5 0.5\n0 0.5\n0 0 0.5 0.5 0.5\n"
    pages, reading = _yolo(tmp_path, "train: images\nnames: [cat]", "images/a.png", text=text)
    file = tmp_path / "labels" / "a.txt"
    assert reading.problems == [
        f"{file}:3: '7 0.5 0.5 0.5 0.5' is no `class cx cy w h`",
        f"{file}:4: '0 0.5' is no `class cx cy w h`",
    ]
    assert reading.losses == {"boxes without an area": 1, "boxes clipped to the image": 1}
    assert _boxes(pages) == {"images/a.png": [("cat", (0, 7.5, 10, 22.5))]}


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("detection", "0 0.5 0.75 0.9 0.5"),
        ("instance-segmentation", "0 0.1 0.1 0.9 0.1 0.9 0.9"),
        ("oriented-detection", "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9"),
        ("keypoints", "0 0.5 0.75 0.9 0.5 0.4 0.6 2"),
    ],
)
def test_predictions_have_their_score_at_the_end(task: TaskName, line: str, tmp_path: Path) -> None:
    for text, score in ((line, None), (f"{line} 0.25", 0.25)):
        pages, reading = _yolo(
            tmp_path,
            "train: images\nnames: [cat]",
            "images/a.png",
            text=text,
            task=task,
            keypoints=("tip",),
            kind="model",
            # Of one triangle nothing tells where its score stands.
            options=Options(columns="last" if task == "instance-segmentation" else ""),
        )
        assert (reading.problems, reading.losses) == ([], {})
        assert pages["images/a.png"].annotations[0].score == score


def test_points_may_lack_names_and_visibility(tmp_path: Path) -> None:
    yaml = "train: images\nnames: [cat]\nkpt_shape: [2, 2]"
    text = "0 0.5 0.5 0.5 0.5 0.4 0.4 0.6 0.5"
    keypoints = ("tip", "tail")
    pages, _ = _yolo(tmp_path, yaml, "images/a.png", text=text, task="keypoints", keypoints=keypoints)
    found = [(a.label, a.keypoints) for a in pages["images/a.png"].annotations[1:]]
    assert found == [("tip", ((16, 12),)), ("tail", ((24, 15),))]
    with pytest.raises(FormatError, match="data.yaml has 2 keypoints without names, and the project 1"):
        look_up("yolo", tmp_path, "keypoints", {"images/a.png": (40, 30)}, keypoints=("tip",))


def test_what_is_written_names_its_classes_and_points(tmp_path: Path) -> None:
    import yaml

    box = Annotation("dog", ME, box=(1, 2, 11, 22), id="1")
    there_and_back("yolo", "keypoints", [box], (40, 30), tmp_path, ("tip: a", "no"))
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text()) == {
        "names": {0: "cat", 1: "dog"},
        "train": "images/train",
        # ultralytics refuses a file without it.
        "val": "images/train",
        "kpt_shape": [2, 3],
        "kpt_names": {0: ["tip: a", "no"], 1: ["tip: a", "no"]},
    }


CASES = SHARED / "label-studio-cases" / "sdk_converter" / "data"


@pytest.mark.skipif(not CASES.is_dir(), reason="no Label Studio cases here")
@pytest.mark.parametrize(
    ("name", "images", "boxes", "alone"),
    [("test_import_yolo_data", 4, 13, 3), ("test_import_yolo_data_unif_dims", 5, 19, 0)],
)
def test_the_folders_label_studio_reads(name: str, images: int, boxes: int, alone: int) -> None:
    """classes.txt and labels/, with the images beside them or elsewhere."""
    source = CASES / name
    classes = source.joinpath("classes.txt").read_text().split("\n")
    shown = [p.relative_to(source).as_posix() for p in (source / "images").glob("*")]
    elsewhere = [f"{p.stem}.jpg" for p in (source / "labels").glob("*.txt")]
    pages, reading = look_up(
        "yolo", source, "detection", dict.fromkeys(shown or elsewhere, (640, 480)), classes
    )
    assert (len(pages), sum(len(page.annotations) for page in pages.values())) == (images, boxes)
    assert reading.problems == []
    assert reading.losses == ({"label files whose image is not there": alone} if alone else {})

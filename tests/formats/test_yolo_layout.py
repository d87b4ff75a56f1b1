"""Where YOLO's images, labels and lists lie, as tools leave them; each through an import."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.foreign import draw, labels, make_project, take
from workflow.errors import FormatError
from workflow.project.paths import Project

CAT, DOG = "0 0.5 0.5 0.5 0.5\n", "1 0.5 0.5 0.25 0.25\n"
NAMES = "names: [cat, dog]\n"


def _lay(folder: Path, files: dict[str, str]) -> Path:
    """Text files by their content; images where that is empty."""
    for name, text in files.items():
        path = folder / name
        if text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        else:
            draw(path)
    return folder


def _labeled(project: Project) -> dict[str, list[str]]:
    return {path: [a.label for a in s.annotations] for path, s in labels(project).items() if s.annotations}


SPLIT = {"images/train/a.png": "", "labels/train/a.txt": CAT, "images/val/b.png": "", "labels/val/b.txt": DOG}
BOTH = {"images/train/a.png": ["cat"], "images/val/b.png": ["dog"]}
ROBOFLOW = {"train/images/a.png": "", "train/labels/a.txt": CAT}
ROBOFLOW |= {"valid/images/b.png": "", "valid/labels/b.txt": DOG}
LAYOUTS = {
    "ultralytics": (SPLIT | {"data.yaml": f"train: images/train\nval: images/val\n{NAMES}"}, BOTH),
    "windows": (
        SPLIT | {"data.yaml": f"train: images\\train\r\nval: images\\val\r\n{NAMES}"},
        BOTH,
    ),
    "another machine": (
        SPLIT
        | {"data.yaml": f"path: /home/me/pets\ntrain: images/train\nval: /home/me/pets/images/val\n{NAMES}"},
        BOTH,
    ),
    "a drive": (
        SPLIT | {"data.yaml": f"train: C:\\pets\\images\\train\nval: images/val\n{NAMES}"},
        BOTH,
    ),
    "list": (
        SPLIT
        | {
            "data.yaml": f"path: ./\ntrain: train.txt\nval: val.txt\n{NAMES}",
            "train.txt": "data/images/train/a.png\n",
            "val.txt": "./images/val/b.png\r\n\r\n",
        },
        BOTH,
    ),
    "absolute list": (
        SPLIT
        | {
            "data.yaml": f"train: all.txt\n{NAMES}",
            "all.txt": "/x/pets/images/train/a.png\n/x/images/val/b.png",
        },
        BOTH,
    ),
    "roboflow": (
        ROBOFLOW | {"data.yaml": f"train: ../train/images\nval: ../valid/images\n{NAMES}"},
        {"train/images/a.png": ["cat"], "valid/images/b.png": ["dog"]},
    ),
    "labelimg": (
        {"a.png": "", "a.txt": CAT, "b.png": "", "b.txt": DOG, "classes.txt": "cat\ndog\n"},
        {"a.png": ["cat"], "b.png": ["dog"]},
    ),
    "labelimg, apart": (
        {"images/a.png": "", "labels/a.txt": DOG, "labels/classes.txt": "cat\r\ndog\r\n"},
        {"images/a.png": ["dog"]},
    ),
    "darknet": (
        {
            "obj_train_data/a.png": "",
            "obj_train_data/a.txt": CAT,
            "obj.names": "cat\ndog",
            "obj.data": "classes = 2",
            "train.txt": "data/obj_train_data/a.png",
        },
        {"obj_train_data/a.png": ["cat"]},
    ),
    "called like a split": (
        {"train.png": "", "train.txt": DOG, "classes.txt": "cat\ndog\n"},
        {"train.png": ["dog"]},
    ),
    "mixed keys": (
        {"images/a.png": "", "labels/a.txt": DOG, "data.yaml": "train: images\nnames: {0: cat, '1': dog}\n"},
        {"images/a.png": ["dog"]},
    ),
    "nested": (
        {
            "images/train/images/train/a.png": "",
            "images/train/labels/train/a.txt": DOG,
            "data.yaml": f"train: images/train\n{NAMES}",
        },
        {"images/train/images/train/a.png": ["dog"]},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_people_have(layout: str, tmp_path: Path) -> None:
    files, wanted = LAYOUTS[layout]
    project = make_project(tmp_path)
    lines = take(project, "yolo", _lay(tmp_path / "in", files))
    assert _labeled(project) == wanted
    assert [line for line in lines if "no image shows" not in line and "whose split" not in line] == []


@pytest.mark.parametrize(
    "layout", ["ultralytics", "list", "absolute list", "roboflow", "labelimg", "darknet"]
)
def test_the_images_may_lie_elsewhere(layout: str, tmp_path: Path) -> None:
    files, wanted = LAYOUTS[layout]
    source = _lay(tmp_path / "in", {name: text for name, text in files.items() if text})
    for place in ("as they were", "in one folder"):
        project = make_project(tmp_path / place)
        images = _lay(
            tmp_path / place / "in",
            {
                name if place == "as they were" else Path(name).name: ""
                for name, text in files.items()
                if not text
            },
        )
        take(project, "yolo", source, images=images)
        found = {Path(path).name: names for path, names in _labeled(project).items()}
        assert found == {Path(path).name: names for path, names in wanted.items()}


def test_a_split_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Roboflow names a test folder even where a set has none, and ultralytics passes it over."""
    yaml = f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\n{NAMES}"
    project = make_project(tmp_path)
    lines = take(project, "yolo", _lay(tmp_path / "in", ROBOFLOW | {"data.yaml": yaml}))
    assert "1 folders or lists of data.yaml that are not there: test: ../test/images" in lines
    assert len(_labeled(project)) == 2


def test_a_line_of_a_list_is_not_guessed(tmp_path: Path) -> None:
    files = {
        "day2/1.png": "",
        "day2/1.txt": CAT,
        "b.png": "",
        "b.txt": DOG,
        "train.txt": "day1/1.png\nb.png\n",
    }
    project = make_project(tmp_path)
    lines = take(project, "yolo", _lay(tmp_path / "in", files | {"data.yaml": f"train: train.txt\n{NAMES}"}))
    assert "1 images that are not there: day1/1.png" in lines
    assert _labeled(project) == {"b.png": ["dog"]}


def test_two_images_cannot_share_a_label_file(tmp_path: Path) -> None:
    files = {
        "images/a.png": "",
        "images/a.jpg": "",
        "labels/a.txt": CAT,
        "data.yaml": f"train: images\n{NAMES}",
    }
    with pytest.raises(FormatError) as error:
        take(make_project(tmp_path), "yolo", _lay(tmp_path / "in", files))
    file = tmp_path / "in" / "labels" / "a.txt"
    assert error.value.problem == (
        f"{file}: is that of images/a.jpg and of images/a.png: each image needs one of its own"
    )


def test_labels_without_an_image_are_counted(tmp_path: Path) -> None:
    files = {
        "a.png": "",
        "a.txt": CAT,
        "b.txt": DOG,
        "classes.txt": "cat\ndog\n",
        "readme.roboflow.txt": "hi",
    }
    lines = take(make_project(tmp_path), "yolo", _lay(tmp_path / "in", files))
    assert lines[0] == "1 label files whose image is not there: b.txt"

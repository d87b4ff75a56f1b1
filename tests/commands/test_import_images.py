"""Which image a label goes to, in every format; none that is another's, none that is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.foreign import draw, labels, make_project, take
from workflow.errors import FormatError
from workflow.formats.page import Options
from workflow.project.paths import Project, load_project

VOC = (
    "<annotation><filename>{}</filename><size><width>40</width><height>30</height></size><object><name>cat</name>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>22</ymax></bndbox></object></annotation>"
)


def _coco(folder: Path, name: str) -> Path:
    image = {"id": 1, "file_name": name, "width": 40, "height": 30}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20]}
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    return _write(folder / "coco.json", json.dumps(content))


def _csv(folder: Path, name: str) -> Path:
    return _write(folder / "labels.csv", f"image,label\n{name},cat\n")


def _cvat(folder: Path, name: str) -> Path:
    box = '<box label="cat" xtl="1" ytl="2" xbr="11" ybr="22"/>'
    image = f'<image id="0" name="{name}" width="40" height="30">{box}</image>'
    return _write(folder / "cvat.xml", f"<annotations>{image}</annotations>")


def _label_studio(folder: Path, name: str) -> Path:
    value = {"x": 2.5, "y": 5, "width": 25, "height": 50, "rectanglelabels": ["cat"]}
    region = {"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}
    task = {"id": 1, "data": {"image": f"/data/local-files/?d={name}"}, "annotations": [{"result": [region]}]}
    return _write(folder / "tasks.json", json.dumps([task]))


def _labelme(folder: Path, name: str) -> Path:
    shape = {"label": "cat", "points": [[1, 2], [11, 22]], "shape_type": "rectangle"}
    content = {"shapes": [shape], "imagePath": name, "imageWidth": 40, "imageHeight": 30}
    _write(folder / Path(name).with_suffix(".json").name, json.dumps(content))
    return folder


def _masks(folder: Path, name: str) -> Path:
    path = (folder / "masks" / name).with_suffix(".png")
    path.parent.mkdir(parents=True)
    Image.fromarray(np.ones((30, 40), dtype=np.uint8)).save(path)
    _write(folder / "labelmap.txt", "background:0,0,0::\ncat:1,1,1::\n")
    return folder


def _voc(folder: Path, name: str) -> Path:
    _write(folder / "ann" / Path(name).with_suffix(".xml"), VOC.format(Path(name).name))
    return folder


def _voc_name(folder: Path, name: str) -> Path:
    _write(folder / Path(name).with_suffix(".xml").name, VOC.format(name))
    return folder


def _yolo(folder: Path, name: str) -> Path:
    _write(folder / "labels" / Path(name).with_suffix(".txt"), "0 0.5 0.5 0.5 0.5\n")
    _write(folder / "classes.txt", "cat\n")
    return folder


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


SOURCES = {
    "coco": (_coco, "detection"),
    "csv": (_csv, "classification"),
    "cvat": (_cvat, "detection"),
    "label-studio": (_label_studio, "detection"),
    "labelme": (_labelme, "detection"),
    "masks": (_masks, "semantic-segmentation"),
    "voc": (_voc, "detection"),
    "voc-filename": (_voc_name, "detection"),
    "yolo": (_yolo, "detection"),
}


def _project(root: Path, source: str) -> tuple[Project, str]:
    return make_project(root, SOURCES[source][1]), source.removesuffix("-filename")


def _labeled(project: Project) -> list[str]:
    return [path for path, sample in labels(project).items() if sample.annotations]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("place", ["in/day2/1.png", "projects/pets/data/images/2023/1.png"])
def test_an_image_of_another_folder_is_not_taken(source: str, place: str, tmp_path: Path) -> None:
    project, name = _project(tmp_path, source)
    path = SOURCES[source][0](tmp_path / "in", "day1/1.png")
    draw(tmp_path / place)
    with pytest.raises(FormatError) as error:
        take(project, name, path)
    assert "labels no image that is here: 1 images that are not there: " in error.value.problem
    assert f" is no {place.removeprefix('in/').removeprefix('projects/pets/data/images/')}" in str(
        error.value
    )
    assert not project.labels.exists()
    lines = take(project, name, path, options=Options(by_name=True))
    assert any(line.startswith("1 images found by their names alone") for line in lines)
    assert len(_labeled(project)) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_an_image_is_found_by_the_folders_that_there_are(source: str, tmp_path: Path) -> None:
    """Below the folder that is given, in a folder more, or with all of its folders gone."""
    for number, place in enumerate(("day1/1.png", "photos/day1/1.png", "1.png")):
        root = tmp_path / str(number)
        project, name = _project(root, source)
        path = SOURCES[source][0](root / "in", "day1/1.png")
        draw(root / "elsewhere" / place)
        take(project, name, path, images=root / "elsewhere")
        assert _labeled(project) == [place]


@pytest.mark.parametrize("source", ["coco", "csv", "cvat"])
@pytest.mark.parametrize(
    "name",
    ["/home/me/set/day1/1.png", "D:/set/day1/1.png", "..\\..\\set\\day1\\1.png", "/data/upload/4/1.png"],
)
def test_another_machines_paths_are_matched_from_their_ends(source: str, name: str, tmp_path: Path) -> None:
    project, format = _project(tmp_path, source)
    draw(tmp_path / "in" / ("images" if "upload" in name else "day1") / "1.png")
    take(project, format, SOURCES[source][0](tmp_path / "in", name))
    assert len(_labeled(project)) == 1


def test_a_folder_of_labelme_beside_its_images(tmp_path: Path) -> None:
    for number, name in enumerate(("..\\imgs\\a.png", "../imgs/a.png", "a.png")):
        project = make_project(tmp_path / str(number))
        folder = _labelme(tmp_path / str(number) / "in" / "ann", "a.png")
        draw(folder.parent / "imgs" / "a.png")
        content = json.loads((folder / "a.json").read_text()) | {"imagePath": name}
        (folder / "a.json").write_text(json.dumps(content))
        take(project, "labelme", folder, images=folder.parent / "imgs")
        assert _labeled(project) == ["a.png"]
        again = make_project(tmp_path / str(number) / "again")
        take(again, "labelme", folder.parent)
        assert _labeled(again) == ["imgs/a.png"]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_vocs_devkit_as_it_is_unpacked(suffix: str, tmp_path: Path) -> None:
    """Its masks have the images' names."""
    project, folder = make_project(tmp_path), tmp_path / "VOCdevkit" / "VOC2012"
    _write(folder / "Annotations" / "1.xml", VOC.format(f"1.{suffix}"))
    draw(folder / "JPEGImages" / f"1.{suffix}")
    for name in ("SegmentationClass", "SegmentationObject"):
        draw(folder / name / "1.png", 41)
    take(project, "voc", folder)
    assert _labeled(project) == [f"JPEGImages/1.{suffix}"]


def test_names_with_accents_are_one_however_they_are_spelled(tmp_path: Path) -> None:
    for source in ("coco", "csv", "cvat"):
        project, name = _project(tmp_path / source, source)
        draw(tmp_path / source / "in" / "Cafe\N{COMBINING ACUTE ACCENT}.png")
        take(
            project,
            name,
            SOURCES[source][0](tmp_path / source / "in", "Caf\N{LATIN SMALL LETTER E WITH ACUTE}.png"),
        )
        assert len(_labeled(project)) == 1


def _coco_of(
    folder: Path, images: list[str], boxes: list[tuple[object, list[float]]], file: str = "c.json"
) -> Path:
    """A COCO file of images numbered from 0, with boxes of cats by image_id."""
    rows = [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(images)]
    found = [{"id": n, "image_id": i, "category_id": 1, "bbox": box} for n, (i, box) in enumerate(boxes)]
    content = {"images": rows, "annotations": found, "categories": [{"id": 1, "name": "cat"}]}
    return _write(folder / file, json.dumps(content))


GOOD, BAD = [1, 2, 10, 20], [1, 2, 0, 20]


def test_an_image_whose_annotations_may_have_lost_it_is_not_taken_for_empty(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for name in "abc":
        draw(tmp_path / "in" / f"{name}.png")
    source = _coco_of(tmp_path / "in", ["a.png", "b.png", "c.png"], [(0, GOOD), (1, GOOD), (77, GOOD)])
    lines = take(project, "coco", source)
    assert lines == [
        "1 annotations of images that are not listed: image_id 77",
        "1 images left out, as none of their labels can be carried: c.png",
        "no image shows dog: true only if the source labels them",
    ]
    assert {path: s.state for path, s in labels(project).items()} == {
        "a.png": "reviewed",
        "b.png": "reviewed",
    }


@pytest.mark.parametrize("boxes", [[(0, GOOD), (0, BAD), (1, BAD)], [(0, GOOD), ("x", GOOD), ("y", GOOD)]])
def test_an_import_in_which_most_labels_fail_is_refused(boxes: list, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for name in "ab":
        draw(tmp_path / "in" / f"{name}.png")
    source = _coco_of(tmp_path / "in", ["a.png", "b.png"], boxes)
    with pytest.raises(FormatError) as error:
        take(project, "coco", source)
    assert error.value.problem.startswith(f"{source}: 2 of 3 labels cannot be carried: ")
    assert error.value.fix == "mend the source, or --lossy to import the others"
    assert not project.labels.exists()
    take(project, "coco", source, options=Options(lossy=True))
    assert _labeled(project) == ["a.png"]
    assert "b.png" not in labels(project)


def test_an_image_of_another_size_is_no_empty_one_either(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    draw(tmp_path / "in" / "a.png")
    draw(tmp_path / "in" / "b.png", 41)
    lines = take(project, "coco", _coco_of(tmp_path / "in", ["a.png", "b.png"], [(0, GOOD)]))
    assert "1 images of another size than the source says (40x30): b.png" in lines
    assert list(labels(project)) == ["a.png"]


def test_an_image_that_is_there_twice_keeps_the_labels_of_either(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes())
    lines = take(project, "coco", _coco_of(tmp_path / "in", ["a.png", "b.png"], [(1, GOOD)]))
    assert "1 images labeled twice, in two ways (the labeled one counts): b.png" in lines
    assert [len(sample.annotations) for sample in labels(project).values()] == [1]


def test_one_label_that_is_left_out_leaves_the_image_out(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification")
    for name in "ab":
        draw(tmp_path / "in" / f"{name}.png")
    source = _write(tmp_path / "in" / "l.csv", "image,label\na.png,cat\nb.png,bird\n")
    lines = take(project, "csv", source, class_map={"bird": ""})
    assert "1 images of which --class-map leaves all labels out: b.png" in lines
    assert list(labels(project)) == ["a.png"]


def test_classes_that_differ_in_their_case_only_are_matched_and_told(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification", classes=("Cat", "dog", "a", "A"))
    names = {"1.png": "cat", "2.png": "CAT", "3.png": "DOG", "4.png": "A"}
    for name in names:
        draw(tmp_path / "in" / name)
    text = "".join(f"{name},{label}\n" for name, label in names.items())
    lines = take(project, "csv", _write(tmp_path / "in" / "l.csv", f"image,label\n{text}"))
    assert [line for line in lines if "taken for" in line] == [
        "1 labels 'CAT', taken for the class 'Cat': 2.png",
        "1 labels 'DOG', taken for the class 'dog': 3.png",
        "1 labels 'cat', taken for the class 'Cat': 1.png",
    ]
    assert [s.annotations[0].label for s in labels(project).values()] == ["Cat", "Cat", "dog", "A"]
    other = make_project(tmp_path / "other", "classification", classes=("b", "B"))
    draw(tmp_path / "in" / "5.png")
    with pytest.raises(FormatError, match="labels that are no class of pets: 'ß' "):
        take(other, "csv", _write(tmp_path / "in" / "m.csv", "image,label\n5.png,ß\n"))


def test_the_very_same_box_twice_is_one(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    draw(tmp_path / "in" / "a.png")
    lines = take(
        project, "coco", _coco_of(tmp_path / "in", ["a.png"], [(0, GOOD), (0, GOOD), (0, [1, 2, 10, 19])])
    )
    assert "1 annotations that are there twice, to the last bit (kept once): a.png" in lines
    assert len(labels(project)["a.png"].annotations) == 2


def _split_csv(folder: Path) -> Path:
    return _write(folder / "l.csv", "image,label,split\na.png,cat,test\nb.png,cat,train\n")


def _split_folders(folder: Path) -> Path:
    for name, split in (("a", "test"), ("b", "train2017")):
        (folder / split).mkdir()
        (folder / f"{name}.png").rename(folder / split / f"{name}.png")
    return _coco_of(folder, ["test/a.png", "train2017/b.png"], [(0, GOOD), (1, GOOD)])


def _split_roboflow(folder: Path) -> Path:
    for name, split in (("a", "test"), ("b", "train")):
        (folder / split).mkdir()
        (folder / f"{name}.png").rename(folder / split / f"{name}.png")
        _coco_of(folder / split, [f"{name}.png"], [(0, GOOD)], "_annotations.coco.json")
    return folder


def _split_files(folder: Path) -> Path:
    for name, split in (("a", "test"), ("b", "train")):
        _coco_of(folder / "annotations", [f"{name}.png"], [(0, GOOD)], f"instances_{split}2017.json")
    return folder


def _split_voc(folder: Path) -> Path:
    for name, split in (("a", "test"), ("b", "train")):
        _write(folder / "Annotations" / f"{name}.xml", VOC.format(f"{name}.png"))
        _write(folder / "ImageSets" / "Main" / f"{split}.txt", f"{name}\n")
    (folder / "JPEGImages").mkdir()
    for name in "ab":
        (folder / f"{name}.png").rename(folder / "JPEGImages" / f"{name}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("csv", _split_csv),
        ("coco", _split_folders),
        ("coco", _split_roboflow),
        ("coco", _split_files),
        ("voc", _split_voc),
    ],
)
def test_the_sources_own_split_is_counted_where_it_differs(name: str, make: Callable, tmp_path: Path) -> None:
    """Here both images are for training: a.png is for the test there."""
    project = make_project(tmp_path, "classification" if name == "csv" else "detection")
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text() + "[split]\ntest = 0.0\nvalidation = 0.0\n")
    project = load_project(project.folder)
    for image in "ab":
        draw(tmp_path / "in" / f"{image}.png")
    lines = take(project, name, make(tmp_path / "in"))
    assert len(_labeled(project)) == 2
    (line,) = (line for line in lines if "whose split here is another than in the source" in line)
    assert line.startswith("1 ")
    assert line.endswith("a.png")


def test_of_a_models_names_two_that_are_alike_are_not_guessed(tmp_path: Path) -> None:
    project = make_project(tmp_path, "classification", classes=("Cat", "dog"))
    for name in ("1.png", "2.png"):
        draw(tmp_path / "in" / name)
    source = tmp_path / "in" / "l.csv"
    _write(source, "image,label\n1.png,Dog\n2.png,cat\n")
    assert "1 labels 'cat', taken for the class 'Cat': 2.png" in take(
        project, "csv", source, target="predictions"
    )
    _write(source, "image,label\n1.png,Cat\n2.png,cat\n")
    with pytest.raises(FormatError, match="labels that are no class of pets: 'cat' "):
        take(project, "csv", source, target="predictions")

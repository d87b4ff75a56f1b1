"""What is ignored comes in, stays, and goes out again: crowds, difficult objects, void pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.foreign import labels
from workflow.commands import export, import_
from workflow.formats.page import Options
from workflow.labels.files import LabelFiles
from workflow.labels.judging import Judgement
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push.prediction import as_prediction
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import dataset

ME = Provenance("person", "1")


def _project(root: Path, task: str = "detection") -> Project:
    folder = root / "projects" / "street"
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "project.toml").write_text(
        f'name = "street"\ntitle = "A street"\ntask = "{task}"\nclasses = ["car", "person"]\n'
    )
    Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)).save(root / "a.png")
    return load_project(folder)


def _coco(root: Path) -> Path:
    file = root / "coco.json"
    boxes = [[1, 2, 10, 10], [20, 5, 30, 30], [5, 20, 8, 8]]
    marks = [{"iscrowd": 0}, {"iscrowd": 1}, {"ignore": 1}]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": box} | mark
        for n, (box, mark) in enumerate(zip(boxes, marks, strict=True))
    ]
    image = {"id": 1, "file_name": "a.png", "width": 60, "height": 40}
    categories = [{"id": 1, "name": "person"}]
    file.write_text(json.dumps({"images": [image], "annotations": annotations, "categories": categories}))
    return file


def test_crowds_are_ignored_and_crowds_again(tmp_path: Path) -> None:
    project = _project(tmp_path)
    import_.run(project, "coco", _coco(tmp_path))
    (sample,) = labels(project).values()
    assert [(a.box, a.ignored) for a in sample.annotations] == [
        ((1, 2, 11, 12), False),
        ((20, 5, 50, 35), True),
        ((5, 20, 13, 28), True),
    ]
    export.run(project, "coco", tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert [one["iscrowd"] for one in written] == [0, 1, 1]


def test_what_has_no_place_for_them_leaves_them_out_and_says_so(tmp_path: Path) -> None:
    project = _project(tmp_path)
    import_.run(project, "coco", _coco(tmp_path))
    _, lines = export.run(project, "yolo", tmp_path / "out")
    assert "2 ignored annotations, for which yolo has no place: a.png" in lines
    (text,) = [path.read_text() for path in (tmp_path / "out" / "labels").rglob("*.txt")]
    assert len(text.splitlines()) == 1


def test_difficult_objects_are_ignored_and_difficult_again(tmp_path: Path) -> None:
    project = _project(tmp_path)
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12</ymax></bndbox>"
    far = box.replace("<xmax>11", "<xmax>30")
    (tmp_path / "a.xml").write_text(
        "<annotation><filename>a.png</filename><size><width>60</width><height>40</height></size>"
        f"<object><name>car</name><difficult>1</difficult>{box}</object>"
        f"<object><name>car</name><difficult>0</difficult>{far}</object></annotation>"
    )
    import_.run(project, "voc", tmp_path)
    (sample,) = labels(project).values()
    assert [a.ignored for a in sample.annotations] == [True, False]
    export.run(project, "voc", tmp_path / "out")
    (file,) = (tmp_path / "out" / "Annotations").rglob("*.xml")
    assert [one.text for one in ElementTree.parse(file).iter("difficult")] == ["1", "0"]


def test_void_pixels_are_neither_background_nor_a_class(tmp_path: Path) -> None:
    project = _project(tmp_path, "semantic-segmentation")
    values = np.zeros((40, 60), dtype=np.uint8)
    values[:10], values[10:20] = 1, 255
    (tmp_path / "source" / "images").mkdir(parents=True)
    (tmp_path / "source" / "masks").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "source" / "images" / "a.png")
    Image.fromarray(values).save(tmp_path / "source" / "masks" / "a.png")
    options = Options(background="0", void=("255",))
    import_.run(project, "masks", tmp_path / "source", options=options)
    (sample,) = labels(project).values()
    assert [(a.label, a.ignored) for a in sample.annotations] == [("car", False), ("void", True)]
    dataset.run(project)
    export.run(project, "masks", tmp_path / "out")
    (file,) = (tmp_path / "out" / "masks").rglob("*.png")
    assert np.array_equal(np.asarray(Image.open(file)), values)


@pytest.mark.parametrize("state", ["reviewed", "skipped"])
def test_what_nobody_sees_while_they_review_is_kept(tmp_path: Path, state: str) -> None:
    project = _project(tmp_path)
    import_.run(project, "coco", _coco(tmp_path))
    (record,) = read_catalog(project.catalog)
    drawn = (Annotation("car", ME, box=(2, 2, 9, 9), id="r1"),) if state == "reviewed" else ()
    for _ in range(2):
        files = LabelFiles(project, {record.id: record})
        sample = Sample(record.id, state, drawn, {"task": 1})  # type: ignore[arg-type]
        files.put(Judgement(sample, (), None, files.losses.copy()))
        files.write("pull")
    (sample,) = labels(project).values()
    boxes = [(a.box, a.ignored) for a in sample.annotations]
    kept = [((20, 5, 50, 35), True), ((5, 20, 13, 28), True), ((2, 2, 9, 9), False)]
    assert boxes == (kept if state == "reviewed" else [])


def test_label_studios_export_has_a_note_and_reads_it(tmp_path: Path) -> None:
    project = _project(tmp_path)
    import_.run(project, "coco", _coco(tmp_path))
    before = labels(project)["a.png"].annotations
    export.run(project, "label-studio", tmp_path / "out.json")
    result = json.loads((tmp_path / "out.json").read_text())[0]["annotations"][0]["result"]
    assert [r.get("meta") for r in result] == [None, {"text": ["ignored"]}, {"text": ["ignored"]}]
    import_.run(project, "label-studio", tmp_path / "out.json")
    after = labels(project)["a.png"].annotations
    assert [(a.label, a.ignored) for a in after] == [(a.label, a.ignored) for a in before]


def test_void_pixels_are_not_sent_to_label_studio_and_counted(tmp_path: Path) -> None:
    project = _project(tmp_path, "semantic-segmentation")
    values = np.zeros((40, 60), dtype=np.uint8)
    values[:10], values[10:20] = 1, 255
    (tmp_path / "source" / "masks").mkdir(parents=True)
    (tmp_path / "a.png").rename(tmp_path / "source" / "a.png")
    Image.fromarray(values).save(tmp_path / "source" / "masks" / "a.png")
    import_.run(project, "masks", tmp_path / "source", options=Options(background="0", void=("255",)))
    _, lines = export.run(project, "label-studio", tmp_path / "out.json")
    assert "1 ignored masks, for which Label Studio has no label: a.png" in lines
    (record,) = read_catalog(project.catalog)
    lost: list[str] = []
    guesses = Sample(record.id, "predicted", labels(project)["a.png"].annotations)
    interface = interface_of(project)
    row = as_prediction(guesses, replace(record, split="train"), project.settings, interface, lost.append)
    assert len(row["result"]) == 1
    assert lost == ["ignored masks, for which Label Studio has no label"]

"""Import and export: every format holds every task it says it does, and nothing a person did is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.foreign import draw, labels, make_project, review_by_truth, take
from tests.samples import CLASSES, EMPTY, KEYPOINTS, draw_project, pushed_tasks
from workflow.commands import export, import_
from workflow.errors import FormatError, StageError
from workflow.formats.page import FORMATS, Options
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_json, read_rows, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, RotatedBox, Sample
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import rotated_corners
from workflow.shapes.turn import MOVES, TURNS, upright
from workflow.stages import catalog, dataset, pull, push
from workflow.tasks import TaskName

ME = Provenance("person", "me")
EXIF = "1 images are turned by EXIF and labeled upright: torchvision's readers see them as they are stored"
HOLDS = [(name, task) for name, row in FORMATS.items() for task in row.tasks]


def _shape(annotation: Annotation, all_of_them: Sequence[Annotation]) -> tuple:
    """What an annotation says: label, numbers, whose part it is. Any box is one that may turn."""
    numbers: list[float] = []
    if annotation.box is not None:
        x1, y1, x2, y2 = annotation.box
        numbers = [x1, y1, x2, y1, x2, y2, x1, y2]
    elif annotation.rotated_box is not None:
        numbers = rotated_corners(annotation.rotated_box).reshape(-1).tolist()
    elif annotation.keypoints is not None:
        numbers = [n for point in annotation.keypoints for n in point]
    elif annotation.geometry:
        pixels = masks.decode(overlap.as_mask(annotation, 72, 96))
        numbers = np.flatnonzero(pixels).tolist()
    owner = next((a.label for a in all_of_them if annotation.parent and a.id == annotation.parent), "")
    return annotation.label, numbers, owner


def _shapes(annotations: Sequence[Annotation]) -> list[tuple]:
    return sorted(_shape(a, annotations) for a in annotations)


def _assert_same(found: Sequence[Annotation], wanted: Sequence[Annotation], slack: float = 1e-6) -> None:
    for (label, numbers, owner), (label_2, numbers_2, owner_2) in zip(
        _shapes(found), _shapes(wanted), strict=True
    ):
        assert (label, owner) == (label_2, owner_2)
        assert numbers == pytest.approx(numbers_2, abs=slack)


@pytest.mark.parametrize(("name", "task"), HOLDS, ids=lambda v: str(v))
def test_what_is_exported_is_imported_again(name: str, task: TaskName, tmp_path: Path) -> None:
    project = review_by_truth(draw_project(tmp_path / "a", task, count=6))
    target = tmp_path / "out" / "labels"
    _, lines = export.run(project, name, target)
    unlabeled = {f"shapes-{EMPTY:02d}.png", "shapes-03.png"} if task == "classification" else set()
    if name not in ("folder", "yolo"):
        unlabeled = set()
    notes = ("no image is in val, which ultralytics needs: train stands in for it", EXIF)
    assert (EXIF in lines) == (name != "label-studio" and "classification" not in task)
    assert [line for line in lines if line not in notes] == [
        f"{len(unlabeled)} images without a label: {', '.join(sorted(unlabeled))}"
    ][: len(unlabeled)]
    other = make_project(tmp_path / "b", task, CLASSES, KEYPOINTS if task == "keypoints" else ())
    result = import_.run(other, name, target, project.images)
    assert [line for line in result.lines if not line.startswith("no image shows")] == []
    wanted = {Path(path).name: sample for path, sample in labels(project).items()}
    found = {Path(path).name: sample for path, sample in labels(other).items()}
    assert found.keys() == wanted.keys() - unlabeled
    for path, sample in found.items():
        assert (sample.state, sample.meta["imported"]) == ("reviewed", name)
        # YOLO's numbers have six digits, of images of 96 pixels.
        _assert_same(sample.annotations, wanted[path].annotations, 1e-4 if name == "yolo" else 1e-6)
        assert all(a.provenance.kind == "import" and a.provenance.name == name for a in sample.annotations)
    assert import_.run(other, name, target, project.images).outcome.skipped


def test_relations_go_along_where_the_format_has_any(tmp_path: Path) -> None:
    project = review_by_truth(draw_project(tmp_path / "a", "detection", count=6))
    rows = list(read_rows(project.labels))
    one, other = next(row for row in rows if len(row["annotations"]) == 2)["annotations"]
    relation = {"type": "relation", "from_id": other["id"], "to_id": one["id"], "direction": "right"}
    for row in rows:
        row |= {"relations": [relation]} if one in row["annotations"] else {}
    write_rows(project.labels, rows)
    _, lines = export.run(project, "coco", tmp_path / "coco.json")
    assert lines == ["1 relations, for which coco has no place", EXIF]
    _, lines = export.run(project, "label-studio", tmp_path / "ls.json")
    assert lines == []
    copy = make_project(tmp_path / "b", "detection", CLASSES)
    import_.run(copy, "label-studio", tmp_path / "ls.json", project.images)
    (found,) = (s for s in labels(copy).values() if "relations" in s.meta)
    names = {a.label: a.id for a in found.annotations}
    ends = {"from_id": names[other["label"]], "to_id": names[one["label"]]}
    assert found.meta["relations"] == [relation | ends]
    # What leads to a class that is left out is counted.
    third = make_project(tmp_path / "c", "detection", CLASSES)
    left_out = {one["label"]: ""}
    result = import_.run(third, "label-studio", tmp_path / "ls.json", project.images, class_map=left_out)
    assert any(line.startswith("1 relations of regions that are not carried") for line in result.lines)
    guessed = json.loads((tmp_path / "ls.json").read_text())
    for task in guessed:
        task["predictions"] = task.pop("annotations")
    (tmp_path / "guessed.json").write_text(json.dumps(guessed))
    result = import_.run(copy, "label-studio", tmp_path / "guessed.json", project.images, "predictions")
    assert any(line.startswith("1 relations, which predictions have none of") for line in result.lines)
    dataset.run(copy)
    assert read_json(copy.dataset / "dataset.json")["lost"] == {
        "relations, for which a dataset has no column": 1
    }


def test_the_table_holds_every_task() -> None:
    assert len(HOLDS) == 34
    assert {task for _, task in HOLDS} == set(FORMATS["cvat"].tasks)


def _coco(folder: Path, annotations: list[dict], size: tuple[int, int] = (40, 30), names: str = "ab") -> Path:
    """A source of the images a.png, b.png, of cats (1) and dogs (2)."""
    images = [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate(names)]
    for image in images:
        image |= {"width": size[0], "height": size[1]}
        if not (folder / image["file_name"]).exists():
            draw(folder / image["file_name"])
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    rows = [{"id": n, "image_id": 0, "category_id": 1, "iscrowd": 0} | a for n, a in enumerate(annotations)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return path


BOX = {"bbox": [1, 2, 10, 20]}


def test_human_work_is_left_and_an_import_replaced(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    take(project, "coco", _coco(tmp_path / "in", [BOX]))
    rows = {row["image"]: row for row in read_rows(project.labels)}
    by_path = {r.path: r.id for r in read_catalog(project.catalog)}
    person = {"image": by_path["b.png"], "state": "reviewed", "annotations": [], "task": 7, "person": "1"}
    write_rows(project.labels, [rows[by_path["a.png"]], person])
    source = _coco(tmp_path / "in", [BOX | {"bbox": [5, 5, 6, 6]}, BOX | {"image_id": 1}])
    result = import_.run(project, "coco", source)
    assert result.outcome.did.startswith(
        "1 images (1 boxes, 0 empty), 1 left as people labeled them, 0 images"
    )
    found = {row["image"]: row for row in read_rows(project.labels)}
    assert found[by_path["b.png"]] == person
    assert found[by_path["a.png"]]["annotations"][0]["box"] == [5, 5, 11, 11]


def test_the_same_import_a_day_later_changes_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    take(project, "coco", source)
    day = datetime.now(UTC).date().isoformat().encode()
    content = project.labels.read_bytes().replace(day, b"2001-01-01")
    project.labels.write_bytes(content)
    assert import_.run(project, "coco", source).outcome.skipped
    assert project.labels.read_bytes() == content
    assert b"2001-01-01" in content


def test_a_skipped_image_stays_skipped(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    take(project, "coco", source)
    rows = [r | {"state": "skipped", "annotations": []} for r in read_rows(project.labels)]
    skipped = [{k: v for k, v in row.items() if k != "imported"} for row in rows]
    write_rows(project.labels, skipped)
    assert "0 images (0 boxes, 0 empty), 2 left as people" in import_.run(project, "coco", source).outcome.did
    assert list(read_rows(project.labels)) == skipped


def test_a_dry_run_writes_nothing_and_says_the_same(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX, {"bbox": [0, 0, 0, 5]}])
    dry = import_.run(project, "coco", source, dry_run=True)
    assert dry.outcome.did == "would be 2 images (1 boxes, 1 empty)"
    assert not project.data.exists()
    wet = import_.run(project, "coco", source)
    assert wet.lines == dry.lines == ["1 boxes without an area: a.png", UNUSED]


UNUSED = "no image shows dog: true only if the source labels them"


def test_the_users_files_stay_as_they_are(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "in").iterdir()}
    take(project, "coco", source)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "in").iterdir()} == before
    assert sorted(p.name for p in project.images.iterdir()) == ["a.png", "b.png"]
    assert not (project.images / "a.png").samefile(tmp_path / "in" / "a.png")


def test_images_that_are_in_the_project_are_not_copied(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    shutil.copytree(tmp_path / "in", project.images / "old", ignore=shutil.ignore_patterns("*.json"))
    assert ", 2 images copied" in import_.run(project, "coco", source).outcome.did
    # Catalogued, their content is known wherever it comes from.
    shutil.rmtree(project.images / "old")
    (project.images / "a.png").rename(project.images / "c.png")
    assert ", 1 images copied" in import_.run(project, "coco", source).outcome.did


def test_another_image_of_the_same_name_keeps_it(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    draw(project.images / "a.png", 10, 10)
    lines = take(project, "coco", _coco(tmp_path / "in", [BOX]))
    assert "1 images renamed, as another has their name: a.png" in lines
    found = labels(project)
    assert found["a.png"].state == "unlabeled"
    (renamed,) = (path for path in found if path.startswith("a-"))
    assert found[renamed].annotations[0].box == (1, 2, 11, 22)


def test_predictions_have_a_file_of_their_own(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX | {"score": 0.5}])
    take(project, "coco", source, target="predictions")
    assert not project.labels.exists()
    rows = {r["image"]: r for r in read_rows(project.data / "predictions" / "import-coco-instances.jsonl")}
    (annotation,) = (a for row in rows.values() for a in row["annotations"])
    assert {row["state"] for row in rows.values()} == {"predicted"}
    assert (annotation["score"], annotation["provenance"]["kind"]) == (0.5, "model")
    assert annotation["provenance"]["name"] == "import-coco-instances"
    out = tmp_path / "out.json"
    export.run(project, "coco", out, predictions="import-coco-instances")
    assert [a["score"] for a in json.loads(out.read_text())["annotations"]] == [0.5]
    _, lines = export.run(project, "voc", tmp_path / "voc", predictions="import-coco-instances")
    assert lines == ["1 scores, for which voc has no place"]


def test_scores_are_no_part_of_a_label(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    lines = take(project, "coco", _coco(tmp_path / "in", [BOX | {"score": 0.5}]))
    assert lines == ["1 scores, which only predictions have: a.png", UNUSED]
    assert labels(project)["a.png"].annotations[0].score is None


def test_classes_are_refused_renamed_or_left_out(tmp_path: Path) -> None:
    project = make_project(tmp_path, classes=("cat", "hound"))
    source = _coco(tmp_path / "in", [BOX, BOX | {"category_id": 2}, BOX | {"category_id": 2, "image_id": 1}])
    with pytest.raises(FormatError) as error:
        take(project, "coco", source)
    assert str(error.value) == (
        "labels that are no class of pets: 'dog' (2) -> add them to project.toml, "
        "or --class-map 'dog=CLASS' ('dog=' leaves it out)"
    )
    assert not project.data.exists()
    assert take(project, "coco", source, class_map={"dog": "hound"}) == []
    assert [a.label for a in labels(project)["a.png"].annotations] == ["cat", "hound"]
    lines = take(project, "coco", source, class_map={"dog": ""})
    assert lines[0] == "2 annotations of classes that --class-map leaves out: a.png, b.png"
    assert [a.label for a in labels(project)["a.png"].annotations] == ["cat"]


@pytest.mark.parametrize(
    ("name", "task", "problem"),
    [
        ("voc", "instance-segmentation", "voc cannot hold the labels of instance-segmentation"),
        ("coco", "oriented-detection", "coco cannot hold the labels of oriented-detection"),
        ("kitti", "detection", "no format 'kitti'"),
    ],
)
def test_a_format_that_does_not_fit_is_refused(name: str, task: str, problem: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, task)
    for run in (import_.run, export.run):
        with pytest.raises(FormatError) as error:
            run(project, name, tmp_path)
        assert error.value.problem == problem
        assert error.value.fix.startswith("one of: ")


def test_objects_without_the_tasks_geometry_are_refused_in_one_line(tmp_path: Path) -> None:
    project = make_project(tmp_path, "instance-segmentation")
    source = _coco(tmp_path / "in", [BOX])
    with pytest.raises(FormatError) as error:
        take(project, "coco", source)
    assert str(error.value) == (
        f"{source} has no masks for instance-segmentation: "
        "1 images left out, as none of their labels can be carried: a.png; "
        "1 objects without a segmentation: a.png"
    )


def test_an_image_whose_labels_are_all_lost_is_not_taken_for_empty(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX, {"image_id": 1, "bbox": [5, 5, 0, 9]}], names="abc")
    assert take(project, "coco", source) == [
        "1 boxes without an area: b.png",
        "1 images left out, as none of their labels can be carried: b.png",
        UNUSED,
    ]
    assert {path: s.state for path, s in labels(project).items()} == {
        "a.png": "reviewed",
        "c.png": "reviewed",
    }


@pytest.mark.parametrize(
    ("name", "path", "problem"),
    [
        ("coco", "in", "{0}/in is a folder -> workflow import coco FILE"),
        ("voc", "in/instances.json", "{0}/in/instances.json is a file -> workflow import voc FOLDER"),
        ("coco", "x.json", "{0}/x.json does not exist"),
    ],
)
def test_a_source_lies_in_what_its_format_does(name: str, path: str, problem: str, tmp_path: Path) -> None:
    _coco(tmp_path / "in", [BOX])
    with pytest.raises(StageError) as error:
        take(make_project(tmp_path), name, tmp_path / path)
    assert str(error.value) == problem.format(tmp_path)


def test_no_path_of_a_source_is_trusted(tmp_path: Path) -> None:
    draw(tmp_path / "secret.png")
    source = _coco(tmp_path / "in", [BOX])
    names = ("../secret.png", str(tmp_path / "secret.png"), "x\\..\\..\\secret.png", "C:\\secret.png")
    for number, name in enumerate(names):
        content = json.loads(source.read_text())
        content["images"][0]["file_name"] = name
        source.write_text(json.dumps(content))
        project = make_project(tmp_path / f"{number}")
        assert take(project, "coco", source)[0] == f"1 images that are not there: {name}"
        assert [p for p, sample in labels(project).items() if sample.state == "reviewed"] == ["b.png"]
        assert not list(project.images.rglob("*secret*"))


def test_an_image_in_another_folder_than_stated_is_not_there(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    (tmp_path / "in" / "day2").mkdir()
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "day2" / "1.png")
    draw(project.images / "2023" / "b.png", 50)
    (tmp_path / "in" / "b.png").unlink()
    source.write_text(source.read_text().replace("a.png", "day1/1.png").replace("b.png", "2024/b.png"))
    with pytest.raises(FormatError) as error:
        take(project, "coco", source)
    assert str(error.value) == (
        f"{source} labels no image that is here: 2 images that are not there: day1/1.png, 2024/b.png; "
        "2 images that may lie in other folders than the source says (--match name takes them): "
        "day1/1.png is no day2/1.png, 2024/b.png is no 2023/b.png -> --images DIR"
    )
    lines = take(project, "coco", source, options=Options(by_name=True))
    assert lines[:2] == [
        "2 images found by their names alone, not where the source says: day2/1.png, 2023/b.png",
        "1 images of another size than the source says (40x30): 2023/b.png",
    ]
    assert [a.box for a in labels(project)["day2/1.png"].annotations] == [(1, 2, 11, 22)]


def test_a_name_that_two_images_have_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    (tmp_path / "in" / "a.png").unlink()
    draw(tmp_path / "in" / "x" / "a.png")
    draw(tmp_path / "in" / "y" / "a.png", 50)
    with pytest.raises(FormatError, match="'a.png' may be x/a.png or y/a.png"):
        take(project, "coco", source)


def test_images_that_are_missing_broken_or_of_another_size_are_counted(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX | {"image_id": n} for n in range(4)], names="abcd")
    (tmp_path / "in" / "a.png").unlink()
    draw(tmp_path / "in" / "b.png", 80, 60)
    (tmp_path / "in" / "c.png").write_bytes((tmp_path / "in" / "c.png").read_bytes()[:900])
    assert take(project, "coco", source) == [
        "1 images of another size than the source says (40x30): b.png",
        "1 images that are not there: a.png",
        "1 images that cannot be read: see quarantine.jsonl: c.png",
        UNUSED,
    ]
    assert [p for p, sample in labels(project).items() if sample.state == "reviewed"] == ["d.png"]


def test_a_source_without_any_image_says_where_to_look(tmp_path: Path) -> None:
    source = _coco(tmp_path / "in", [BOX])
    for path in (tmp_path / "in").glob("*.png"):
        path.unlink()
    with pytest.raises(FormatError) as error:
        take(make_project(tmp_path), "coco", source)
    assert str(error.value) == (
        f"{source} labels no image that is here: 2 images that are not there: a.png, b.png -> --images DIR"
    )


def test_one_image_labeled_in_two_ways_is_counted(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    shutil.copy(tmp_path / "in" / "a.png", tmp_path / "in" / "b.png")
    assert take(project, "coco", source)[0] == "1 images labeled twice, in two ways (the first counts): b.png"
    assert len(labels(project)["a.png"].annotations) == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_stored_pixels_are_turned_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX])
    (tmp_path / "in" / "a.png").unlink()
    draw(tmp_path / "in" / f"a.{suffix}", orientation=orientation)
    source.write_text(source.read_text().replace("a.png", f"a.{suffix}"))
    lines = take(project, "coco", source)
    assert f"1 images labeled as stored, their labels now upright as EXIF says: a.{suffix}" in lines
    expected = {5: (2, 1, 22, 11), 6: (8, 1, 28, 11), 7: (8, 29, 28, 39), 8: (2, 29, 22, 39)}
    sample = labels(project)[f"a.{suffix}"]
    assert sample.annotations[0].box == expected[orientation]


def test_labels_of_upright_pixels_stay(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    draw(tmp_path / "in" / "a.png", orientation=6)
    draw(tmp_path / "in" / "b.png", 30, 40, orientation=3)
    source = _coco(tmp_path / "in", [BOX, BOX | {"image_id": 1}], size=(30, 40))
    assert take(project, "coco", source)[0] == (
        "1 images that EXIF turns or mirrors, taken as labeled upright: b.png"
    )
    assert [labels(project)[f"{name}.png"].annotations[0].box for name in "ab"] == [(1, 2, 11, 22)] * 2


@given(st.sampled_from([5, 6, 7, 8]), st.floats(0, 360), st.tuples(*[st.floats(1, 30)] * 2))
def test_every_geometry_turns_alike(orientation: int, angle: float, size: tuple[float, float]) -> None:
    def move(points: object) -> list[tuple[float, float]]:
        return [MOVES[orientation](x, y, 40, 30) for x, y in np.asarray(points).tolist()]

    box = RotatedBox(20, 15, *size, angle)
    turned = upright(Annotation("a", ME, rotated_box=box), orientation, 40, 30).rotated_box
    assert turned is not None
    # Mirrored, the same four corners come the other way round.
    found = {tuple(round(n, 6) for n in corner) for corner in rotated_corners(turned).tolist()}
    moved = [tuple(round(n, 6) for n in corner) for corner in move(rotated_corners(box))]
    assert all(any(np.allclose(corner, other, atol=1e-5) for other in found) for corner in moved)
    pixels = np.zeros((30, 40), dtype=bool)
    pixels[3:7, 5:20] = True
    mask = upright(Annotation("a", ME, mask=masks.encode(pixels)), orientation, 40, 30)
    assert mask.mask is not None
    as_box = upright(Annotation("a", ME, box=(5, 3, 20, 7)), orientation, 40, 30)
    assert masks.box(mask.mask) == as_box.box
    assert TURNS[orientation](pixels).shape == (40, 30)
    corners = ((5.0, 3.0), (20.0, 3.0), (20.0, 7.0))
    outline = upright(Annotation("a", ME, polygons=(corners,)), orientation, 40, 30)
    assert outline.polygons == (tuple(move(corners)),)
    point = upright(Annotation("a", ME, keypoints=(corners[0],)), orientation, 40, 30)
    assert point.keypoints == tuple(move(corners[:1]))


def _exported(project: Project, root: Path) -> Path:
    export.run(project, "voc", root / "voc")
    return root / "voc"


def test_export_is_whole_or_not_at_all(tmp_path: Path) -> None:
    project = review_by_truth(draw_project(tmp_path, "detection", count=4))
    out = _exported(project, tmp_path)
    with pytest.raises(StageError) as error:
        export.run(project, "voc", out)
    assert str(error.value) == f"{out} exists -> name another, or --force, which moves it aside"
    before = sorted(p.name for p in out.rglob("*"))
    broken = next(iter(read_catalog(project.catalog))).path
    (project.images / broken).rename(tmp_path / "gone.png")
    with pytest.raises(StageError, match="is gone, but is labeled"):
        export.run(project, "voc", out, force=True)
    assert sorted(p.name for p in out.rglob("*")) == before
    (tmp_path / "gone.png").rename(project.images / broken)
    (out / "notes.txt").write_text("of mine")
    outcome, _ = export.run(project, "voc", out, force=True)
    assert sorted(p.name for p in out.rglob("*")) == before
    (aside,) = tmp_path.glob("voc.20*")
    assert outcome.did.endswith(f"as voc to {out}; what was there is now {aside}")
    assert (aside / "notes.txt").read_text() == "of mine"
    assert not list(tmp_path.glob(".voc*"))


def test_export_never_replaces_the_project(tmp_path: Path) -> None:
    project = review_by_truth(draw_project(tmp_path, "detection", count=4))
    for target in (project.folder, project.images, tmp_path):
        with pytest.raises(StageError, match="belongs to the project"):
            export.run(project, "voc", target, force=True)


def test_images_of_which_readers_may_see_other_pixels_are_told(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for name in ("a.tiff", "b.png"):
        draw(project.images / name)
    catalog.run(project)
    box = Annotation("cat", ME, box=(1, 2, 11, 22))
    samples = [Sample(r.id, "reviewed", (box,)) for r in read_catalog(project.catalog)]
    write_rows(project.labels, map(sample_to_row, samples))
    _, lines = export.run(project, "voc", tmp_path / "voc")
    assert lines == [
        "1 images were labeled by a copy, as no browser shows them: "
        "readers may see other pixels (copies.jsonl)"
    ]


def test_export_of_one_split(tmp_path: Path) -> None:
    project = review_by_truth(draw_project(tmp_path, "detection"))
    wanted = [r.path for r in read_catalog(project.catalog) if r.split == "train"]
    export.run(project, "coco", tmp_path / "train.json", split="train")
    content = json.loads((tmp_path / "train.json").read_text())
    assert [image["file_name"] for image in content["images"]] == wanted


def test_export_needs_labels_and_known_predictions(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "detection", count=4)
    review_by_truth(project)
    with pytest.raises(StageError) as error:
        export.run(project, "coco", tmp_path / "x.json", predictions="yolo")
    assert str(error.value) == "no predictions 'yolo' -> one of: none yet"
    project.labels.unlink()
    with pytest.raises(StageError) as error:
        export.run(project, "coco", tmp_path / "x.json")
    assert str(error.value) == "no image has labels to export -> workflow pull, or workflow import"


def test_names_that_differ_in_their_suffix_get_label_files_of_their_own(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX | {"image_id": n} for n in range(2)])
    (tmp_path / "in" / "b.png").unlink()
    draw(tmp_path / "in" / "a.jpg")
    source.write_text(source.read_text().replace("b.png", "a.jpg"))
    take(project, "coco", source)
    for name in ("voc", "yolo", "labelme"):
        export.run(project, name, tmp_path / name)
        other = make_project(tmp_path / f"from {name}")
        take(other, name, tmp_path / name)
        found = [s for s in labels(other).values() if s.state == "reviewed"]
        assert [len(s.annotations) for s in found] == [1, 1]


def test_the_command_line_says_what_was_not_carried(tmp_path: Path) -> None:
    make_project(tmp_path)
    _coco(tmp_path / "in", [BOX, {"bbox": [0, 0, 0, 5]}])
    command = [sys.executable, "-m", "workflow"]
    done = subprocess.run(
        [*command, "import", "coco", "in/instances.json", "pets"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("import: 2 images (1 boxes, 1 empty), 2 images copied; in ")
    assert lines[1:] == ["  1 boxes without an area: a.png", f"  {UNUSED}"]
    done = subprocess.run(
        [*command, "export", "masks", "out", "pets"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: masks cannot hold the labels of detection "
        "-> one of: coco, cvat, label-studio, labelme, voc, yolo\n"
    )


@pytest.mark.services
def test_imported_labels_live_until_a_person_decides(tmp_path: Path, client: Client) -> None:
    project = make_project(tmp_path)
    source = _coco(tmp_path / "in", [BOX | {"image_id": n} for n in range(3)], names="abc")
    take(project, "coco", source)
    before = project.labels.read_bytes()
    push.run(project, LabelStudio(client, str(serve(project))))
    for full in (False, True, False):
        pull.run(project, LabelStudio(client), full)
        assert project.labels.read_bytes() == before
    by_path = {r.path: r.id for r in read_catalog(project.catalog)}
    tasks = pushed_tasks(project)
    client.annotate(tasks[by_path["a.png"]], {"result": [], "lead_time": 1.0})
    client.annotate(tasks[by_path["b.png"]], {"result": [], "was_cancelled": True, "lead_time": 1.0})
    for full in (False, True):
        pull.run(project, LabelStudio(client), full)
        found = labels(project)
        assert {path: s.state for path, s in found.items()} == {
            "a.png": "reviewed",
            "b.png": "skipped",
            "c.png": "reviewed",
        }
        assert found["a.png"].annotations == ()
        assert [a.box for a in found["c.png"].annotations] == [(1, 2, 11, 22)]
    assert "1 images (1 boxes, 0 empty), 2 left as people" in import_.run(project, "coco", source).outcome.did
    assert labels(project) == found


def test_the_document_has_every_format_with_its_tasks() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    rows = [line.split(" | ") for line in text.split("## Import")[0].splitlines() if line.startswith("| `")]
    told = {row[0].strip("| `"): set(row[2].rstrip(" |").split(", ")) for row in rows}
    assert told == {name: set(row.tasks) for name, row in FORMATS.items()}

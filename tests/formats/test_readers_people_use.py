"""Each export, loaded by the readers people use, holds just the labels that are in the project.

Images lie in folders of every name that has led a reader astray (`images`, `train`, two of one name), one is
turned by EXIF, one is empty. What a reader sees is compared with the truth, not only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import readers
from tests.foreign import nested, truth_by_name
from tests.samples import CLASSES, HEIGHT, KEYPOINTS, WIDTH
from workflow.commands import export
from workflow.models.ultralytics import start_worker
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_samples
from workflow.records import SPLITS, Annotation
from workflow.shapes import masks, overlap
from workflow.shapes.geometry import rotated_corners
from workflow.stages import dataset
from workflow.tasks import TaskName

SIZE = np.array([WIDTH, HEIGHT])


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """`make(task)`: see `tests.foreign.nested`."""
    return lambda task: nested(tmp_path, task)


# ultralytics

YOLOS: dict[TaskName, str] = {
    "classification": "yolo11-cls",
    "detection": "yolo11",
    "instance-segmentation": "yolo11-seg",
    "oriented-detection": "yolo11-obb",
    "keypoints": "yolo11-pose",
}


Objects = list[list[float]]


def _yolo_objects(annotations: Sequence[Annotation], task: TaskName, names: dict[int, str]) -> Objects:
    """What ultralytics must see of an image's objects: class number, and numbers in shares."""
    numbers = {name: number for number, name in names.items()}
    objects = []
    for a in annotations:
        if a.keypoints is not None:
            continue
        one: list[float] = [numbers[a.label]]
        if task == "oriented-detection":
            box = rotated_corners(a.rotated_box) if a.rotated_box else _corners(overlap.as_box(a))
            one += (box / SIZE).reshape(-1).tolist()
        elif task in ("detection", "keypoints"):
            x1, y1, x2, y2 = np.array(a.box) / np.tile(SIZE, 2)
            one += [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
        points = {p.label: p.keypoints[0] for p in annotations if p.keypoints and p.parent == a.id}
        for name in KEYPOINTS if task == "keypoints" else ():
            one += [*(np.array(points[name]) / SIZE), 2] if name in points else [0, 0, 0]
        objects.append(one)
    return objects


def _corners(box: Any) -> Any:
    x1, y1, x2, y2 = box
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "split"),
    [*((task, None) for task in YOLOS), ("detection", "train"), ("classification", "train")],
)
def test_ultralytics_trains_on_every_label(task: TaskName, split: Any, make: Any, tmp_path: Path) -> None:
    project = make(task)
    out = tmp_path / "out"
    _, lines = export.run(project, "yolo", out, split=split)
    stands_in = "no image is in val, which ultralytics needs: train stands in for it"
    assert (stands_in in lines) == (split == "train")
    data = out if task == "classification" else out / "data.yaml"
    points = len(project.settings.keypoints)
    with start_worker(tmp_path / "log") as worker:
        seen = worker.call(readers.train_one_epoch, YOLOS[task], str(data), str(tmp_path), points)
    assert seen["finished"]
    assert sorted(seen["names"].values()) == sorted(CLASSES)
    for side, name in (("train", "train"), ("val", "train" if split else "validation")):
        truth = truth_by_name(project, out, name)
        assert seen[side].keys() == truth.keys()
        for image, annotations in truth.items():
            _compare(seen[side][image], annotations, task, seen["names"])


def _compare(objects: Any, annotations: Sequence[Annotation], task: TaskName, names: dict[int, str]) -> None:
    if task == "instance-segmentation":
        # The outlines of masks: what they enclose is compared in the tests of the format.
        assert [names[int(one[0])] for one in objects] == [a.label for a in annotations]
        for one, a in zip(objects, annotations, strict=True):
            outline = np.array(one[1:]).reshape(-1, 2) * SIZE
            assert [*outline.min(axis=0), *outline.max(axis=0)] == pytest.approx(masks.box(a.mask), abs=1e-3)
        return
    if task == "classification":
        wanted: Objects = [[number] for number, name in names.items() if name == annotations[0].label]
    else:
        wanted = _yolo_objects(annotations, task, names)
    assert np.array(objects) == pytest.approx(np.array(wanted), abs=1e-5)


# COCO


def _coco(make: Any, tmp_path: Path, task: TaskName) -> tuple[Project, Any]:
    from pycocotools.coco import COCO

    project = make(task)
    export.run(project, "coco", tmp_path / "coco.json")
    return project, COCO(str(tmp_path / "coco.json"))


def _truth(project: Project) -> dict[str, Sequence[Annotation]]:
    """By the path in the project."""
    samples = read_samples(project.labels)
    return {r.path: samples[r.id].annotations for r in read_catalog(project.catalog)}


@pytest.mark.parametrize("task", ["detection", "instance-segmentation", "semantic-segmentation", "keypoints"])
def test_pycocotools_sees_every_object(task: TaskName, make: Any, tmp_path: Path) -> None:
    from pycocotools.cocoeval import COCOeval

    project, coco = _coco(make, tmp_path, task)
    truth = _truth(project)
    assert {image["file_name"] for image in coco.imgs.values()} == truth.keys()
    for number, image in coco.imgs.items():
        annotations = [a for a in truth[image["file_name"]] if not a.keypoints]
        rows = coco.loadAnns(coco.getAnnIds(number))
        assert [coco.cats[row["category_id"]]["name"] for row in rows] == [a.label for a in annotations]
        for row, a in zip(rows, annotations, strict=True):
            x1, y1, x2, y2 = overlap.as_box(a) or ()
            assert row["bbox"] == [x1, y1, x2 - x1, y2 - y1]
            if a.mask:
                assert (coco.annToMask(row).astype(bool) == masks.decode(a.mask)).all()
    # Whoever says just what is true is right.
    kind = {"detection": "bbox", "keypoints": "keypoints"}.get(task, "segm")
    keys = ("image_id", "category_id", "bbox", "segmentation", "keypoints")
    rows = [{key: row[key] for key in keys if row.get(key)} | {"score": 0.9} for row in coco.anns.values()]
    judge = COCOeval(coco, coco.loadRes(rows), kind)
    if kind == "keypoints":
        judge.params.kpt_oks_sigmas = np.full(len(KEYPOINTS), 1 / len(KEYPOINTS))
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert judge.stats[0] == pytest.approx(1)


def test_torchvision_reads_coco(make: Any, tmp_path: Path) -> None:
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2

    project, coco = _coco(make, tmp_path, "instance-segmentation")
    data = wrap_dataset_for_transforms_v2(
        CocoDetection(str(project.images), str(tmp_path / "coco.json")),
        target_keys=("boxes", "masks", "labels", "image_id"),
    )
    truth = _truth(project)
    assert len(data) == len(truth)
    for _, target in data:
        annotations = truth[coco.imgs[target["image_id"]]["file_name"]]
        assert [coco.cats[int(n)]["name"] for n in target.get("labels", ())] == [a.label for a in annotations]
        for box, mask, a in zip(target.get("boxes", ()), target.get("masks", ()), annotations, strict=True):
            assert tuple(box.tolist()) == masks.box(a.mask)
            assert (mask.numpy().astype(bool) == masks.decode(a.mask)).all()


# supervision


@pytest.mark.parametrize("name", ["coco", "yolo", "voc"])
def test_supervision_reads_boxes(name: str, make: Any, tmp_path: Path) -> None:
    import supervision

    project = make("detection")
    out = tmp_path / "out"
    export.run(project, name, out)
    load = supervision.DetectionDataset
    if name == "coco":
        parts, truth = [load.from_coco(str(project.images), str(out))], _truth(project)
    elif name == "voc":
        parts = [load.from_pascal_voc(str(out / "JPEGImages"), str(out / "Annotations"))]
        truth = truth_by_name(project, out)
    else:
        folders = [(str(out / "images" / s), str(out / "labels" / s)) for s in ("train", "val", "test")]
        parts = [load.from_yolo(*both, str(out / "data.yaml")) for both in folders]
        truth = truth_by_name(project, out)
    seen = {path: (found, part.classes) for part in parts for path, _, found in part}
    assert len(seen) == len(truth) == 12
    for path, (found, classes) in seen.items():
        key = str(Path(path).relative_to(project.images)) if name == "coco" else Path(path).name
        assert [classes[n] for n in found.class_id] == [a.label for a in truth[key]]
        boxes = np.array([a.box for a in truth[key]]).reshape(-1, 4)
        # Its reader of VOC takes the first pixel for number 1, as the devkit did and hardly any tool does.
        boxes[:, :2] -= name == "voc"
        assert found.xyxy == pytest.approx(boxes, abs=1e-3)


def test_supervision_reads_masks_and_turned_boxes_of_yolo(make: Any, tmp_path: Path) -> None:
    import supervision

    for task in ("instance-segmentation", "oriented-detection"):
        project = make(task)
        out = tmp_path / f"out-{task}"
        export.run(project, "yolo", out, split="train")
        found = supervision.DetectionDataset.from_yolo(
            str(out / "images" / "train"),
            str(out / "labels" / "train"),
            str(out / "data.yaml"),
            force_masks=task == "instance-segmentation",
            is_obb=task == "oriented-detection",
        )
        truth = truth_by_name(project, out)
        assert {Path(path).name for path, _, _ in found} == truth.keys()
        for path, _, objects in found:
            annotations = truth[Path(path).name]
            assert [found.classes[n] for n in objects.class_id] == [a.label for a in annotations]


def test_supervision_reads_folders_of_classes(make: Any, tmp_path: Path) -> None:
    import supervision

    project = make("classification")
    export.run(project, "folder", tmp_path / "out")
    data = supervision.ClassificationDataset.from_folder_structure(str(tmp_path / "out" / "train"))
    truth = truth_by_name(project, tmp_path / "out", "train")
    assert {Path(path).name: data.classes[found.class_id[0]] for path, _, found in data} == {
        name: annotations[0].label for name, annotations in truth.items()
    }


# Hugging Face and torchvision


def test_hugging_face_and_torchvision_read_folders_of_classes(make: Any, tmp_path: Path) -> None:
    from datasets import load_dataset
    from torchvision.datasets import ImageFolder

    project = make("classification")
    out = tmp_path / "out"
    export.run(project, "folder", out)
    loaded = load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == set(SPLITS)
    for split, rows in loaded.items():
        names = rows.features["label"].names
        assert names == sorted(CLASSES)
        found = sorted(names[row["label"]] for row in rows)
        truth = truth_by_name(project, out, split)
        assert found == sorted(annotations[0].label for annotations in truth.values())
        folder = ImageFolder(str(out / split), allow_empty=True)
        assert {Path(path).name: folder.classes[n] for path, n in folder.samples} == {
            name: annotations[0].label for name, annotations in truth.items()
        }


def test_hugging_faces_object_detection_example_takes_the_dataset(make: Any, tmp_path: Path) -> None:
    """Its `formatted_anns`, and an image processor: https://huggingface.co/docs/transformers/tasks/object_detection"""
    from datasets import load_dataset
    from transformers import DetrImageProcessor

    project = make("detection")
    dataset.run(project)
    processor = DetrImageProcessor(do_resize=False, do_pad=False)
    truth = {r.id: read_samples(project.labels)[r.id].annotations for r in read_catalog(project.catalog)}
    for rows in load_dataset(str(project.dataset), cache_dir=str(tmp_path / "cache")).values():
        for row in rows:
            objects = row["objects"]
            annotations = [
                {"image_id": row["image_id"], "category_id": c, "iscrowd": 0, "area": a, "bbox": b}
                for c, a, b in zip(objects["category"], objects["area"], objects["bbox"], strict=True)
            ]
            target = {"image_id": row["image_id"], "annotations": annotations}
            made = processor(images=row["image"].convert("RGB"), annotations=target, return_tensors="pt")  # type: ignore[call-arg]
            (labels,) = made["labels"]
            assert labels["image_id"].tolist() == [row["image_id"]]
            assert [CLASSES[n] for n in labels["class_labels"]] == [a.label for a in truth[row["hash"]]]
            boxes = np.array([a.box for a in truth[row["hash"]]]).reshape(-1, 4)
            centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            found = labels["boxes"].numpy().reshape(-1, 4) * np.tile(SIZE, 2)
            assert found == pytest.approx(np.hstack([centres, sizes]), abs=1e-3)

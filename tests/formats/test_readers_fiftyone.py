"""Exports, loaded by FiftyOne's own importers into a real database."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import readers
from tests.foreign import nested, truth_by_name
from tests.samples import CLASSES, HEIGHT, WIDTH
from workflow import services
from workflow.commands import export
from workflow.project.rows import read_catalog, read_samples
from workflow.records import Annotation
from workflow.services.mongod import fetch_mongod
from workflow.shapes import masks, overlap
from workflow.tasks import TaskName

pytestmark = pytest.mark.services

FETCHED = Path(__file__).parents[2] / ".workflow" / "bin" / "mongod"


@pytest.fixture(scope="module")
def load(tmp_path_factory: Any) -> Any:
    """`load(kind, how)`: the labels by the image's name, read in a process of its own."""
    state = tmp_path_factory.mktemp("state")
    if FETCHED.is_file():
        (state / "bin").mkdir()
        (state / "bin" / "mongod").symlink_to(FETCHED)
    else:
        fetch_mongod(state)
    services.up(state, names=("mongod",), report=lambda _: None)
    environment = services.fiftyone_environment(state)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda kind, how: pool.submit(
            readers.import_into_fiftyone, environment, kind, {k: str(v) for k, v in how.items()}
        ).result(timeout=300)
    services.down(state, report=lambda _: None)


HOW: dict[str, tuple[TaskName, str, Callable[[Path, Path], dict[str, Path | str]]]] = {
    "coco": (
        "detection",
        "COCODetectionDataset",
        lambda out, images: {"data_path": images, "labels_path": out, "label_types": "detections"},
    ),
    "yolo": (
        "detection",
        "YOLOv5Dataset",
        lambda out, images: {"dataset_dir": out, "yaml_path": out / "data.yaml", "split": "train"},
    ),
    "voc": (
        "detection",
        "VOCDetectionDataset",
        lambda out, images: {"data_path": out / "JPEGImages", "labels_path": out / "Annotations"},
    ),
    "cvat": (
        "detection",
        "CVATImageDataset",
        lambda out, images: {"data_path": images, "labels_path": out},
    ),
    "folder": (
        "classification",
        "ImageClassificationDirectoryTree",
        lambda out, images: {"dataset_dir": out / "train"},
    ),
    "masks": (
        "semantic-segmentation",
        "ImageSegmentationDirectory",
        lambda out, images: {"data_path": out / "images", "labels_path": out / "masks"},
    ),
}


@pytest.mark.parametrize("name", HOW)
def test_fiftyone_reads(name: str, load: Any, tmp_path: Path) -> None:
    task, kind, how = HOW[name]
    project = nested(tmp_path, task)
    out = tmp_path / "out"
    export.run(project, name, out)
    seen = load(kind, how(out, project.images))
    if name in ("coco", "cvat"):
        samples = read_samples(project.labels)
        truth = {r.path: samples[r.id].annotations for r in read_catalog(project.catalog)}
    else:
        truth = truth_by_name(project, out, "train" if name in ("yolo", "folder") else "")
    assert seen.keys() == truth.keys()
    for image, annotations in truth.items():
        if task == "classification":
            assert seen[image] == [(annotations[0].label, None)]
        elif task == "semantic-segmentation":
            ((_, pixels),) = seen[image]
            assert (pixels == _painted(annotations)).all()
        else:
            # Its readers of VOC and CVAT round edges to whole pixels.
            assert seen[image] == _boxes(annotations, 1 / HEIGHT if name in ("voc", "cvat") else 1e-5)


def _boxes(annotations: Sequence[Annotation], slack: float) -> list[tuple[str, Any]]:
    boxes = []
    for a in annotations:
        x1, y1, x2, y2 = overlap.as_box(a) or ()
        shares = [x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]
        boxes.append((a.label, pytest.approx(shares, abs=slack)))
    return boxes


def _painted(annotations: Sequence[Annotation]) -> Any:
    painted = np.zeros((HEIGHT, WIDTH), dtype=int)
    for a in annotations:
        painted[masks.decode(a.mask)] = CLASSES.index(a.label) + 1
    return painted

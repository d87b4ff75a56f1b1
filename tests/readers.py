"""What other people's readers make of an export, in a process of their own: ultralytics, FiftyOne."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SIDE = 64


def train_one_epoch(kind: str, data: str, folder: str, points: int) -> dict[str, Any]:
    """Train a tiny YOLO of the `kind` of one of ultralytics' model files for an epoch on an export's `data`.

    What it saw: `names` by class number, and for each split, `train` and `val`, the objects of each image
    as (class number, *numbers), the numbers being the box, or the whole outline, in shares.
    """
    from ultralytics import YOLO
    from ultralytics.nn.tasks import yaml_model_load
    from ultralytics.utils import YAML

    plan = yaml_model_load(f"{kind}.yaml") | {"scales": {"n": [0.33, 0.125, 512]}, "scale": "n"}
    plan |= {"kpt_shape": [points, 3]} if points else {}
    yaml = Path(folder) / f"{kind}n.yaml"
    YAML.save(yaml, plan)
    model: Any = YOLO(yaml, verbose=False)
    settings = {"imgsz": SIDE, "epochs": 1, "batch": 4, "workers": 0, "device": "cpu", "amp": False}
    model.train(data=data, project=folder, name="run", plots=False, verbose=False, **settings)
    trainer = model.trainer
    loaders = {"train": trainer.train_loader, "val": trainer.test_loader}
    seen = {split: _seen(loader.dataset, kind) for split, loader in loaders.items()}
    return {
        "names": trainer.data["names"],
        "finished": Path(folder, "run", "weights", "last.pt").exists(),
        **seen,
    }


def _seen(dataset: Any, kind: str) -> dict[str, list[list[float]]]:
    if kind.endswith("cls"):
        return {Path(sample[0]).name: [[sample[1]]] for sample in dataset.samples}
    seen = {}
    for label in dataset.labels:
        shapes = label["segments"] if kind.endswith(("seg", "obb")) else label["bboxes"]
        objects = [
            [float(number), *(float(n) for n in shape.reshape(-1))]
            for number, shape in zip(label["cls"].reshape(-1), shapes, strict=True)
        ]
        for one, points in zip(objects, label["keypoints"] if kind.endswith("pose") else (), strict=False):
            one += [float(n) for n in points.reshape(-1)]
        seen[Path(label["im_file"]).name] = objects
    return seen


Labels = dict[str, list[tuple[str, Any]]]


def import_into_fiftyone(environment: dict[str, str], kind: str, how: dict[str, str]) -> Labels:
    """The labels of each image that `Dataset.from_dir` reads: a class and its numbers, or pixels.

    `kind` is the dataset's type. Images go by their files' names, or, below a `data_path` with folders, by
    their path there.
    """
    os.environ.update(environment)
    import fiftyone

    found = fiftyone.Dataset.from_dir(
        dataset_type=getattr(fiftyone.types, kind), progress=False, include_all_data=True, **how
    )
    labels: Labels = {}
    for sample in found:
        own = labels.setdefault(_name(sample.filepath, how.get("data_path", "")), [])
        for name in found.get_field_schema():
            own += _labels_in(sample[name])
    return labels


def _name(path: str, folder: str) -> str:
    image = Path(path)
    return image.relative_to(folder).as_posix() if folder else image.name


def _labels_in(value: Any) -> list[tuple[str, Any]]:
    kind = type(value).__name__
    if kind == "Classification":
        return [(value.label, None)]
    if kind == "Segmentation":
        return [("", value.get_mask())]
    return [(one.label, list(one.bounding_box)) for one in value.detections] if kind == "Detections" else []

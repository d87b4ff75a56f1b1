"""YOLO detectors through ultralytics (AGPL-3.0), in a process of their own.

The library replaces `PIL.Image.open`, pins torch's threads, installs packages by itself and unpickles
code; `workflow.worker` keeps all that out of our process, and the environment below switches it off.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import ModelError
from workflow.models import Guesses, Pixels, fetched_folder
from workflow.models.boxes import clip_rows, known_labels, to_guesses
from workflow.models.device import pick_device
from workflow.records import Provenance
from workflow.store import digest, file_digest
from workflow.worker import Worker

# Read at import, so they are set before it: no network, no self-installed packages, no code in
# checkpoints, and threads that sleep while they wait (spinning ones are 12 times slower when shared).
ENVIRONMENT = {
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "0",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "WANDB_MODE": "disabled",
}


LOCAL = "put a .pt file into the project folder and name it, as in ultralytics:base/weights.pt"


class Ultralytics:
    """A YOLO detection checkpoint (.pt) as an Annotator."""

    def __init__(
        self,
        spec: str,
        checkpoint: Path | str,
        *,
        threshold: float,
        image_size: int,
        class_map: dict[str, str],
        one_label_a_place: bool,
        device: str,
        log: Path,
    ) -> None:
        if not isinstance(checkpoint, Path):
            raise ModelError(f"model {spec!r}: {checkpoint} is not on this machine", LOCAL)
        settings = [file_digest(checkpoint), threshold, image_size, class_map, one_label_a_place]
        self.name = spec
        self.revision = digest(settings)
        self._threshold = threshold
        self._image_size = image_size
        self._class_map = class_map
        self._agnostic = one_label_a_place
        self._worker = start_worker(log)
        self._own_names: dict[int, str] = self._worker.call(_open, str(checkpoint), device)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._class_map.get(n, n) for n in self._own_names.values()))

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = known_labels(self.name, self._own_names, self._class_map, classes)
        found = self._worker.call(_predict, list(images), self._arguments(labels))
        provenance = Provenance("model", self.name, self.revision)
        return [to_guesses(rows, labels, provenance) for rows in found]

    def close(self) -> None:
        self._worker.close()

    def _arguments(self, labels: dict[int, str]) -> dict[str, Any]:
        """ultralytics' predict() arguments."""
        return {
            "conf": self._threshold,
            "imgsz": self._image_size,
            "classes": sorted(labels),
            "agnostic_nms": self._agnostic,
        }


def on_this_machine() -> list[str]:
    """The checkpoints that were fetched by name."""
    return sorted(p.name for p in fetched_folder().glob("*.pt"))


def fetch(name: str, folder: Path) -> None:
    """Fetch one of ultralytics' own checkpoints, such as yolo11n.pt, into `folder`, or raise ModelError."""
    if not re.fullmatch(r"[\w.-]+\.pt", name):
        raise ModelError(f"{name} is not on this machine, and no name of ultralytics' either", LOCAL)
    print(f"fetching {name} from ultralytics, once")
    folder.mkdir(parents=True, exist_ok=True)
    with start_worker(folder / "fetch.log") as worker:
        try:
            worker.call(_fetch, name, str(folder))
        except ModelError:
            what = f"{name} is not on this machine, and cannot be fetched from ultralytics"
            raise ModelError(f"{what} (unknown there, or no network)", LOCAL) from None


def start_worker(log: Path) -> Worker:
    """A child process in which ultralytics may be imported. ModelError where it is not installed."""
    if find_spec("ultralytics") is None:
        raise ModelError(
            "ultralytics is not installed (it is AGPL-3.0, so optional)", "pip install ultralytics"
        )
    return Worker(log, ENVIRONMENT | {"YOLO_CONFIG_DIR": str(_config_folder())})


def _config_folder() -> Path:
    """A settings folder of our own that holds a font, which ultralytics would else download."""
    import matplotlib

    folder = fetched_folder().parent / "ultralytics"
    font = folder / "Ultralytics" / "Arial.ttf"
    if not font.exists():
        font.parent.mkdir(parents=True, exist_ok=True)
        source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
        partial = font.with_name(f"{os.getpid()}.partial")
        shutil.copyfile(source, partial)
        partial.replace(font)
    return folder


# Below: run in the child process.

_model: Any = None
_device: str = "cpu"


def _fetch(name: str, folder: str) -> None:
    from ultralytics.utils.downloads import attempt_download_asset

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        got = Path(attempt_download_asset(Path(scratch) / name))
        got.replace(Path(folder) / name)


def _open(checkpoint: str, device: str) -> dict[int, str]:
    global _model, _device
    import torch
    from ultralytics import YOLO

    _device = pick_device(device)
    _model = YOLO(checkpoint, verbose=False)
    if _device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
    return dict(_model.names)


def _predict(images: list[Pixels], arguments: dict[str, Any]) -> list[np.ndarray]:
    """Rows of x1, y1, x2, y2, score, class for each image, clipped to it, best first."""
    found: list[np.ndarray] = [np.empty((0, 6))] * len(images)
    # One call a shape: in a mixed batch ultralytics' letterboxing would depend on the neighbours.
    for shape in {image.shape for image in images}:
        alike = [number for number, image in enumerate(images) if image.shape == shape]
        bgr = [np.ascontiguousarray(images[number][:, :, ::-1]) for number in alike]
        results = _model.predict(bgr, device=_device, rect=True, verbose=False, **arguments)
        for number, result in zip(alike, results, strict=True):
            found[number] = clip_rows(result.boxes.data.cpu().numpy(), *shape[:2])
    return found

"""Transfer learning of YOLO detectors through ultralytics, in a process of its own.

ultralytics rewrites the JPEGs it trains on and caches beside them, so it gets copies in scratch. A
stopped training goes on from its last epoch; one that finished is never resumed, because
ultralytics would then start a new training with its own defaults.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.formats import yolo
from workflow.models.device import pick_device
from workflow.models.ultralytics import start_worker
from workflow.records import Annotation
from workflow.store import write_bytes

Epoch = dict[str, float]
Rows = Iterable[tuple[dict[str, Any], list[Annotation]]]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what training learns; written into the run."""

    epochs: int
    batch: int
    image_size: int
    learning_rate: float
    freeze: int
    patience: int
    flip: bool
    mosaic: bool
    rotate: float
    scale: float
    seed: int

    def arguments(self) -> dict[str, Any]:
        """ultralytics' train() arguments."""
        return {
            "epochs": self.epochs,
            "batch": self.batch,
            # Without this, gradients gather to 64 images and small sets see hardly any step.
            "nbs": self.batch,
            "imgsz": self.image_size,
            "lr0": self.learning_rate,
            "freeze": self.freeze or None,
            "patience": self.patience,
            "fliplr": 0.5 if self.flip else 0.0,
            "mosaic": 1.0 if self.mosaic else 0.0,
            "close_mosaic": min(10, self.epochs // 3) if self.mosaic else 0,
            # Letterboxing to the image's own shape saves the arithmetic on padding; mosaics are square.
            "rect": not self.mosaic,
            "degrees": self.rotate,
            "scale": self.scale,
            "lrf": 0.02,
            "seed": self.seed,
            "deterministic": True,
            "optimizer": "AdamW",
            "warmup_epochs": 1,
            "cos_lr": True,
            "plots": False,
            "verbose": False,
            "cache": False,
        }


def export(folder: Path, splits: Mapping[str, Rows], classes: tuple[str, ...]) -> dict[str, int]:
    """Write copies of the images and their label files as ultralytics reads them; images a split."""
    from workflow.images import load

    counts = {}
    for split, rows in splits.items():
        pictures, labels = folder / "images" / split, folder / "labels" / split
        pictures.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        counts[split] = 0
        for row, annotations in rows:
            source = folder / "source"
            source.write_bytes(row["image"]["bytes"])
            write_bytes(pictures / f"{row['image_id']}.png", _png(load(source)))
            text = yolo.to_lines(annotations, row["width"], row["height"], classes)
            write_bytes(labels / f"{row['image_id']}.txt", text.encode())
            counts[split] += 1
    names = dict(enumerate(classes))
    # JSON is YAML, and needs no library to quote the names right.
    data = {"path": str(folder), "names": names} | {
        key: f"images/{split}" for key, split in (("train", "train"), ("val", "validation"))
    }
    if not counts.get("validation"):
        data["val"] = "images/train"
    (folder / "data.yaml").write_text(json.dumps(data))
    return counts


def _png(pixels: Any) -> bytes:
    """Lossless and fast: what the model trains on is what the annotator saw, upright."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def train(
    base: Path,
    data: Path,
    scratch: Path,
    recipe: Recipe,
    device: str,
    log: Path,
    report: Callable[[Epoch], None],
) -> dict[str, Any]:
    """Train to the end, or on from where a stopped training was.

    `report` is called after each epoch. Returns `model` (path), `curves` (one row an epoch), `device`,
    `arguments` (all of ultralytics', as used) and `peak_memory_mb`. ModelError with the log's place.
    """
    worker = start_worker(log)
    try:
        result: dict[str, Any] = {}
        for kind, value in worker.stream(_train, str(base), str(data), str(scratch), asdict(recipe), device):
            if kind == "epoch":
                report(value)
            else:
                result = value
    finally:
        worker.close()
    if not result:
        raise ModelError("training ended without a model", f"read {log}")
    return result | {"model": Path(result["model"]), "curves": _curves(scratch / "run" / "results.csv")}


def _curves(path: Path) -> list[Epoch]:
    """ultralytics' results.csv in our words: losses, mAP on the validation split, seconds."""
    with path.open() as file:
        # An epoch that was stopped before its checkpoint was whole stands there twice; the later counts.
        rows = {row["epoch"]: row for row in csv.DictReader(file, skipinitialspace=True)}
    return [
        {
            "epoch": int(row["epoch"]),
            "seconds": float(row["time"]),
            "loss": sum(float(row[f"train/{part}_loss"]) for part in ("box", "cls", "dfl")),
            "validation_loss": sum(float(row[f"val/{part}_loss"]) for part in ("box", "cls", "dfl")),
            "map50": float(row["metrics/mAP50(B)"]),
            "map50_95": float(row["metrics/mAP50-95(B)"]),
        }
        for row in rows.values()
    ]


# Below: run in the child process.


def _train(
    base: str, data: str, scratch: str, recipe: dict[str, Any], device: str
) -> Iterator[tuple[str, Any]]:
    """Yield ("epoch", numbers) as epochs end, then ("model", what came of it)."""
    import queue
    import threading

    finished = Path(scratch) / "finished.json"
    if finished.exists():
        yield "model", json.loads(finished.read_text())
        return
    events: queue.Queue[tuple[str, Any]] = queue.Queue()

    def work() -> None:
        try:
            events.put(("model", _fit(base, data, Path(scratch), recipe, device, events.put)))
        except BaseException as error:
            events.put(("error", error))

    threading.Thread(target=work, daemon=True).start()
    while True:
        kind, value = events.get()
        if kind == "error":
            raise value
        yield kind, value
        if kind == "model":
            partial = finished.with_suffix(".partial")
            partial.write_text(json.dumps(value))
            partial.replace(finished)
            return


def _fit(
    base: str,
    data: str,
    scratch: Path,
    recipe: dict[str, Any],
    device: str,
    put: Callable[[tuple[str, Any]], None],
) -> dict[str, Any]:
    import torch
    from ultralytics import YOLO, settings

    switches = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
    settings.update(dict.fromkeys(switches, False))
    place = pick_device(device)
    weights = scratch / "run" / "weights"
    last = _read(weights / "last.pt")
    if last and _ended(last, recipe["epochs"]):
        return _result(torch, weights, place, last["train_args"])
    if not last:
        shutil.rmtree(scratch / "run", ignore_errors=True)
    model: Any = YOLO(str(weights / "last.pt") if last else base)
    model.add_callback("on_train_start", lambda trainer: _use_all_cores(place))
    model.add_callback("on_fit_epoch_end", lambda trainer: put(("epoch", _epoch(trainer))))
    arguments = Recipe(**recipe).arguments() | {"data": data, "device": place, "workers": 0}
    arguments |= {"amp": place.startswith("cuda"), "project": str(scratch), "name": "run", "exist_ok": True}
    if last:
        arguments = {"resume": True, "data": data, "device": place}
    model.train(**arguments)
    return _result(torch, weights, place, vars(model.trainer.args))


def _read(path: Path) -> dict[str, Any] | None:
    """A checkpoint of our own scratch; None where there is none, or half of one."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception:
        return None


def _ended(last: Mapping[str, Any], epochs: int) -> bool:
    """Whether nothing is left to train: the last epoch is in, or ultralytics dropped the optimizer."""
    return last["optimizer"] is None or last["epoch"] + 1 >= epochs


def _result(torch: Any, weights: Path, place: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    from ultralytics.utils.torch_utils import strip_optimizer

    found = {path: _read(path) for path in (weights / "best.pt", weights / "last.pt")}
    best, checkpoint = next((path, read) for path, read in found.items() if read)
    if checkpoint["optimizer"] is not None:
        strip_optimizer(best)
    return {
        "model": str(best),
        "device": place,
        "arguments": {k: v for k, v in arguments.items() if isinstance(v, str | int | float | bool | None)},
        "peak_memory_mb": _peak_memory_mb(torch, place),
    }


def _use_all_cores(device: str) -> None:
    import torch

    if device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)


def _epoch(trainer: Any) -> Epoch:
    losses = trainer.label_loss_items(trainer.tloss) if trainer.tloss is not None else {}
    return {
        "epoch": trainer.epoch + 1,
        "loss": float(sum(losses.values())),
        "map50_95": float(trainer.metrics.get("metrics/mAP50-95(B)", 0.0)),
        "images": len(trainer.train_loader.dataset),
    }


def _peak_memory_mb(torch: Any, device: str) -> float:
    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated() / 2**20)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))

"""What runs in ultralytics' own process: train a model, or draw what training will see."""

from __future__ import annotations

import json
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.models.device import peak_memory_mb, pick_device, training_precision
from workflow.models.ultralytics import TASKS

Event = tuple[str, Any]
SWITCHES = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
SHEET = 16


@dataclass(frozen=True)
class Asked:
    """One training, as plain values. `images` and `objects` are how many ultralytics must find to train on.

    `score` is its name of the number that tells epochs apart.
    """

    spec: str
    base: str
    task: str
    data: str
    scratch: str
    arguments: dict[str, Any]
    freeze_backbone: bool
    device: str
    classes: tuple[str, ...]
    score: str
    images: int
    objects: int


def train(asked: Asked) -> Iterator[Event]:
    """Yield ("epoch", numbers) as epochs end, then ("model", what came of it)."""
    finished = Path(asked.scratch) / "finished.json"
    if finished.exists():
        yield "model", json.loads(finished.read_text())
        return
    events: queue.Queue[Event] = queue.Queue()

    def work() -> None:
        try:
            events.put(("model", fit(asked, events.put)))
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


def fit(asked: Asked, put: Callable[[Event], None]) -> dict[str, Any]:
    """Train to the end, from the base or from the last epoch that is whole."""
    place = pick_device(asked.device)
    run = Path(asked.scratch) / "run"
    last = _read(run / "weights" / "last.pt")
    if last and _ended(last, asked.arguments["epochs"]):
        return _result(run / "weights", place, last["train_args"])
    if not last:
        shutil.rmtree(run, ignore_errors=True)
    model = _open(asked, str(run / "weights" / "last.pt") if last else asked.base)
    _listen(model, asked, place, put)
    arguments = _arguments(asked, model, place) | {"project": asked.scratch, "name": "run"}
    if last:
        arguments = {"resume": True, "data": asked.data, "device": place}
    model.train(trainer=_trainer(model, asked), **arguments)
    return _result(run / "weights", place, vars(model.trainer.args))


def preview(asked: Asked) -> str:
    """Draw the first batch of a training; the picture's path."""
    from ultralytics.utils.plotting import plot_images

    place = pick_device(asked.device)
    model = _open(asked, asked.base)
    arguments = _arguments(asked, model, place) | {"project": asked.scratch, "name": "preview"}
    made = _trainer(model, asked)(overrides=model.overrides | arguments | {"mode": "train"})
    made.model = model.model
    loader = made.get_dataloader(made.data["train"], batch_size=SHEET, rank=-1, mode="train")
    _check(loader.dataset, asked)
    batch = next(iter(loader))
    if "batch_idx" not in batch:
        import torch

        batch["batch_idx"] = torch.arange(len(batch["img"]))
    sheet = Path(asked.scratch) / "sheet.jpg"
    plot_images(labels=batch, fname=sheet, names=made.data["names"], threaded=False)
    return str(sheet)


def _open(asked: Asked, checkpoint: str) -> Any:
    from ultralytics import YOLO, settings

    settings.update(dict.fromkeys(SWITCHES, False))
    model: Any = YOLO(checkpoint, verbose=False)
    if type(model).__name__ in ("YOLOWorld", "YOLOE"):
        raise ModelError(f"base {asked.spec!r}: models that read are not trained here", "take yolo11n.pt")
    task = TASKS.get(model.task, model.task)
    if task != asked.task:
        what = f"base {asked.spec!r}: is a model of {task}, and the project's task is {asked.task}"
        raise ModelError(what, f"set train.base to a model of {asked.task}")
    return model


def _trainer(model: Any, asked: Asked) -> Any:
    """ultralytics' trainer of the task, which calls a classifier's classes as we do, not as their folders."""

    class Trainer(model._smart_load("trainer")):  # type: ignore[misc]
        def get_dataset(self) -> dict[str, Any]:
            return super().get_dataset() | {"names": dict(enumerate(asked.classes))}

    return Trainer


def _arguments(asked: Asked, model: Any, place: str) -> dict[str, Any]:
    """`train`'s arguments on this machine."""
    # ultralytics checks its float16 with a model that it would fetch; bfloat16 needs no check.
    mixed = place.startswith("cuda") and training_precision(place) == "bfloat16"
    layers = len(model.model.yaml["backbone"])
    return asked.arguments | {
        "data": asked.data,
        "device": place,
        "workers": 0,
        "amp": "bf16" if mixed else False,
        "freeze": layers if asked.freeze_backbone else None,
        "exist_ok": True,
    }


def _listen(model: Any, asked: Asked, place: str, put: Callable[[Event], None]) -> None:
    began = 0.0
    rate = 0.0

    def start_epoch(trainer: Any) -> None:
        nonlocal began
        began = time.perf_counter()

    def end_epoch(trainer: Any) -> None:
        nonlocal rate
        rate = len(trainer.train_loader.dataset) / (time.perf_counter() - began)

    def tell(trainer: Any) -> None:
        losses = {"loss": trainer.label_loss_items(trainer.tloss).values()}
        losses["validation_loss"] = [v for name, v in trainer.metrics.items() if name.startswith("val/")]
        numbers = {name: float(sum(some)) for name, some in losses.items()}
        numbers |= {"epoch": trainer.epoch + 1, "score": float(trainer.metrics.get(asked.score, 0.0))}
        numbers |= {"seconds": time.time() - trainer.train_time_start, "images_per_second": rate}
        put(("epoch", numbers | {"peak_memory_mb": peak_memory_mb(place)}))

    model.add_callback("on_pretrain_routine_end", lambda trainer: _check(trainer.train_loader.dataset, asked))
    model.add_callback("on_train_start", lambda trainer: _use_all_cores(place))
    model.add_callback("on_train_epoch_start", start_epoch)
    model.add_callback("on_train_epoch_end", end_epoch)
    # Not when the epoch ends, which ultralytics says once more after the last one.
    model.add_callback("on_model_save", tell)


def _check(dataset: Any, asked: Asked) -> None:
    """ultralytics passes over files that it dislikes; here that is an error."""
    contents = (len(dataset), sum(len(label["cls"]) for label in getattr(dataset, "labels", ())))
    if contents != (asked.images, asked.objects):
        what = f"ultralytics found {contents[0]} images with {contents[1]} objects"
        raise ModelError(f"{what}, and not the {asked.images} with {asked.objects} it was given")


def _read(path: Path) -> dict[str, Any] | None:
    """A checkpoint of our own scratch; None where there is none, half of one, or one that would run code."""
    from ultralytics.nn.tasks import torch_safe_load

    # It would look for what is not there at GitHub.
    if not path.is_file():
        return None
    try:
        return torch_safe_load(str(path), safe_only=True)[0]
    except Exception:
        return None


def _ended(last: Mapping[str, Any], epochs: int) -> bool:
    """Whether nothing is left to train: the last epoch is in, or ultralytics dropped the optimizer."""
    return last["optimizer"] is None or last["epoch"] + 1 >= epochs


def _result(weights: Path, place: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    from ultralytics.utils.torch_utils import strip_optimizer

    contents = {path: _read(path) for path in (weights / "best.pt", weights / "last.pt")}
    best, checkpoint = next((path, read) for path, read in contents.items() if read)
    if checkpoint["optimizer"] is not None:
        strip_optimizer(best)
    return {
        "model": str(best),
        "device": place,
        "arguments": {k: v for k, v in arguments.items() if isinstance(v, str | int | float | bool | None)},
        "peak_memory_mb": peak_memory_mb(place),
    }


def _use_all_cores(device: str) -> None:
    import torch

    if device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)

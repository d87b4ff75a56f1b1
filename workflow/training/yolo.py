"""Transfer learning of YOLO models of every task through ultralytics, in a process of its own.

A stopped training goes on from its last epoch; one that finished is never resumed, because ultralytics
would then start a new training with its own defaults.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

from workflow.errors import ModelError
from workflow.models.ultralytics import start_worker
from workflow.project.rows import atomic
from workflow.training import Epoch, Job, Recipe, Report, Trained, yolo_worker
from workflow.training.yolo_data import Exported, batch_size, export, flipped

# Task -> the score's name, and ultralytics' name of it.
SCORES = {
    "detection": ("mAP50-95", "metrics/mAP50-95(B)"),
    "oriented-detection": ("rotated mAP50-95", "metrics/mAP50-95(B)"),
    "instance-segmentation": ("mask mAP50-95", "metrics/mAP50-95(M)"),
    "keypoints": ("OKS mAP50-95", "metrics/mAP50-95(P)"),
    "classification": ("accuracy", "metrics/accuracy_top1"),
}
LEARNING_RATES = {"head": 0.002, "full": 0.001}
# Hues turn by this share of what saturation changes by, as in `augment.HUE`.
HUE = 0.1


def train(job: Job, report: Report) -> Trained:
    """Train to the end, or on from where a stopped training was.

    ModelError for a base that is none of ultralytics' checkpoints of the task, or a variation of images
    that ultralytics does not know; with the log's place where it fails.
    """
    asked, exported = ask(job)
    result: dict[str, Any] = {}
    with start_worker(job.log) as worker:
        for kind, value in worker.stream(yolo_worker.train, asked):
            if kind == "epoch":
                report(value)
            else:
                result = value
    if not result:
        raise ModelError("training ended without a model", f"read {job.log}")
    files = job.scratch / "files"
    files.mkdir(exist_ok=True)
    shutil.copyfile(result["model"], files / "model.pt")
    metric, column = SCORES[job.schema.task.name]
    return Trained(
        family="ultralytics",
        files=files,
        checkpoint="model.pt",
        metric=metric,
        curves=_curves(job.scratch / "run" / "results.csv", column, exported.images["train"]),
        device=result["device"],
        images=exported.images,
        selected_on=exported.selected_on,
        peak_memory_mb=result["peak_memory_mb"],
        arguments=result["arguments"] | {"left_out": dict(exported.lost)},
    )


def preview(job: Job, path: Path) -> None:
    """Draw a sheet of training images, as ultralytics varies them, with their labels: a PNG."""
    from PIL import Image

    asked, _ = ask(job)
    with start_worker(job.log) as worker:
        sheet = worker.call(yolo_worker.preview, asked)
    with atomic(path) as file, Image.open(sheet) as drawn:
        drawn.save(file, "PNG")


def arguments(job: Job) -> dict[str, Any]:
    """ultralytics' train() arguments. ModelError for a variation that was asked for and it cannot do."""
    recipe = job.recipe
    rate = recipe.learning_rate or LEARNING_RATES[recipe.method]
    size = {"imgsz": recipe.image_size} if recipe.image_size else {}
    return (
        size
        | {
            "epochs": recipe.epochs,
            "batch": recipe.batch,
            # Without this, gradients gather to 64 images and small sets see hardly any step.
            "nbs": recipe.batch,
            "lr0": rate,
            "lrf": 0.02,
            "patience": recipe.patience,
            "seed": recipe.seed,
            "deterministic": True,
            "optimizer": "AdamW",
            "warmup_epochs": 1,
            "cos_lr": True,
            "plots": False,
            "verbose": False,
            "cache": False,
        }
        | (_vary_pictures(recipe) if job.schema.task.kind == "labels" else _vary_objects(job))
    )


def _vary_pictures(recipe: Recipe) -> dict[str, Any]:
    """How ultralytics varies the images of a classifier."""
    _refuse(recipe, "mosaic", "rotate", "noise", "cutout")
    vary = recipe.augment
    return _colours(recipe) | {
        "fliplr": 0.5 if vary.flip else 0.0,
        # Images are cropped to at least this much less than the whole.
        "scale": vary.scale,
        # Both are on by themselves.
        "auto_augment": None,
        "erasing": 0.0,
    }


def _vary_objects(job: Job) -> dict[str, Any]:
    """How ultralytics varies images with objects on them."""
    recipe, vary = job.recipe, job.recipe.augment
    _refuse(recipe, "contrast", "noise", "cutout")
    flips = not job.schema.task.points or flipped(job.schema.keypoints) is not None
    if "flip" in recipe.asked and not flips:
        what = "which of the keypoints is which in a mirror, their names do not say"
        raise ModelError(what, "take flip out of [train], or name pairs left and right")
    return _colours(recipe) | {
        "fliplr": 0.5 if vary.flip and flips else 0.0,
        "mosaic": 1.0 if vary.mosaic else 0.0,
        "close_mosaic": min(10, recipe.epochs // 3) if vary.mosaic else 0,
        # Letterboxing to the image's own shape saves the arithmetic on padding; mosaics are square.
        "rect": not vary.mosaic,
        "degrees": vary.rotate,
        "scale": vary.scale,
        "translate": vary.scale / 2,
    }


def _colours(recipe: Recipe) -> dict[str, Any]:
    """Brightness goes with contrast, as in `augment`; of classifiers' images ultralytics changes both."""
    colour, contrast = recipe.augment.colour, recipe.augment.contrast
    return {"hsv_h": HUE * colour, "hsv_s": colour, "hsv_v": contrast}


def _refuse(recipe: Recipe, *cannot: str) -> None:
    for name in cannot:
        if name in recipe.asked:
            raise ModelError(f"ultralytics cannot vary these images by {name}", f"take {name} out of [train]")


def ask(job: Job) -> tuple[yolo_worker.Asked, Exported]:
    """Export the dataset, and put into plain values what the other process is asked to train."""
    if not isinstance(job.base, Path):
        raise ModelError(f"base {job.spec!r}: {job.base} is not on this machine", "put it there")
    if job.base.suffix != ".pt":
        raise ModelError(f"base {job.spec!r}: an exported file cannot be trained", "name its .pt file")
    wanted = arguments(job)
    exported = export(job)
    batch = batch_size(exported.images["train"], job.recipe.batch)
    wanted |= {"batch": batch, "nbs": batch}
    asked = yolo_worker.Asked(
        spec=job.spec,
        base=str(job.base),
        task=job.schema.task.name,
        data=str(exported.data),
        scratch=str(job.scratch),
        arguments=wanted,
        freeze_backbone=job.recipe.method == "head",
        device=job.device,
        classes=job.schema.classes,
        score=SCORES[job.schema.task.name][1],
        images=exported.images["train"],
        objects=exported.objects["train"],
    )
    return asked, exported


def _curves(path: Path, score: str, images: int) -> list[Epoch]:
    """ultralytics' results.csv in our words; its clock has validation within an epoch."""
    with path.open() as file:
        # An epoch that was stopped before its checkpoint was whole stands there twice; the later counts.
        rows = {row["epoch"]: row for row in csv.DictReader(file, skipinitialspace=True)}
    curves: list[Epoch] = []
    for row in rows.values():
        seconds = float(row["time"])
        before = curves[-1]["seconds"] if curves else 0.0
        # The clock starts anew where a stopped training went on.
        took = seconds - before if seconds > before else seconds
        curves.append(
            {
                "epoch": int(row["epoch"]),
                "seconds": seconds,
                "loss": sum(float(value) for name, value in row.items() if name.startswith("train/")),
                "validation_loss": sum(float(v) for name, v in row.items() if name.startswith("val/")),
                "score": float(row[score]),
                "images_per_second": images / took,
            }
        )
    return curves

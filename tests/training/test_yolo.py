"""Training by ultralytics: what it is given, what it makes of it, and that it touches nothing of ours."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny.ultralytics import PRINTED, save
from tests.training_jobs import make_job
from workflow import metrics, models
from workflow.dataset import parquet
from workflow.errors import ImageError, ModelError
from workflow.models import Options
from workflow.records import Annotation, ImageRecord, Point, Provenance, RotatedBox, Split
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.tasks import TaskName
from workflow.training import PRESETS, Augment, Job, yolo, yolo_data
from workflow.training.yolo_data import Exported, export, flipped

ME = Provenance("person", "me")
CLASSES = ("red", "blue")
POINTS = ("left end", "right end")
COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}
SIZE = (96, 128)
Drawn = tuple[np.ndarray, list[Annotation]]


def _square(task: TaskName, label: str, x: int, y: int, side: int) -> list[Annotation]:
    """What people say of a square: `task` decides how."""
    box = (float(x), float(y), float(x + side), float(y + side))
    if task == "classification":
        return [Annotation(label, ME)]
    if task == "oriented-detection":
        return [Annotation(label, ME, rotated_box=RotatedBox(x + side / 2, y + side / 2, side, side / 2, 30))]
    if task == "instance-segmentation":
        pixels = np.zeros(SIZE, dtype=bool)
        pixels[y : y + side, x : x + side] = True
        return [Annotation(label, ME, mask=masks.encode(pixels))]
    ends: list[Point] = [box[:2], box[2:]] if task == "keypoints" else []
    points = [
        Annotation(p, ME, keypoints=(end,), parent=label) for p, end in zip(POINTS, ends, strict=bool(ends))
    ]
    return [Annotation(label, ME, box=box, id=label), *points]


def _draw(task: TaskName, count: int) -> list[Drawn]:
    """Images of a red and a blue square each; classifiers get one, the red ones first."""
    rng = np.random.default_rng(1)
    drawn = []
    for number in range(count):
        pixels = rng.integers(150, 170, (*SIZE, 3)).astype(np.uint8)
        annotations = []
        for part, label in enumerate(CLASSES):
            side = int(rng.integers(24, 48))
            x, y = int(rng.integers(4, 60 - side)) + part * 64, int(rng.integers(4, 92 - side))
            if task != "classification" or part == 2 * number // count:
                pixels[y : y + side, x : x + side] = COLOURS[label]
                annotations += _square(task, label, x, y, side)
        drawn.append((pixels, annotations))
    return drawn


def _job(folder: Path, task: TaskName, base: Path, *, validation: int = 4, **settings: Any) -> Job:
    """A job on eight training images, whose dataset is written first."""
    points = POINTS if task == "keypoints" else ()
    splits: list[tuple[Split, int]] = [("train", 8), ("validation", validation)]
    for split, count in splits:
        rows = [_row(f"{split}-{n}", split, *one, task, points) for n, one in enumerate(_draw(task, count))]
        schema = parquet.features(Schema.of(task, CLASSES, points))
        if rows:
            parquet.write(folder / "dataset" / "data" / f"{split}.parquet", rows, schema)
    made = make_job(folder, task, "ultralytics", base, classes=CLASSES, **settings)
    return dataclasses.replace(made, schema=dataclasses.replace(made.schema, keypoints=points))


def _row(
    name: str,
    split: Split,
    pixels: np.ndarray,
    annotations: Sequence[Annotation],
    task: TaskName,
    points: Any,
) -> Any:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    # ultralytics writes such a JPEG anew, in place.
    content = buffer.getvalue() + b"trailing"
    record = ImageRecord(name, f"{name}.jpg", SIZE[1], SIZE[0], split)
    return parquet.to_row(record, content, annotations, Schema.of(task, CLASSES, points))


@pytest.mark.parametrize(
    ("task", "objects", "numbers"),
    [
        ("detection", 16, 5),
        ("instance-segmentation", 16, 9),
        ("oriented-detection", 16, 9),
        ("keypoints", 16, 11),
    ],
)
def test_objects_are_exported_as_lines(tmp_path: Path, task: TaskName, objects: int, numbers: int) -> None:
    made = export(_job(tmp_path, task, PRINTED))
    assert made == Exported(
        made.data, {"train": 8, "validation": 4}, {"train": objects, "validation": objects // 2}
    )
    said = json.loads(made.data.read_text())
    assert (said["names"], said["val"]) == ({"0": "red", "1": "blue"}, "images/validation")
    folder = made.data.parent
    assert sorted(p.stem for p in (folder / "images" / "train").iterdir()) == [f"train-{n}" for n in range(8)]
    lines = (folder / "labels" / "train" / "train-0.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [numbers] * 2
    assert [line[0] for line in lines] == ["0", "1"]


def test_points_are_told_by_name_and_mirrored_by_it(tmp_path: Path) -> None:
    said = json.loads(export(_job(tmp_path, "keypoints", PRINTED)).data.read_text())
    assert said["kpt_shape"] == [2, 3]
    assert said["kpt_names"] == {"0": list(POINTS), "1": list(POINTS)}
    assert said["flip_idx"] == [1, 0]


def test_labels_of_the_whole_image_are_folders(tmp_path: Path) -> None:
    made = export(_job(tmp_path, "classification", PRINTED, validation=0))
    assert made.images == {"train": 8, "validation": 0}
    assert made.selected_on == "train"
    for split in ("train", "val"):
        found = {p.name: len([*p.iterdir()]) for p in (made.data / split).iterdir()}
        assert found == {"class-00000": 4, "class-00001": 4}


def test_an_object_told_twice_is_counted(tmp_path: Path) -> None:
    job = _job(tmp_path, "detection", PRINTED, validation=0)
    pixels, annotations = _draw("detection", 1)[0]
    rows = [_row("twice", "train", pixels, [*annotations, annotations[0]], "detection", ())]
    path = job.dataset / "data" / "train.parquet"
    parquet.write(path, rows, parquet.features(Schema.of("detection", CLASSES)))
    made = export(job)
    assert (made.objects["train"], dict(made.lost)) == (2, {"objects labeled twice": 1})
    assert made.selected_on == "train"


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_images_of_sizes_that_ultralytics_refuses_are_scaled_or_named(
    tmp_path: Path, task: TaskName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yolo_data, "MOST_PIXELS", 150_000)
    job = _job(tmp_path, task, PRINTED, validation=0)
    sizes = {
        "narrow": (1, 20_000),
        "small": (7, 12),
        "usual": (10, 12),
        "vast": (400, 400),
        "hair": (1, 110_000),
    }
    rows = []
    for name, (width, height) in sizes.items():
        buffer = io.BytesIO()
        Image.new("L", (width, height), 99).save(buffer, "PNG", compress_level=1)
        box = (0.0, height / 4, width / 2, height / 2) if task == "detection" else None
        labels = [Annotation(CLASSES[0], Provenance("person", "ann"), box=box)]
        record = ImageRecord(name, f"{name}.png", width, height, "train")
        rows.append(parquet.to_row(record, buffer.getvalue(), labels, job.schema))
    parquet.write(job.dataset / "data" / "train.parquet", rows, parquet.features(job.schema))
    made = export(job)
    folder = job.scratch / "data"
    shown = {}
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            shown[path.stem] = image.size
    assert shown == {"narrow": (10, 200_000), "small": (14, 24), "usual": (10, 12), "vast": (387, 387)}
    assert made.images == {"train": 4, "validation": 0}
    assert dict(made.lost) == {"image of 1 x 110000 pixels: hair.png": 1}
    if task == "detection":
        assert made.objects["train"] == 4
        assert {path.stem for path in folder.rglob("labels/train/*.txt")} == set(shown)
        assert {path.read_text() for path in folder.rglob("labels/train/*.txt")} == {
            "0 0.25 0.375 0.5 0.25\n"
        }


def test_the_limits_on_images_hold_in_training(tmp_path: Path) -> None:
    job = _job(tmp_path, "detection", PRINTED, validation=0)
    assert export(dataclasses.replace(job, max_megapixels=0.1)).images["train"] == 8
    with pytest.raises(ImageError, match="megapixels, more than 1e-05 -> raise images.max_megapixels"):
        export(dataclasses.replace(job, max_megapixels=1e-5))


@pytest.mark.parametrize(
    ("points", "mirrored"),
    [
        (("left_eye", "nose", "right_eye"), [2, 1, 0]),
        (("Left eye", "Right eye"), [1, 0]),
        (("tip", "handle"), None),
        (("left_eye", "nose"), None),
    ],
)
def test_names_say_which_point_is_which_in_a_mirror(points: tuple, mirrored: list[int] | None) -> None:
    assert flipped(points) == mirrored


VARIED = {
    "detection": {"fliplr": 0.5, "mosaic": 1.0, "degrees": 10, "scale": 0.5, "translate": 0.25, "hsv_s": 0.6},
    "classification": {"fliplr": 0.5, "scale": 0.5, "hsv_s": 0.6, "hsv_v": 0.4, "erasing": 0.0},
}


@pytest.mark.parametrize("task", VARIED)
def test_a_preset_varies_as_far_as_ultralytics_can(tmp_path: Path, task: TaskName) -> None:
    job = make_job(tmp_path, task, "ultralytics", PRINTED, augment=PRESETS["strong"])
    used = yolo.arguments(job)
    assert {name: used[name] for name in VARIED[task]} == VARIED[task]
    assert used["lr0"] == 0.001
    assert "imgsz" not in used
    still = yolo.arguments(
        dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, augment=Augment()))
    )
    changing = ("fliplr", "mosaic", "degrees", "scale", "translate", "hsv_h", "hsv_s", "hsv_v", "erasing")
    assert [still.get(name, 0) for name in changing] == [0] * len(changing)
    assert still.get("auto_augment") is None


@pytest.mark.parametrize(
    ("task", "asked", "message"),
    [
        ("detection", "noise", "ultralytics cannot vary these images by noise -> take noise out of [train]"),
        (
            "classification",
            "rotate",
            "ultralytics cannot vary these images by rotate -> take rotate out of [train]",
        ),
        (
            "keypoints",
            "flip",
            "which of the keypoints is which in a mirror, their names do not say"
            " -> take flip out of [train], or name pairs left and right",
        ),
    ],
)
def test_a_variation_it_cannot_do_is_refused_if_asked_for(
    tmp_path: Path, task: TaskName, asked: str, message: str
) -> None:
    job = make_job(tmp_path, task, "ultralytics", PRINTED, augment=PRESETS["strong"], asked=(asked,))
    with pytest.raises(ModelError) as error:
        yolo.train(job, lambda epoch: None)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("yolo11n.pt", "base 'yolo11n.pt': yolo11n.pt is not on this machine -> put it there"),
        (Path("a.onnx"), "base 'a.onnx': an exported file cannot be trained -> name its .pt file"),
    ],
)
def test_a_base_that_cannot_be_trained_is_one_line(tmp_path: Path, base: Path | str, message: str) -> None:
    job = make_job(tmp_path, "detection", "ultralytics", PRINTED)
    with pytest.raises(ModelError) as error:
        yolo.train(dataclasses.replace(job, base=base, spec=str(base)), lambda epoch: None)
    assert str(error.value) == message


@pytest.mark.slow
def test_a_base_of_another_task_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        yolo.train(_job(tmp_path, "keypoints", PRINTED), lambda epoch: None)
    assert str(error.value) == (
        "base 'ultralytics:printed-digits.pt': is a model of detection, and the project's task is keypoints"
        " -> set train.base to a model of keypoints"
    )


KINDS: dict[TaskName, str] = {
    "classification": "yolo11-cls",
    "oriented-detection": "yolo11-obb",
    "keypoints": "yolo11-pose",
}


@pytest.mark.slow
@pytest.mark.parametrize("task", KINDS)
def test_a_run_of_each_task_annotates_in_the_projects_words(tmp_path: Path, task: TaskName) -> None:
    save(tmp_path / "base.pt", KINDS[task], dict(enumerate("abc")), points=3)
    job = _job(tmp_path, task, tmp_path / "base.pt", method="head", image_size=128, epochs=1)
    before = _files(job.dataset)
    rows: list[dict[str, float]] = []
    made = yolo.train(job, rows.append)
    assert made.images == {"train": 8, "validation": 4}
    assert [row["epoch"] for row in rows] == [1]
    assert min(rows[0][name] for name in ("images_per_second", "peak_memory_mb", "seconds")) > 0
    ((curve),) = made.curves
    assert curve.keys() == {"epoch", "seconds", "loss", "validation_loss", "score", "images_per_second"}
    assert curve["score"] == pytest.approx(rows[0]["score"], abs=1e-4)
    assert made.arguments["freeze"] == 11 - (task == "classification")
    assert made.arguments["left_out"] == {}
    assert _files(job.dataset) == before
    assert ("ultralytics" in sys.modules, Image.open.__module__) == (False, "PIL.Image")
    labels = CLASSES + job.schema.keypoints
    annotator = models.load(
        f"ultralytics:files/{made.checkpoint}",
        job.scratch,
        Options(threshold=0.001, device="cpu", log=job.log),
    )
    assert (annotator.task, annotator.names) == (task, labels)
    annotator.close()
    again = yolo.train(job, rows.append)
    assert len(rows) == 1
    assert again.curves == made.curves


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_what_training_will_see_is_drawn(tmp_path: Path) -> None:
    job = _job(tmp_path, "detection", PRINTED, image_size=128, augment=PRESETS["strong"])
    yolo.preview(job, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        seen = np.asarray(sheet.convert("RGB")).reshape(-1, 3).astype(int)
    assert min(sheet.size) > 256
    assert (np.ptp(seen, axis=0) > 200).all()


@pytest.mark.slow
def test_a_tiny_model_learns_eight_images_by_heart(tmp_path: Path) -> None:
    save(tmp_path / "base.pt", "yolo11-seg", dict(enumerate(CLASSES)))
    job = _job(
        tmp_path,
        "instance-segmentation",
        tmp_path / "base.pt",
        validation=0,
        image_size=128,
        epochs=80,
        batch=4,
        learning_rate=0.004,
    )
    made = yolo.train(job, lambda epoch: None)
    assert (made.selected_on, made.metric) == ("train", "mask mAP50-95")
    # ultralytics scores its masks at a quarter of the image's size; at full size they must be better.
    assert max(row["score"] for row in made.curves) > 0.6
    annotator = models.load(
        f"ultralytics:files/{made.checkpoint}",
        job.scratch,
        Options(threshold=0.01, device="cpu", log=job.log),
    )
    drawn = {f"{n}": one for n, one in enumerate(_draw("instance-segmentation", 8))}
    guesses = annotator.annotate([pixels for pixels, _ in drawn.values()], [()] * 8, CLASSES)
    annotator.close()
    found = {name: list(some) for name, some in zip(drawn, guesses, strict=True)}
    truth = {name: annotations for name, (_, annotations) in drawn.items()}
    sizes = dict.fromkeys(drawn, SIZE[::-1])
    numbers: Any = metrics.measure(Schema.of("instance-segmentation", CLASSES), sizes, truth, found)
    assert numbers.map50 > 0.99
    assert numbers.map50_95 > 0.8

"""Classifiers learn drawn images by heart, and what is kept says what was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny import classifier as classifiers
from tests.tiny import zero_shot
from tests.training_jobs import CLASSES, COLOURS, PERSON, Drawn, make_job, write_dataset
from workflow import metrics, models
from workflow.errors import ModelError
from workflow.models import Guesses, Options
from workflow.records import Annotation
from workflow.schema import Schema
from workflow.tasks import TaskName
from workflow.training import Augment, Job, Trained, classification, lora

SINGLE: TaskName = "classification"
MULTI: TaskName = "multilabel-classification"


def squares(count: int, multi_label: bool = False, seed: int = 3) -> list[Drawn]:
    """Gray images with a square of each colour that they are labeled with: one, or none, one or both."""
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(count):
        pixels = rng.integers(110, 140, (64, 80, 3)).astype(np.uint8)
        labels = (
            [c for k, c in enumerate(CLASSES) if number >> k & 1] if multi_label else [CLASSES[number % 2]]
        )
        for label in labels:
            x, y = int(rng.integers(0, 20)) + 40 * CLASSES.index(label), int(rng.integers(0, 40))
            pixels[y : y + 24, x : x + 20] = COLOURS[label]
        drawn.append((pixels, [Annotation(label, PERSON) for label in labels]))
    return drawn


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    classifiers.save_vit(tmp_path / "vit")
    return tmp_path / "vit"


def job_of(folder: Path, task: TaskName, base: Path, count: int = 8, **settings: Any) -> Job:
    if not (folder / "dataset").exists():
        write_dataset(folder / "dataset", task, {"train": squares(count, task == MULTI)})
    return make_job(folder, task, "classifier", base, **settings)


def ask(made: Trained, folder: Path, drawn: Sequence[Drawn]) -> list[Guesses]:
    """What the kept model says, loaded as an annotator is."""
    (folder / "kept").unlink(missing_ok=True)
    (folder / "kept").symlink_to(made.files / made.checkpoint)
    annotator = models.load("classifier:kept", folder, Options(threshold=0.0, device="cpu"))
    found = annotator.annotate([pixels for pixels, _ in drawn], [()] * len(drawn), CLASSES)
    annotator.close()
    return found


def score(task: TaskName, drawn: Sequence[Drawn], found: Sequence[Guesses]) -> float | None:
    names = [str(number) for number in range(len(drawn))]
    sizes = {name: pixels.shape[1::-1] for name, (pixels, _) in zip(names, drawn, strict=True)}
    truth = {name: annotations for name, (_, annotations) in zip(names, drawn, strict=True)}
    return metrics.measure(Schema.of(task, CLASSES), sizes, truth, dict(zip(names, found, strict=True))).score


@pytest.mark.slow
@pytest.mark.parametrize(("task", "metric"), [(SINGLE, "accuracy"), (MULTI, "mAP")])
def test_a_tiny_vit_learns_eight_images_by_heart(
    tmp_path: Path, vit: Path, task: TaskName, metric: str
) -> None:
    told: list[dict[str, float]] = []
    job = job_of(tmp_path, task, vit, epochs=40, learning_rate=3e-3, patience=15)
    made = classification.train(job, told.append)
    assert (made.family, made.checkpoint, made.metric) == ("classifier", "model", metric)
    assert made.images == {"train": 8, "validation": 0}
    assert made.selected_on == "train"
    assert max(row["score"] for row in told) == 1.0
    drawn = squares(8, task == MULTI)
    assert score(task, drawn, ask(made, tmp_path, drawn)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["head", "lora", "full"])
def test_the_pretrained_network_learns_by_each_method(tmp_path: Path, method: str) -> None:
    """The real EfficientNet-Lite0: random weights would not learn by a head or adapters alone."""
    job = job_of(tmp_path, SINGLE, Path("efficientnet-lite0"), method=method, epochs=15, image_size=64)
    made = classification.train(replace(job, base="efficientnet-lite0"), lambda epoch: None)
    assert max(row["score"] for row in made.curves) == 1.0
    drawn = squares(8)
    assert score(SINGLE, drawn, ask(made, tmp_path, drawn)) == 1.0
    assert made.arguments["image_size"] == 64
    rates = {"head": 1e-3, "lora": 5e-4, "full": 5e-4}
    assert made.arguments["learning_rate"] == rates[method]
    assert (made.files / "adapter").exists() == (method == "lora")


@pytest.mark.parametrize("method", ["head", "lora", "full"])
def test_a_backbone_that_names_nothing_gets_a_head(tmp_path: Path, method: str) -> None:
    """As DINOv3 is published, by timm."""
    classifiers.save_dinov3(tmp_path / "base", names=())
    with pytest.raises(ModelError) as error:
        models.load("classifier:base", tmp_path, Options(device="cpu"))
    assert str(error.value) == (
        "model 'classifier:base': is a backbone, and names nothing before it is trained"
        ' -> set train.base = "classifier:base", or take a classifier'
    )
    job = job_of(tmp_path, SINGLE, tmp_path / "base", method=method, epochs=1, learning_rate=1e-3)
    made = classification.train(job, lambda epoch: None)
    drawn = squares(8)
    assert score(SINGLE, drawn, ask(made, tmp_path, drawn)) == pytest.approx(made.curves[0]["score"])


@pytest.mark.parametrize("method", ["head", "lora", "full"])
@pytest.mark.parametrize("task", [SINGLE, MULTI])
def test_what_is_kept_says_what_was_evaluated(tmp_path: Path, vit: Path, task: TaskName, method: str) -> None:
    write_dataset(
        tmp_path / "dataset",
        task,
        {"train": squares(8, task == MULTI), "validation": squares(4, task == MULTI, seed=5)},
    )
    job = job_of(tmp_path, task, vit, method=method, epochs=1, learning_rate=1e-3)
    made = classification.train(job, lambda epoch: None)
    assert made.images == {"train": 8, "validation": 4}
    assert made.selected_on == "validation"
    drawn = squares(4, task == MULTI, seed=5)
    found = ask(made, tmp_path, drawn)
    assert score(task, drawn, found) == pytest.approx(made.curves[0]["score"])
    losses = [_loss(guesses, truth, task) for guesses, (_, truth) in zip(found, drawn, strict=True)]
    assert np.mean(losses) == pytest.approx(made.curves[0]["validation_loss"], abs=1e-4)
    again = models.load("classifier:kept", tmp_path, Options(device="cpu"))
    assert (again.names, again.task) == (CLASSES, task)


def _loss(guesses: Guesses, truth: Sequence[Annotation], task: TaskName) -> float:
    scores = {a.label: a.score or 0.0 for a in guesses}
    true = {a.label for a in truth}
    if task == SINGLE:
        return -float(np.log(scores[true.pop()]))
    return -float(np.mean([np.log(s if label in true else 1 - s) for label, s in scores.items()]))


@pytest.mark.parametrize("save", [zero_shot.save_siglip, zero_shot.save_naflex, zero_shot.save_clip])
def test_a_model_of_images_and_texts_becomes_a_classifier(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "base")
    job = job_of(tmp_path, SINGLE, tmp_path / "base", epochs=1, method="head")
    made = classification.train(replace(job, family="zero-shot"), lambda epoch: None)
    assert made.family == "classifier"
    drawn = squares(8)
    assert score(SINGLE, drawn, ask(made, tmp_path, drawn)) == pytest.approx(made.curves[0]["score"])


def test_only_the_head_moves(tmp_path: Path, vit: Path) -> None:
    from safetensors.torch import load_file

    made = classification.train(job_of(tmp_path, SINGLE, vit, method="head", epochs=1), lambda epoch: None)
    before, after = load_file(vit / "model.safetensors"), load_file(made.files / "model/model.safetensors")
    assert {name for name in before if not before[name].equal(after[name])} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert after["classifier.weight"].shape == (2, 32)


def test_a_training_is_the_same_again(tmp_path: Path, vit: Path) -> None:
    augment = Augment(flip=True, rotate=10, scale=0.2, colour=0.3, noise=0.02)
    curves = []
    for scratch in ("one", "other"):
        job = job_of(tmp_path, SINGLE, vit, method="lora", augment=augment, scratch=scratch)
        made = classification.train(job, lambda epoch: None)
        curves.append([(row["loss"], row["validation_loss"], row["score"]) for row in made.curves])
    assert curves[0] == curves[1]


def test_images_that_keep_their_own_shapes_are_refused(tmp_path: Path) -> None:
    classifiers.save_dinov2(tmp_path / "dinov2")
    upright = (np.zeros((90, 64, 3), np.uint8), [Annotation("red", PERSON)])
    write_dataset(tmp_path / "dataset", SINGLE, {"train": [*squares(3), upright]})
    with pytest.raises(ModelError) as error:
        classification.train(job_of(tmp_path, SINGLE, tmp_path / "dinov2"), lambda epoch: None)
    assert str(error.value) == (
        "classifier:dinov2 keeps images in their own shape, and training takes batches of one shape"
        " -> take another base, or crop the images"
    )


def test_a_network_of_one_size_refuses_another(tmp_path: Path, vit: Path) -> None:
    with pytest.raises(ModelError) as error:
        classification.train(job_of(tmp_path, SINGLE, vit, image_size=96), lambda epoch: None)
    assert str(error.value) == (
        "classifier:vit takes images of its own size only -> take image_size out of [train]"
    )


def test_what_it_cannot_do_is_one_line(tmp_path: Path, vit: Path) -> None:
    job = job_of(tmp_path, SINGLE, vit, augment=Augment(mosaic=True), asked=("mosaic",))
    with pytest.raises(ModelError) as error:
        classification.train(job, lambda epoch: None)
    assert str(error.value) == "a classifier cannot vary images by mosaic -> take mosaic out of [train]"


@pytest.mark.parametrize(
    ("name", "settings", "side"),
    [
        ("ViTImageProcessor", {"size": {"height": 224, "width": 224}}, 224),
        ("BitImageProcessor", {"size": {"shortest_edge": 256}, "crop_size": 224}, 224),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}, 384),
        ("DeiTImageProcessor", {"size": 256, "crop_size": 224}, 224),
    ],
)
def test_the_size_of_a_processor_is_changed_in_proportion(
    name: str, settings: dict[str, Any], side: int
) -> None:
    import transformers

    processor = getattr(transformers, name)(**settings)
    assert classification.image_size(processor) == side
    classification.resize(processor, 112)
    assert classification.image_size(processor) == 112
    picture = Image.fromarray(np.zeros((50, 90, 3), np.uint8))
    assert processor(images=[picture], return_tensors="pt")["pixel_values"].shape == (1, 3, 112, 112)
    edge = next(length for length in dict(processor.size).values() if length)
    assert edge == (128 if "crop_size" in settings else 112)


def test_the_sheet_is_drawn(tmp_path: Path, vit: Path) -> None:
    classification.preview(job_of(tmp_path, SINGLE, vit), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000


def test_default_rates(vit: Path) -> None:
    from transformers import AutoModelForImageClassification

    transformer = AutoModelForImageClassification.from_pretrained(vit)
    rates = [classification.default_rate(transformer, method) for method in ("head", "lora", "full")]
    assert rates == [1e-3, 5e-4, 5e-5]
    adapted, _ = lora.apply(transformer, "lora", 4, ["classifier"])
    assert classification.default_rate(adapted, "lora") == 5e-4

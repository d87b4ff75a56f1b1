"""Fine-tuning: what LoRA saves against training everything, and what pretrained weights are worth.

Claims: on a ViT-B, what LoRA learns takes at most 3 % of the space of full's checkpoint, and its training at
most 0.6 of full's memory; EfficientNet-Lite0 with its ImageNet weights, fine-tuned on 40 labeled photographs
of each of ten signs, beats the same network from random weights by 20 points of accuracy.
Run: python benchmarks/finetune.py [memory | digits FOLDER]     (both, without digits if there is no folder)
     python benchmarks/finetune.py --quick     (toys: does it run?)

FOLDER holds a folder of images a class, by default ../shared/data/sign-digits/Dataset (Apache-2.0,
https://github.com/ardamavi/Sign-Language-Digits-Dataset). The first 40 of each class are trained on, in the
order of their names; the rest are the test. The ViT-B has random weights: sizes and memory do not depend on
what they are. Each training of it runs in a process of its own, whose largest resident size is reported.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers.utils import logging

from workflow import metrics, models
from workflow.dataset import parquet
from workflow.images import decode
from workflow.models import classifier
from workflow.models.device import pick_device, training_precision
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.training import Augment, Job, Recipe, Trained
from workflow.training import classification as trainer

DIGITS = Path(__file__).parents[2] / "shared" / "data" / "sign-digits" / "Dataset"
PERSON = Provenance("person", "benchmark")
LABELS_A_CLASS, SIDE, EPOCHS = 40, 96, 4
BATCH, STEPS = 8, 4
TRAININGS = (("random", "full"), ("ImageNet", "full"), ("ImageNet", "lora"), ("ImageNet", "head"))


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    folder = Path(sys.argv[2]) if what == "digits" and len(sys.argv) > 2 else DIGITS
    device = pick_device("auto")
    print(f"on {device}, {training_precision(device)}")
    logging.disable_progress_bar()
    if what == "--quick":
        quick()
    if what in ("", "memory"):
        compare_methods()
    if what == "digits" or (not what and folder.exists()):
        compare_weights(folder)


def quick() -> None:
    """Both, with a toy of a ViT and a few drawn pictures; what it claims is not to hold."""
    compare_methods(batch=2, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    with tempfile.TemporaryDirectory() as name:
        random = np.random.default_rng(0)
        for label in ("0", "1"):
            (Path(name) / label).mkdir()
            for number in range(6):
                pixels = random.integers(0, 255, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(Path(name) / label / f"{number}.png")
        compare_weights(Path(name), labels=4, epochs=1, side=32)


def compare_methods(batch: int = BATCH, **network: int) -> None:
    """Full against LoRA: peak memory of a training, and the bytes that it leaves."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_noise(root / "dataset", batch * STEPS)
        save_vit(root / "base", **network)
        found = {method: in_a_child(root, method, batch) for method in ("full", "lora")}
    print(f"\nViT-B at 224 pixels, {STEPS} steps of {batch} images")
    print(f"{'':10} {'peak MB':>8} {'kept MB':>8} {'images/s':>9} {'trained':>9}")
    for method, row in found.items():
        size = f"{row['peak_mb']:8.0f} {row['bytes'] / 1e6:8.1f}"
        print(f"{method:10} {size} {row['rate']:9.2f} {row['share']:9.2%}")
    full, lora = found["full"], found["lora"]
    claim("LoRA keeps, of full's checkpoint", lora["bytes"] / full["bytes"], 0.03)
    claim("LoRA's peak memory, of full's", lora["peak_mb"] / full["peak_mb"], 0.6)


def in_a_child(root: Path, method: str, batch: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "child", str(root), method, str(batch)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(root: Path, method: str, batch: int) -> None:
    """Train, and print what it took, as JSON."""
    made = train(root, "base", ("0", "1"), method, epochs=1, batch=batch, image_size=None)
    kept = made.files / ("adapter" if method == "lora" else "model")
    row = {
        "peak_mb": made.peak_memory_mb,
        "bytes": sum(path.stat().st_size for path in kept.rglob("*.safetensors")),
        "rate": made.curves[-1]["images_per_second"],
        "share": made.arguments["share"],
    }
    print(json.dumps(row))


def compare_weights(
    folder: Path, labels: int = LABELS_A_CLASS, epochs: int = EPOCHS, side: int = SIDE
) -> None:
    """EfficientNet-Lite0 from ImageNet and from random weights, by each method that makes sense."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    files = {name: sorted((folder / name).iterdir()) for name in classes}
    learn = {name: paths[:labels] for name, paths in files.items()}
    test = {name: paths[labels:] for name, paths in files.items()}
    count = sum(map(len, test.values()))
    print(f"\n{len(classes)} signs, {labels} labels each, {epochs} epochs at {side} pixels")
    print(f"{'weights':10} {'method':6} {'accuracy on ' + str(count):>18} {'seconds':>8}")
    accuracy = {}
    for weights, method in (
        ("random", "full"),
        ("ImageNet", "full"),
        ("ImageNet", "lora"),
        ("ImageNet", "head"),
    ):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            write_dataset(root / "dataset", learn, classes)
            base = "efficientnet-lite0"
            if weights == "random":
                base = save_random_efficientnet(root / "base")
            begin = time.monotonic()
            made = train(root, base, classes, method, epochs, 16, side)
            seconds = time.monotonic() - begin
            accuracy[weights, method] = measure(made, test, classes)
        print(f"{weights:10} {method:6} {accuracy[weights, method]:18.3f} {seconds:8.0f}", flush=True)
    gained = 100 * (accuracy["ImageNet", "full"] - accuracy["random", "full"])
    print(f"{gained:.1f} points gained by ImageNet's weights; wanted: 20; {verdict(gained >= 20)}")


def train(
    root: Path,
    base: str,
    classes: Sequence[str],
    method: str,
    epochs: int,
    batch: int,
    image_size: int | None,
) -> Trained:
    """What `workflow train` does with a project: `root` has its dataset, and its base if that is a folder."""
    recipe = Recipe(
        method=method,
        epochs=epochs,
        batch=batch,
        image_size=image_size,
        learning_rate=None,
        lora_rank=16,
        patience=epochs,
        seed=0,
        augment=Augment(flip=True, scale=0.25),
    )
    scratch = root / method
    scratch.mkdir()
    place = root / base
    job = Job(
        schema=Schema.of("classification", tuple(classes)),
        family="classifier",
        base=place if place.exists() else base,
        spec=f"classifier:{base}",
        dataset=root / "dataset",
        recipe=recipe,
        scratch=scratch,
        device="auto",
        log=root / "log",
    )
    return trainer.train(job, lambda epoch: None)


def measure(made: Trained, test: dict[str, list[Path]], classes: Sequence[str]) -> float:
    """Accuracy of the trained model on images that it has not seen, loaded and asked as any annotator."""
    options = models.Options()
    annotator = classifier.Classifier("run:benchmark", made.files / made.checkpoint, options)
    truth, said, sizes = {}, {}, {}
    for label, paths in test.items():
        for first in range(0, len(paths), 32):
            some = paths[first : first + 32]
            pixels = [decode.from_file(path) for path in some]
            answers = annotator.annotate(pixels, [()] * len(some), classes)
            for path, picture, guesses in zip(some, pixels, answers, strict=True):
                name = f"{label}/{path.name}"
                sizes[name] = (picture.shape[1], picture.shape[0])
                truth[name], said[name] = [Annotation(label, PERSON)], guesses
    annotator.close()
    return metrics.measure(Schema.of("classification", classes), sizes, truth, said).score or 0.0


def write_dataset(folder: Path, files: dict[str, list[Path]], classes: Sequence[str]) -> None:
    def rows() -> Iterator[Any]:
        for label, paths in files.items():
            for path in paths:
                height, width = decode.from_file(path).shape[:2]
                record = ImageRecord(f"{label}-{path.stem}", path.name, width, height, "train")
                labels = [Annotation(label, PERSON)]
                yield parquet.to_row(record, path.read_bytes(), labels, Schema.of("classification", classes))

    schema = parquet.features(Schema.of("classification", classes))
    parquet.write(folder / "data" / "train.parquet", rows(), schema)


def write_noise(folder: Path, count: int) -> None:
    """A dataset of random images of two classes."""
    random = np.random.default_rng(0)
    files: dict[str, list[Path]] = {"0": [], "1": []}
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(random.integers(0, 255, (224, 224, 3), np.uint8)).save(path)
        files[str(number % 2)].append(path)
    write_dataset(folder, files, ("0", "1"))


def save_vit(folder: Path, **network: Any) -> None:
    """A ViT-B, but for what is said of its network."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    ViTForImageClassification(ViTConfig(**network)).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)


def save_random_efficientnet(folder: Path) -> str:
    """The same network as the pretrained one, as it is before any training; the folder's name."""
    import torch

    pretrained, _, _ = classifier.open_model("classifier:efficientnet-lite0", "efficientnet-lite0")
    torch.manual_seed(0)
    type(pretrained)(pretrained.config).save_pretrained(folder)
    return folder.name


def claim(what: str, found: float, wanted: float) -> None:
    print(f"{what}: {found:.3f}; wanted: at most {wanted}; {verdict(found <= wanted)}")


def verdict(holds: bool) -> str:
    return "holds" if holds else "DOES NOT HOLD"


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        main()

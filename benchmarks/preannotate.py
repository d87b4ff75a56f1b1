"""Pre-annotation of photographs: images a second, beside ultralytics' own prediction of a folder at its best.

Claim: 1.2 times the peer's best setting, on the same files and the same weights.
Run: python benchmarks/preannotate.py [COUNT]     (default 48; --quick is 4 small ones, one round)

Images of the demo are enlarged to JPEGs of 1920 x 1080. In turn, in five rounds: ultralytics'
`predict(folder, stream=True)` with batches of 1, 8 and 16; ours, with JPEGs decoded at the scale the model
needs, and with `exact_decode`. The limit has nothing of ours in it: the processor's seconds that libjpeg
takes to decode the files at that scale and PyTorch to run the network on the finished batches, spread over
all cores. Prints medians, and each as a multiple of the peer's best in the same round.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workflow.guesses.annotate import BATCH, annotate_all
from workflow.models.chain import Chain
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog
from workflow.records import ImageRecord
from workflow.running.cores import cores
from workflow.stages import catalog, preannotate

REPOSITORY = Path(__file__).parents[1]
IMAGE_SIZE = 384
PEER = "ultralytics"
BATCHES = (1, 8, 16)


def main() -> None:
    quick = "--quick" in sys.argv
    count = 4 if quick else int([*sys.argv[1:], "48"][0])
    with tempfile.TemporaryDirectory() as folder:
        project = drawn(Path(folder), count, (320, 180) if quick else (1920, 1080))
        records = read_catalog(project.catalog)
        ways = ours(project, records) | peers(project)
        rates = measure(ways, len(records), 1 if quick else 5)
        decode, forward = limit_seconds(project, records)
    print(f"{count} images on {cores()} cores, {IMAGE_SIZE} pixels to the network; load {load()}")
    theirs = [values for name, values in rates.items() if name.startswith(PEER)]
    best = [max(values) for values in zip(*theirs, strict=True)]
    for name, values in rates.items():
        ratios = [rate / other for rate, other in zip(values, best, strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        rate = statistics.median(values)
        print(f"{name:24} {rate:6.1f} images/s  {middle:.2f} of the peer's best ({low:.2f} to {high:.2f})")
    limit = cores() / (decode + forward)
    rate = statistics.median(rates["ours"])
    print(f"{'limit':24} {limit:6.1f} images/s: ours is {rate / limit:.2f} of it; of the processor an image")
    print(f"takes {1000 * decode:.1f} ms to decode and {1000 * forward:.1f} ms in the network")


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def drawn(folder: Path, count: int, size: tuple[int, int]) -> Project:
    """The zip codes' project and base model, with drawn envelopes of a photograph's size, catalogued."""
    place = folder / "projects" / "zipcodes"
    shutil.copytree(
        REPOSITORY / "projects" / "zipcodes", place, ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    project = load_project(place)
    project.images.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        # Smooth, and with the grain of a sensor, so that it compresses as photographs do.
        coarse = random.integers(0, 255, (12, 20, 3)).astype(np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=float)
        grain = random.normal(0, 6, (size[1], size[0], 1))
        pixels = (picture + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(project.images / f"sender-{number}.jpg", quality=90)
    catalog.run(project)
    return project


def ours(project: Project, records: list[ImageRecord]) -> dict[str, Callable[[], None]]:
    """As `workflow preannotate` asks, but that nothing is written down."""
    asked = project.settings.preannotate.model_copy(update={"image_size": IMAGE_SIZE})

    def way(exact: bool) -> Callable[[], None]:
        images = project.settings.images.model_copy(update={"exact_decode": exact})
        settings = project.settings.model_copy(update={"images": images, "preannotate": asked})
        changed = dataclasses.replace(project, settings=settings)
        annotator: Chain = preannotate.load(changed, "cpu")

        def run() -> None:
            parts = annotate_all(annotator, changed, records, changed.settings.labels, BATCH)
            assert sum(len(part) for part, _ in parts) == len(records)

        return run

    return {"ours": way(exact=False), "ours, exact_decode": way(exact=True)}


def weights(project: Project) -> Path:
    return project.folder / project.settings.preannotate.models[0].partition(":")[2]


def peers(project: Project) -> dict[str, Callable[[], None]]:
    from ultralytics import YOLO

    model = YOLO(weights(project), verbose=False)

    def way(batch: int) -> Callable[[], None]:
        def run() -> None:
            options: dict[str, Any] = {"stream": True, "batch": batch, "imgsz": IMAGE_SIZE, "device": "cpu"}
            for _ in model.predict(str(project.images), verbose=False, conf=0.25, **options):
                pass

        return run

    return {f"{PEER}, batch {batch}": way(batch) for batch in BATCHES}


def measure(ways: dict[str, Callable[[], None]], count: int, rounds: int) -> dict[str, list[float]]:
    """Images a second of each way, a value a round, after one that warms up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number:
                rates[name].append(count / (time.perf_counter() - start))
    return rates


def limit_seconds(project: Project, records: list[ImageRecord]) -> tuple[float, float]:
    """The processor's seconds an image: libjpeg's reduced decode, and the network on finished batches."""
    import torch
    from ultralytics import YOLO

    start = time.process_time()
    for record in records:
        with Image.open(project.data / "images" / record.path) as image:
            image.draft("RGB", (IMAGE_SIZE, IMAGE_SIZE))
            image.load()
    decode = (time.process_time() - start) / len(records)
    model: Any = YOLO(weights(project), verbose=False).model
    network = model.eval().fuse(verbose=False)
    # As letterboxing makes of 16 by 9: the shorter side in steps of 32.
    batch = torch.zeros(BATCH, 3, 224, IMAGE_SIZE)
    with torch.inference_mode():
        network(batch)
        start = time.process_time()
        for _ in range(4):
            network(batch)
    return decode, (time.process_time() - start) / (4 * BATCH)


if __name__ == "__main__":
    main()

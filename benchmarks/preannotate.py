"""How near pre-annotation comes to its limit: the model alone, on images that are already decoded.

Claim: decoding hides behind inference, so that reading files costs little of the rate.
Run: python benchmarks/preannotate.py [PROJECT]     (a project whose images are catalogued; default zipcodes)
     python benchmarks/preannotate.py --quick       (a few drawn images, one round: does it run?)

Its first 32 images are enlarged to photographs' size, 1920 pixels wide. Prints images a second of three
ways over them, turn by turn in one run, and the ratios round by round: the limit (no decoding), ours
(files, decoded ahead), and one after the other (decode, then infer).
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from workflow.guesses.annotate import BATCH, annotate_all
from workflow.images import decode
from workflow.models import Annotator
from workflow.project.paths import Project, find_project, load_project
from workflow.project.rows import read_catalog
from workflow.records import ImageRecord
from workflow.stages import catalog, preannotate

REPOSITORY = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured: images of a width in pixels, and rounds."""

    count: int = 32
    width: int = 1920
    rounds: int = 7


def main() -> None:
    quick = "--quick" in sys.argv
    scale = Scale(count=4, width=320, rounds=1) if quick else Scale()
    with tempfile.TemporaryDirectory() as folder:
        project = drawn(Path(folder), scale) if quick else named()
        annotator = preannotate.load(project, "auto")
        rates = measure(project, annotator, Path(folder), scale)
        annotator.close()
    print(f"{scale.count} images {scale.width} pixels wide, batches of {BATCH}, {scale.rounds} rounds")
    for name, values in rates.items():
        ratios = [rate / limit for rate, limit in zip(values, rates["limit"], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        rate = statistics.median(values)
        print(f"  {name:<8} {rate:6.1f} images/s  {middle:.2f} of the limit ({low:.2f} to {high:.2f})")


def named() -> Project:
    return load_project(find_project(sys.argv[1] if len(sys.argv) > 1 else "zipcodes", Path.cwd()))


def drawn(folder: Path, scale: Scale) -> Project:
    """The zip codes' project and base model, with random images, catalogued."""
    place = folder / "projects" / "zipcodes"
    shutil.copytree(
        REPOSITORY / "projects" / "zipcodes", place, ignore=shutil.ignore_patterns("data", "__pycache__")
    )
    project = load_project(place)
    project.images.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(scale.count):
        pixels = random.integers(0, 255, (64, 96, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(project.images / f"sender-{number}.png")
    catalog.run(project)
    return project


def measure(project: Project, annotator: Annotator, folder: Path, scale: Scale) -> dict[str, list[float]]:
    """Images a second of each way, a value a round."""
    records = read_catalog(project.catalog)[: scale.count]
    records = [enlarged(project, record, folder, scale.width) for record in records]
    classes = project.settings.classes
    paths = [Path(record.path) for record in records]
    decoded = [decode.from_file(path) for path in paths]
    place = project.settings.images.model_copy(update={"folder": str(folder)})
    large = dataclasses.replace(project, settings=project.settings.model_copy(update={"images": place}))

    def limit() -> None:
        for start in range(0, len(records), BATCH):
            part = decoded[start : start + BATCH]
            annotator.annotate(part, [()] * len(part), classes)

    def ours() -> None:
        for _ in annotate_all(annotator, large, records, classes):
            pass

    def in_turn() -> None:
        for start in range(0, len(records), BATCH):
            part = [decode.from_file(path) for path in paths[start : start + BATCH]]
            annotator.annotate(part, [()] * len(part), classes)

    ways: dict[str, Callable[[], None]] = {"limit": limit, "ours": ours, "in turn": in_turn}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    limit()  # warm up
    for _ in range(scale.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(len(records) / (time.perf_counter() - start))
    return rates


def enlarged(project: Project, record: ImageRecord, folder: Path, width: int) -> ImageRecord:
    picture = Image.fromarray(decode.from_file(project.image_path(record.path)))
    path = folder / f"{record.id}.jpg"
    height = width * picture.height // picture.width
    picture.resize((width, height)).save(path, quality=90)
    return dataclasses.replace(record, path=str(path), width=width, height=height)


if __name__ == "__main__":
    main()

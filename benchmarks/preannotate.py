"""How near pre-annotation comes to its limit: the model alone, on images that are already decoded.

Claim: decoding hides behind inference, so that reading files costs little of the rate.
Run: python benchmarks/preannotate.py [PROJECT]     (a project whose images are catalogued; default zipcodes)

Its first 32 images are enlarged to photographs' size, 1920 pixels wide. Prints images a second of three
ways over them, turn by turn in one run, and the ratios round by round: the limit (no decoding), ours
(files, decoded ahead), and one after the other (decode, then infer).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from workflow import models
from workflow.guesses.annotate import BATCH, annotate_all
from workflow.images import decode
from workflow.project.paths import Project, find_project, load_project
from workflow.project.rows import read_catalog
from workflow.records import ImageRecord

ROUNDS = 7
COUNT = 32
WIDTH = 1920


def main() -> None:
    project = load_project(find_project(sys.argv[1] if len(sys.argv) > 1 else "zipcodes", Path.cwd()))
    settings = project.settings.preannotate
    annotator = models.load(
        settings.model, project.folder, threshold=settings.threshold, image_size=settings.image_size
    )
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(project, annotator, Path(folder))
    annotator.close()
    print(f"{COUNT} images {WIDTH} pixels wide, batches of {BATCH}, {ROUNDS} rounds")
    for name, found in rates.items():
        ratios = [rate / limit for rate, limit in zip(found, rates["limit"], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        rate = statistics.median(found)
        print(f"  {name:<8} {rate:6.1f} images/s  {middle:.2f} of the limit ({low:.2f} to {high:.2f})")


def measure(project: Project, annotator: models.Annotator, folder: Path) -> dict[str, list[float]]:
    """Images a second of each way, a value a round."""
    records = [enlarged(project, record, folder) for record in read_catalog(project.catalog)[:COUNT]]
    classes = project.settings.classes
    paths = [Path(record.path) for record in records]
    decoded = [decode.from_file(path) for path in paths]
    place = project.settings.images.model_copy(update={"folder": str(folder)})
    large = dataclasses.replace(project, settings=project.settings.model_copy(update={"images": place}))

    def limit() -> None:
        for start in range(0, COUNT, BATCH):
            part = decoded[start : start + BATCH]
            annotator.annotate(part, [()] * len(part), classes)

    def ours() -> None:
        for _ in annotate_all(annotator, large, records, classes):
            pass

    def in_turn() -> None:
        for start in range(0, COUNT, BATCH):
            part = [decode.from_file(path) for path in paths[start : start + BATCH]]
            annotator.annotate(part, [()] * len(part), classes)

    ways: dict[str, Callable[[], None]] = {"limit": limit, "ours": ours, "in turn": in_turn}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    limit()  # warm up
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(COUNT / (time.perf_counter() - start))
    return rates


def enlarged(project: Project, record: ImageRecord, folder: Path) -> ImageRecord:
    picture = Image.fromarray(decode.from_file(project.image_path(record.path)))
    path = folder / f"{record.id}.jpg"
    picture.resize((WIDTH, WIDTH * picture.height // picture.width)).save(path, quality=90)
    return dataclasses.replace(record, path=str(path))


if __name__ == "__main__":
    main()

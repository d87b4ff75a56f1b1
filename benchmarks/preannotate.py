"""How near pre-annotation comes to its limit: the model alone, on images that are already decoded.

Claim: decoding hides behind inference, so that reading files costs under a quarter of the rate.
Run: python benchmarks/preannotate.py [PROJECT]     (a project whose images are catalogued; default zipcodes)

Prints images a second of three ways over the same images in one run, turn by turn, and their ratios:
the limit (no decoding), ours (files, decoded ahead), and one after the other (decode, then infer).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from workflow import images, models
from workflow.project import find_project, load_project
from workflow.stages.preannotate import BATCH, annotate_all
from workflow.store import read_catalog

ROUNDS = 5


def main() -> None:
    project = load_project(find_project(sys.argv[1] if len(sys.argv) > 1 else "zipcodes", Path.cwd()))
    records = read_catalog(project.catalog)[:96]
    settings = project.settings.preannotate
    classes = project.settings.classes
    annotator = models.load(
        settings.model, project.folder, threshold=settings.threshold, image_size=settings.image_size
    )
    paths = [project.image_path(r.path) for r in records]
    decoded = [images.load(path) for path in paths]

    def limit() -> None:
        for start in range(0, len(decoded), BATCH):
            part = decoded[start : start + BATCH]
            annotator.annotate(part, [()] * len(part), classes)

    def ours() -> None:
        for _ in annotate_all(annotator, project, records, classes):
            pass

    def in_turn() -> None:
        for start in range(0, len(paths), BATCH):
            part = [images.load(path) for path in paths[start : start + BATCH]]
            annotator.annotate(part, [()] * len(part), classes)

    limit()  # warm up
    rates: dict[str, list[float]] = {"limit": [], "ours": [], "in turn": []}
    ways: dict[str, Callable[[], None]] = {"limit": limit, "ours": ours, "in turn": in_turn}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(len(records) / (time.perf_counter() - start))
    annotator.close()
    best = statistics.median(rates["limit"])
    print(f"{len(records)} images, batches of {BATCH}, median of {ROUNDS} rounds")
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"  {name:<8} {rate:6.1f} images/s  {rate / best:.2f} of the limit")


if __name__ == "__main__":
    main()

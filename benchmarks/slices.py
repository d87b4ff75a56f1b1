"""Small objects on large canvases: what slices bring, and what they cost.

Claim: with slices the digits are found that the same model does not see in the whole image.
Run: python benchmarks/slices.py [COUNT]     (default 12; --quick is one small canvas)

The demo's envelopes, with handwritten digits of some 35 pixels, lie on canvases of 2304 x 1536 pixels, 16 on
each, so that slices cut them as they fall. The demo's base model, trained at 384 pixels, is asked three ways:
about the whole canvas at 384 pixels, about the whole at 2304 pixels, which is another thing to try, and in
slices of 384 pixels that share 0.2 of a side. Prints AP and recall at IoU 0.5, and images a second, decoding
aside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workflow.images import decode
from workflow.metrics.detection import DetectionMetrics, detection_metrics
from workflow.models import Guesses, Options, Pixels
from workflow.models.chain import load_chain
from workflow.project.settings import Slices
from workflow.records import Annotation, Provenance
from workflow.schema import Schema

REPOSITORY = Path(__file__).parents[1]
ZIPCODES = REPOSITORY / "projects" / "zipcodes"
CLASSES = tuple("0123456789")
SIZE = 384
DESK = (96, 104, 112)
Canvases = list[tuple[Pixels, list[Annotation]]]
TRUTH = Provenance("person", "the pen")


def main() -> None:
    quick = "--quick" in sys.argv
    count = 1 if quick else int([*sys.argv[1:], "12"][0])
    rows, columns = (2, 2) if quick else (4, 4)
    with tempfile.TemporaryDirectory() as folder:
        canvases = drawn(Path(folder), count, rows, columns)
    height, width = canvases[0][0].shape[:2]
    print(f"{count} canvases of {width} x {height} pixels, slices of {SIZE}; load {os.getloadavg()[0]:.1f}")
    ways = {
        f"whole at {SIZE}": Options(image_size=SIZE),
        f"whole at {width}": Options(image_size=width),
        "slices": Options(image_size=SIZE, slices=Slices(size=SIZE, overlap=0.2)),
    }
    for name, options in ways.items():
        metrics, rate = measured(options, canvases)
        recalls = [row["recall"] or 0.0 for row in metrics.per_class.values() if row["truths"]]
        ap = f"AP50 {metrics.map50 or 0:.3f}, AP50-95 {metrics.map50_95 or 0:.3f}"
        print(f"{name:16} {ap}, recall {np.mean(recalls):.3f}, {rate:.2f} images/s")


def drawn(folder: Path, count: int, rows: int, columns: int) -> Canvases:
    """Canvases, each with its digits, of envelopes that lie in rows and columns, askew by some pixels."""
    command = [sys.executable, str(ZIPCODES / "draw.py"), "--out", str(folder)]
    envelopes = count * rows * columns
    subprocess.run([*command, "--count", str(envelopes)], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "truth" / "truth.jsonl").read_text().splitlines()]
    random = np.random.default_rng(0)
    canvases = []
    for first in range(0, envelopes, rows * columns):
        canvas: NDArray[np.uint8] = np.full((rows * SIZE, columns * 576, 3), DESK, np.uint8)
        digits: list[Annotation] = []
        for place, line in enumerate(lines[first : first + rows * columns]):
            picture = decode.from_file(folder / "images" / line["file"])
            row, column = divmod(place, columns)
            x = column * 576 + int(random.integers(0, 576 - picture.shape[1] + 1))
            y = row * SIZE + int(random.integers(0, SIZE - picture.shape[0] + 1))
            canvas[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
            for a in line["annotations"]:
                x1, y1, x2, y2 = a["box"]
                digits.append(Annotation(a["label"], TRUTH, box=(x1 + x, y1 + y, x2 + x, y2 + y)))
        canvases.append((canvas, digits))
    return canvases


def measured(options: Options, canvases: Canvases) -> tuple[DetectionMetrics, float]:
    """How well the model finds the digits, and how many canvases a second, after one that warms up."""
    asked = replace(options, threshold=0.01, device="cpu", one_label_a_place=True)
    found: dict[str, Guesses] = {}
    with closing(load_chain(["ultralytics:base/printed-digits.pt"], ZIPCODES, None, asked)) as annotator:
        annotator.annotate([canvases[0][0]], [()], CLASSES)
        start = time.perf_counter()
        for number, (canvas, _) in enumerate(canvases):
            found[str(number)] = annotator.annotate([canvas], [()], CLASSES)[0]
        rate = len(canvases) / (time.perf_counter() - start)
    sizes = {str(n): (canvas.shape[1], canvas.shape[0]) for n, (canvas, _) in enumerate(canvases)}
    truth = {str(n): digits for n, (_, digits) in enumerate(canvases)}
    schema = Schema.of("detection", CLASSES)
    return detection_metrics(schema, sizes, truth, {k: list(v) for k, v in found.items()}), rate


if __name__ == "__main__":
    main()

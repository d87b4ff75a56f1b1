"""Other tools' formats: seconds to export and to import 20,000 images, and that these grow as the images do.

Claim: nothing is quadratic, so a tenth of the images takes about a tenth of the time.
Run: python benchmarks/formats.py [COUNT]     (default 20000; --quick is 200)

Images are 16 x 16 pixels, so that what is measured is our own work and the disk's. Prints a line a format:
seconds to export and to import all images, and for each the processor's time as a multiple of that for a
tenth of them, which is 10 or less where a cost is linear.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from workflow.commands import export, import_
from workflow.formats.page import FORMATS
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.shapes import masks
from workflow.stages import catalog
from workflow.tasks import TaskName

SIDE = 16
CLASSES = ("cat", "dog", "owl")
ME = Provenance("person", "1")
MEASURED: dict[str, TaskName] = {
    **{name: "detection" for name, row in FORMATS.items() if "detection" in row.tasks},
    "csv": "classification",
    "folder": "classification",
    "masks": "semantic-segmentation",
}


def main() -> None:
    count = 200 if "--quick" in sys.argv else int([*sys.argv[1:], "20000"][0])
    print(f"{'seconds':24} {'export':>8} {'ratio':>6} {'import':>8} {'ratio':>6}     of {count} images")
    with tempfile.TemporaryDirectory() as folder:
        for name, task in MEASURED.items():
            few = measure(Path(folder), name, task, count // 10)
            many = measure(Path(folder), name, task, count)
            (out, more), (back, again) = ((m[0], m[1] / f[1]) for m, f in zip(many, few, strict=True))
            print(f"{name:24} {out:8.2f} {more:6.1f} {back:8.2f} {again:6.1f}", flush=True)


Seconds = tuple[float, float]


def measure(root: Path, name: str, task: TaskName, count: int) -> tuple[Seconds, Seconds]:
    """Seconds, all in all and of the processor, to export `count` images and to import them elsewhere."""
    project = make_project(root / "from", task)
    draw(project.images, count)
    catalog.run(project)
    records = read_catalog(project.catalog)
    samples = [Sample(r.id, "reviewed", tuple(labels(task, number))) for number, r in enumerate(records)]
    write_rows(project.labels, map(sample_to_row, samples))
    other = make_project(root / "to", task)
    target = root / "exported"
    seconds = (
        timed(lambda: export.run(project, name, target)),
        timed(lambda: import_.run(other, name, target, project.images)),
    )
    for made in (root / "from", root / "to", target):
        shutil.rmtree(made) if made.is_dir() else made.unlink()
    return seconds


def make_project(root: Path, task: TaskName) -> Project:
    folder = root / "projects" / "tiny"
    (folder / "data" / "images").mkdir(parents=True)
    text = f'name = "tiny"\ntitle = "Tiny"\ntask = "{task}"\nclasses = {list(CLASSES)}\n'
    (folder / "project.toml").write_text(text)
    return load_project(folder)


def draw(folder: Path, count: int) -> None:
    """Images in ten folders, none like another."""
    for number in range(count):
        path = folder / f"{number % 10}" / f"{number:06}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((SIDE, SIDE, 3), (number % 256, number // 256 % 256, number // 65536), np.uint8)
        Image.fromarray(pixels).save(path)


def labels(task: TaskName, number: int) -> Iterator[Annotation]:
    """One label, or five boxes, or a mask of the same place in each image."""
    label = CLASSES[number % len(CLASSES)]
    if task == "detection":
        for n in range(5):
            yield Annotation(label, ME, box=(n, n, n + 4.5, n + 8.25), id=f"r{n}")
    elif task == "semantic-segmentation":
        pixels = np.zeros((SIDE, SIDE), dtype=bool)
        pixels[2:9, 3:12] = True
        yield Annotation(label, ME, mask=masks.encode(pixels), id="m")
    else:
        yield Annotation(label, ME)


def timed(work: Callable[[], object]) -> Seconds:
    start, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - processor


if __name__ == "__main__":
    main()

"""Growth: time an image and peak memory of each step, at 1,000, 10,000 and 50,000 images of ten labels each.

Claim: an image of many takes as long as one of few.
Run: python benchmarks/growth.py [COUNT ...]     (default 1000 10000 50000; --quick is 20 60)

The images are of 16 x 16 pixels, so that what is measured is our own work; the labels are generated. Each
step is a process of its own. Prints of each step and size the processor's milliseconds an image, less what
the step takes for ten images (starting, importing), the clock's seconds in all, and the peak memory; and last
how much longer an image takes at the largest size than at the one before.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workflow import services
from workflow.commands import history, import_, ledger, status
from workflow.labels.history import restore
from workflow.metrics import Labels, measure
from workflow.project.paths import Project, load_project
from workflow.project.rows import Row, read_catalog, read_samples, write_json, write_rows
from workflow.records import Annotation, Provenance
from workflow.services.mongod import fetch_mongod
from workflow.shown.app import TRUTH, publish
from workflow.stages import catalog, dataset

SIDE, BOXES, FEW = 16, 10, 10
CLASSES = ("cat", "dog", "owl")
TOML = f'name = "growth"\ntitle = "Growth"\ntask = "detection"\nclasses = {list(CLASSES)}\n'
FETCHED = Path(__file__).parents[1] / ".workflow" / "bin" / "mongod"


def main() -> None:
    counts = [int(word) for word in sys.argv[1:] if word.isdigit()]
    counts = counts or ([20, 60] if "--quick" in sys.argv else [1000, 10_000, 50_000])
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        if FETCHED.is_file():
            (state / "bin").mkdir(parents=True)
            shutil.copy2(FETCHED, state / "bin" / "mongod")
        else:
            fetch_mongod(state)
        services.up(state, names=("mongod",), report=lambda _: None)
        try:
            print(f"{'ms an image':12}" + "".join(f"{count:>26}" for count in counts) + f"{'growth':>9}")
            sizes = {count: steps_at(count, Path(folder), state) for count in (FEW, *counts)}
        finally:
            services.down(state, report=lambda _: None)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    for step, few in sizes[FEW].items():
        rates = [(sizes[count][step]["processor"] - few["processor"]) / (count - FEW) for count in counts]
        cells = [
            f"{1000 * rate:8.3f} {sizes[n][step]['clock']:7.1f} s {sizes[n][step]['peak']:5.0f} MB"
            for n, rate in zip(counts, rates, strict=True)
        ]
        growth = f"{rates[-1] / rates[-2]:9.2f}" if len(rates) > 1 and rates[-2] > 0 else f"{'-':>9}"
        print(f"{step:12}" + "".join(f"{cell:>26}" for cell in cells) + growth)


def steps_at(count: int, folder: Path, state: Path) -> dict[str, dict[str, float]]:
    """What each step took with `count` images: processor and clock in seconds, peak in MB."""
    place = folder / f"{count}"
    draw(place, count)
    results = {}
    for step in STEPS:
        command = [sys.executable, __file__, "--step", step, str(place), str(state)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[step] = json.loads(done.stdout.splitlines()[-1])
        print(f"# {count} {step} {results[step]}", file=sys.stderr, flush=True)
    shutil.rmtree(place)
    return results


def take(step: str, place: Path, state: Path) -> None:
    """One step, and what it took."""
    project = load_project(place)
    clock = time.perf_counter()
    STEPS[step](project, state)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Not getrusage's figure: a child process begins with its parent's peak.
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    took = {
        "processor": sum(u.ru_utime + u.ru_stime for u in used),
        "clock": time.perf_counter() - clock,
        "peak": peak / 1024,
    }
    print(json.dumps(took))


def draw(place: Path, count: int) -> None:
    """A project's images, none like another, and their labels as COCO has them."""
    (place / "data" / "images").mkdir(parents=True)
    (place / "project.toml").write_text(TOML)
    chance = random.Random(0)
    images: list[Row] = []
    annotations: list[Row] = []
    for number in range(count):
        path = place / "data" / "images" / f"{number % 100}" / f"{number:06}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.full((SIDE, SIDE, 3), (number % 256, number // 256 % 256, number // 65536), np.uint8)
        Image.fromarray(pixels).save(path, compress_level=1)
        name = f"{number % 100}/{path.name}"
        images.append({"id": number + 1, "file_name": name, "width": SIDE, "height": SIDE})
        for _ in range(BOXES):
            x, y, w, h = chance.random() * 8, chance.random() * 8, 1 + chance.random() * 6, 7.5
            box = {"bbox": [x, y, w, h], "area": w * h, "iscrowd": 0, "id": len(annotations) + 1}
            annotations.append(box | {"image_id": number + 1, "category_id": 1 + chance.randrange(3)})
    classes = [{"id": n, "name": name} for n, name in enumerate(CLASSES, 1)]
    write_json(place / "coco.json", {"images": images, "annotations": annotations, "categories": classes})


def bring_in(project: Project, state: Path) -> None:
    import_.run(project, "coco", project.folder / "coco.json")


def guesses(project: Project) -> tuple[dict[str, tuple[int, int]], dict[str, Any], dict[str, Any]]:
    """Sizes, truth and the guesses of a model, moved a little, of all images."""
    chance = random.Random(1)
    sizes = {record.id: (record.width, record.height) for record in read_catalog(project.catalog)}
    truth = {image: sample.annotations for image, sample in read_samples(project.labels).items()}
    model = Provenance("model", "m")

    def moved(a: Annotation) -> Annotation:
        x1, y1, x2, y2 = a.box or (0, 0, 1, 1)
        step = chance.gauss(0, 0.5)
        return Annotation(a.label, model, box=(x1 + step, y1, x2 + step, y2), score=chance.random())

    return sizes, truth, {image: [moved(a) for a in labels] for image, labels in truth.items()}


def evaluate(project: Project, state: Path) -> None:
    sizes, truth, guessed = guesses(project)
    measure(project.settings.schema, sizes, truth, guessed)


def app(project: Project, state: Path) -> None:
    _, truth, guessed = guesses(project)
    fields: dict[str, Labels] = {TRUTH: truth, "model": guessed}
    environment = services.fiftyone_environment(state)
    records = read_catalog(project.catalog)
    publish("growth", records, fields, project.settings.schema, environment, str(len(records)))


def first_status(project: Project, state: Path) -> None:
    """With a ledger and pushed tasks, as after a pull; what it reads is remembered."""
    chance = random.Random(2)
    images = [record.id for record in read_catalog(project.catalog)]
    write_rows(project.pushed, ({"image": i, "task": n, "versions": ["m"]} for n, i in enumerate(images, 1)))
    write_rows(project.ledger, (ledger_row(i, n, chance) for n, i in enumerate(images, 1)))
    time.sleep(0.05)
    status.describe(project)


def ledger_row(image: str, number: int, chance: random.Random) -> Row:
    def action() -> Row:
        word = chance.choice(("accepted", "moved", "deleted"))
        label = chance.choice(CLASSES)
        row: Row = {"action": word, "label": label, "was": label, "iou": 0.9, "score": chance.random()}
        return row | {"moved": word == "moved", "reshaped": False}

    row: Row = {
        "image": image,
        "annotation": number,
        "task": number,
        "person": "1",
        "at": f"2026-01-{1 + number % 28:02}",
    }
    row |= {"lead_time": chance.uniform(5, 60), "blind": False, "skipped": False, "model": "m@1"}
    return row | {"control": False, "actions": [action() for _ in range(BOXES)]}


def restored(project: Project, state: Path) -> None:
    """Back to the first change."""
    restore(project, 1)


STEPS: dict[str, Callable[[Project, Path], Any]] = {
    "catalog": lambda project, state: catalog.run(project),
    "import": bring_in,
    "dataset": lambda project, state: dataset.run(project),
    "evaluate": evaluate,
    "App": app,
    "status": first_status,
    "status again": lambda project, state: status.describe(project),
    "ledger": lambda project, state: ledger.run(project),
    "history": lambda project, state: history.describe(project),
    "restore": restored,
}


if __name__ == "__main__":
    if "--step" in sys.argv:
        name, folder, state = sys.argv[2:5]
        take(name, Path(folder), Path(state))
    else:
        main()

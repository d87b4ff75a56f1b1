"""FiftyOne: how many samples a second become a dataset with two evaluations, beside what its database takes.

Claim: most of the time goes where none can be saved, and 1,500 samples/s are made on two quiet cores, where
a sample has 7 true boxes and 10 of each of two models.
Run: python benchmarks/app.py [COUNT]     (default 3000; --quick is 60)

In turn, in five rounds (one with --quick), on a MongoDB of its own: `publish`, which measures both models,
writes all documents and both evaluations; and the limit, `insert_many` of the same finished documents into
an empty collection, with nothing of ours in it. FiftyOne's own way, `add_samples` and twice
`evaluate_detections`, is linear and measured on fewer images. Prints medians, in samples a second of the
clock, and of this process's time, which other work on the machine changes less.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow import services
from workflow.metrics import Labels
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.services.mongod import fetch_mongod
from workflow.shown.app import TRUTH, publish

WIDTH, HEIGHT = 1280, 960
CLASSES = tuple(f"class {n}" for n in range(10))
SCHEMA = Schema.of("detection", CLASSES)
TRUTHS, GUESSES = 7, 10
OWN_WAY = 150
FETCHED = Path(__file__).parents[1] / ".workflow" / "bin" / "mongod"


def main() -> None:
    quick = "--quick" in sys.argv
    count = 60 if quick else int([*sys.argv[1:], "3000"][0])
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        start(state)
        try:
            compare(services.fiftyone_environment(state), count, 1 if quick else 5)
        finally:
            services.down(state, report=lambda _: None)


def start(state: Path) -> None:
    """A MongoDB of its own."""
    if FETCHED.is_file():
        (state / "bin").mkdir()
        shutil.copy2(FETCHED, state / "bin" / "mongod")
    else:
        fetch_mongod(state)
    services.up(state, names=("mongod",), report=lambda _: None)


def compare(environment: dict[str, str], count: int, rounds: int) -> None:
    rows, fields = scene(count)
    few = {field: {row.id: labels[row.id] for row in rows[:10]} for field, labels in fields.items()}
    publish("warm", rows[:10], few, SCHEMA, environment, "imports")
    import fiftyone as fo

    table = fo.core.odm.get_db_conn()["the limit"]
    times: dict[str, list[tuple[float, float]]] = {"publish": [], "insert_many": []}
    for number in range(rounds):
        new = (rows, fields, SCHEMA, environment, str(number))
        times["publish"].append(timed(publish, "bench", *new))
        documents = list(fo.load_dataset("bench", reload=True)._sample_collection.find())
        table.drop()
        times["insert_many"].append(timed(table.insert_many, documents, False))
    print(f"{count} samples x ({TRUTHS} + 2 x {GUESSES}), two evaluations; load {os.getloadavg()[0]:.1f}")
    print(f"{'samples/s':24} {'clock':>8} {'process':>8}")
    rates = {}
    for name, pairs in times.items():
        clock, process = (count / statistics.median(column) for column in zip(*pairs, strict=True))
        rates[name] = clock
        print(f"{name:24} {clock:8.0f} {process:8.0f}")
    few_rows = rows[: min(OWN_WAY, count)]
    clock, process = (len(few_rows) / seconds for seconds in timed(own_way, fo, few_rows, fields))
    print(f"{'FiftyOne its own way':24} {clock:8.0f} {process:8.0f}")
    share, times_faster = rates["publish"] / rates["insert_many"], rates["publish"] / clock
    print(f"publish: {share:.2f} of insert_many alone, {times_faster:.0f} times FiftyOne's own way")


def timed(work: Callable[..., Any], *given: Any) -> tuple[float, float]:
    """Seconds of the clock and of this process."""
    clock, process = time.perf_counter(), time.process_time()
    work(*given)
    return time.perf_counter() - clock, time.process_time() - process


def own_way(fo: Any, rows: list[ImageRecord], fields: dict[str, Labels]) -> None:
    """What FiftyOne's documentation says to do."""

    def detections(labels: Any) -> Any:
        made = []
        for a in labels:
            x1, y1, x2, y2 = a.box
            place = [x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]
            made.append(fo.Detection(label=a.label, bounding_box=place, confidence=a.score))
        return fo.Detections(detections=made)

    dataset = fo.Dataset("own way", overwrite=True)
    samples = []
    for row in rows:
        sample = fo.Sample(filepath=row.path, tags=[row.split])
        for field, labels in fields.items():
            sample[field] = detections(labels[row.id])
        samples.append(sample)
    dataset.add_samples(samples)
    for field in ("base", "tuned"):
        dataset.evaluate_detections(
            field, TRUTH, eval_key=f"eval_{field}", classes=list(CLASSES), compute_mAP=True
        )


def scene(count: int) -> tuple[list[ImageRecord], dict[str, Labels]]:
    """Images with random boxes, and two models that find the most, and some that are none."""
    chance = random.Random(0)
    person = Provenance("person", "ann", at="2026-01-02T03:04:05Z")
    rows = [ImageRecord(f"{n:016x}", f"{n}.jpg", WIDTH, HEIGHT, "test") for n in range(count)]
    fields: dict[str, dict[str, list[Annotation]]] = {TRUTH: {}, "base": {}, "tuned": {}}

    def box() -> tuple[float, float, float, float]:
        x, y = chance.uniform(0, WIDTH - 200), chance.uniform(0, HEIGHT - 200)
        return x, y, x + chance.uniform(20, 200), y + chance.uniform(20, 200)

    for row in rows:
        truth = [Annotation(chance.choice(CLASSES), person, box=box(), id=f"t{n}") for n in range(TRUTHS)]
        fields[TRUTH][row.id] = truth
        for model, shift in (("base", 15.0), ("tuned", 5.0)):
            maker = Provenance("model", model, "r1")
            guesses = []
            for n in range(GUESSES):
                if n < TRUTHS:
                    x1, y1, x2, y2 = truth[n].box or box()
                    dx, dy = chance.gauss(0, shift), chance.gauss(0, shift)
                    place, label = (x1 + dx, y1 + dy, x2 + dx, y2 + dy), truth[n].label
                else:
                    place, label = box(), chance.choice(CLASSES)
                guesses.append(Annotation(label, maker, box=place, score=chance.random(), id=f"g{n}"))
            fields[model][row.id] = guesses
    return rows, dict(fields)


if __name__ == "__main__":
    main()

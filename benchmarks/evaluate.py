"""All numbers of detection and their intervals, beside FiftyOne's evaluation; and whether the intervals hold.

Claim: all numbers take a fiftieth of the time of FiftyOne's `evaluate_detections(compute_mAP=True)`, with the
interval of 1,000 draws less than three times as long as without, and an interval of 95 % holds the true
score in 93 to 97 of 100 cases.
Run: python benchmarks/evaluate.py [COUNT]     (default 5000; --quick is 60)

Images have 7 true boxes and 10 guesses. In one run, medians of three rounds (one with --quick): ours, all
numbers; the same and the score's interval; and FiftyOne's on a MongoDB of its own, which is linear and is
timed on fewer images. Then sets of 100 images are drawn from one population, whose score is known from very
many of them, and it is counted how often the interval of a set holds it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from app import CLASSES, HEIGHT, OWN_WAY, SCHEMA, TRUTH, WIDTH, Labels, scene, start, timed

from workflow import services
from workflow.metrics import measure, weigh
from workflow.metrics.compare import confidence
from workflow.metrics.evidence import Evidence, Objects
from workflow.metrics.resampling import draw, interval
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema

SET = 100


def main() -> None:
    quick = "--quick" in sys.argv
    count = 60 if quick else int([*sys.argv[1:], "5000"][0])
    rows, fields = scene(count)
    with tempfile.TemporaryDirectory() as folder:
        start(Path(folder))
        try:
            theirs = fiftyone_seconds(services.fiftyone_environment(Path(folder)), rows, fields)
        finally:
            services.down(Path(folder), report=lambda _: None)
    sizes = {row.id: (WIDTH, HEIGHT) for row in rows}
    given = (SCHEMA, sizes, fields[TRUTH], fields["tuned"])
    groups = sorted(sizes)
    numbers, both = [], []
    for _ in range(1 if quick else 3):
        numbers.append(timed(measure, *given)[0])
        both.append(timed(lambda: confidence(weigh(*given)[1], groups))[0])
    ours, sure = statistics.median(numbers), statistics.median(both)
    print(f"{count} images x 7 x 10, seconds; load {os.getloadavg()[0]:.1f}")
    print(f"all numbers                  {ours:8.2f}")
    print(f"with the score's interval    {sure:8.2f}   {sure / ours:.1f} times")
    print(f"FiftyOne's evaluation        {theirs * count:8.2f}   {theirs * count / ours:.0f} times")
    held, sets = coverage(20 if quick else 1000, 500 if quick else 20_000, 50 if quick else 400)
    print(f"an interval of 95 % holds the true score in {held} of {sets} sets of {SET} images")


def fiftyone_seconds(
    environment: dict[str, str], rows: list[ImageRecord], fields: dict[str, Labels]
) -> float:
    """Seconds an image that FiftyOne takes to evaluate one model."""
    os.environ.update(environment)
    import fiftyone as fo

    def detections(labels: Any) -> Any:
        made = []
        for a in labels:
            x1, y1, x2, y2 = a.box
            place = [x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT]
            made.append(fo.Detection(label=a.label, bounding_box=place, confidence=a.score))
        return fo.Detections(detections=made)

    dataset = fo.Dataset("evaluated", overwrite=True)
    few = rows[: 4 * OWN_WAY]
    dataset.add_samples(
        [
            fo.Sample(filepath=row.path, **{name: detections(side[row.id]) for name, side in fields.items()})
            for row in few
        ],
        progress=False,
    )

    def evaluate() -> None:
        dataset.evaluate_detections(
            "tuned", TRUTH, eval_key="tuned", classes=list(CLASSES), compute_mAP=True, progress=False
        )

    return timed(evaluate)[0] / len(few)


def coverage(sets: int, population: int, draws: int) -> tuple[int, int]:
    """How many of so many sets of images have an interval that holds the score of their population."""
    evidence = weigh(*population_of(population))[1]
    assert isinstance(evidence, Objects)
    once = np.ones((1, population), dtype=np.int32)
    true = float(evidence.scores(once)[0][0])
    chance = np.random.default_rng(2)
    held = 0
    for number in range(sets):
        chosen = np.zeros(population, dtype=bool)
        chosen[chance.choice(population, SET, replace=False)] = True
        held += _holds(evidence.within(chosen), true, number, draws)
    return held, sets


def population_of(count: int) -> tuple[Any, ...]:
    """Images, easy and hard ones, and a model whose score tells something of whether it is right."""
    chance = np.random.default_rng(1)
    schema, model = Schema.of("detection", CLASSES[:3]), Provenance("model", "m")
    truth: dict[str, list[Annotation]] = {}
    guesses: dict[str, list[Annotation]] = {}
    for number in range(count):
        image, ease = f"{number:06}", chance.beta(5, 2)
        truth[image], guesses[image] = [], []
        for _ in range(chance.integers(1, 5) + chance.poisson(0.7)):
            x, y = chance.uniform(0, 400, 2).tolist()
            label = CLASSES[chance.integers(3)]
            there, shift = chance.random() < 0.8, chance.normal(0, 4)
            if there:
                truth[image].append(Annotation(label, model, box=(x, y, x + 50, y + 50)))
            if not there or chance.random() < ease:
                score = float(chance.beta(5, 2) if there else chance.beta(2, 4))
                box = (x + shift, y, x + 50 + shift, y + 50)
                guesses[image].append(Annotation(label, model, box=box, score=score))
    return schema, dict.fromkeys(truth, (WIDTH, HEIGHT)), truth, guesses


def _holds(evidence: Evidence, true: float, seed: int, draws: int) -> bool:
    value = float(evidence.scores(np.ones((1, SET), dtype=np.int32))[0][0])
    found = interval(value, evidence.scores(draw([str(n) for n in range(SET)], draws, seed))[0])
    return found.low is not None and found.high is not None and found.low <= true <= found.high


if __name__ == "__main__":
    main()

"""FiftyOne: how many samples a second become a dataset with two evaluations, beside what its database takes.

Claim: 1,500 samples/s and more, where a sample has 7 true boxes and 10 of each of two models.
Run: python benchmarks/app.py [COUNT]     (default 3000; --quick is 60)

One run, on a MongoDB of its own: `publish` in five rounds, and in turn with it the limit, which is
`insert_many` of the same documents into an empty collection with nothing of ours in it. FiftyOne's own way, `add_samples` and
`evaluate_detections`, is measured on fewer images, as it is linear. Prints medians.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from workflow import services
from workflow.metrics import Labels
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.services.mongod import fetch_mongod
from workflow.shown.app import TRUTH, publish

WIDTH, HEIGHT = 1280, 960
CLASSES = tuple(f"class {n}" for n in range(10))
TRUTHS, GUESSES = 7, 10
OWN_WAY = 200


def scene(count: int) -> tuple[list[ImageRecord], dict[str, Labels]]:
    """Images with random boxes, and two models that find most of them, a little beside, and some that are none."""
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

"""Random boxes that crowd: ties of score and of overlap, several candidates for one truth, empty images."""

import random
from dataclasses import dataclass

from workflow.records import Annotation, Provenance

PERSON, MODEL = Provenance("person", "ann"), Provenance("model", "m")
SIDE = 200


@dataclass(frozen=True)
class Crowd:
    sizes: dict[str, tuple[int, int]]
    truth: dict[str, list[Annotation]]
    predicted: dict[str, list[Annotation]]
    classes: list[str]


def crowd(seed: int, images: int | None = None, unscored: bool = True) -> Crowd:
    """One of many: on a coarse grid or not, scores of one digit, or some without, one class or five."""
    chance = random.Random(seed)
    cells, rounding = chance.choice([0, 3, 6]), chance.choice([0, 1, 2])
    classes = [f"c{n}" for n in range(chance.choice([1, 3, 5]))]
    ids = [f"i{chance.random():.6f}" for _ in range(images or chance.choice([1, 5, 30]))]

    def box() -> tuple[float, float, float, float]:
        if cells:
            x, y = chance.randrange(cells) * 10.0, chance.randrange(cells) * 10.0
            return x, y, x + chance.choice([10, 20, 30]), y + chance.choice([10, 20, 40])
        x, y = chance.uniform(0, 90), chance.uniform(0, 90)
        return x, y, x + chance.uniform(1, 60), y + chance.uniform(1, 60)

    def score() -> float | None:
        if unscored and rounding == 0 and chance.random() < 0.3:
            return None
        return round(chance.random(), 1) if rounding == 1 else chance.random()

    def guess(true: list[Annotation]) -> Annotation:
        if true and chance.random() < 0.6:
            near = chance.choice(true)
            spread = chance.choice([0, 0, 1, 5])
            place = tuple(v + chance.gauss(0, spread) for v in near.box or box())
            if place[2] > place[0] and place[3] > place[1]:
                label = near.label if chance.random() < 0.8 else chance.choice(classes)
                return Annotation(label, MODEL, box=place, score=score())
        return Annotation(chance.choice(classes), MODEL, box=box(), score=score())

    used = classes[: max(1, len(classes) - chance.randrange(2))]
    truth = {
        i: [Annotation(chance.choice(used), PERSON, box=box()) for _ in range(chance.randrange(7))]
        for i in ids
        if chance.random() < 0.9
    }
    predicted = {
        i: [guess(truth.get(i, [])) for _ in range(chance.randrange(13))]
        for i in ids
        if chance.random() < 0.9
    }
    return Crowd(dict.fromkeys(ids, (SIDE, SIDE)), truth, predicted, classes)

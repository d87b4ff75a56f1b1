"""Rows of a ledger as `workflow pull` writes them, some of them drawn at random."""

from __future__ import annotations

import random
from typing import Any

Row = dict[str, Any]
ROUNDS = ("yolo11n@1f2e3d4c", "run:second@5a6b7c8d")


def action(word: str, label: str | None, was: str | None = None, score: float | None = None) -> Row:
    """One action; `was` is `label` where nothing else is said."""
    was = None if word == "added" else was or label
    now = None if word == "deleted" else label
    return {
        "action": word,
        "label": now,
        "was": was,
        "iou": 0.0 if None in (was, now) else 0.9,
        "score": score,
        "moved": word == "moved",
        "reshaped": word == "reshaped",
    }


def row(number: int, *actions: Row, **more: Any) -> Row:
    """One decision on image `number`, on the guesses of a first model unless `more` says otherwise."""
    known: Row = {
        "image": f"image-{number:04}",
        "task": number,
        "annotation": number,
        "person": "ann",
        "at": f"2026-01-02T10:{number // 60:02}:{number % 60:02}Z",
        "lead_time": 4.0,
        "split": "train",
        "model": ROUNDS[0],
        "blind": False,
        "control": False,
        "skipped": False,
        "actions": list(actions),
    }
    return known | more


def realistic(classes: tuple[str, ...], count: int = 300, seed: int = 0) -> list[Row]:
    """Two rounds and two people; sure guesses are mostly right, the second model is surer."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        late = number >= count // 2
        blind = number % 5 == 0
        found = [_guess(rng, classes, late) for _ in range(rng.randint(1, 6))]
        actions = [a for a in found if not blind or a["label"]]
        if blind:
            actions = [action("added", a["label"]) for a in actions]
        probed = {"probes": [{"id": "probe-0", "caught": rng.random() < 0.85}]} if number % 12 == 7 else {}
        seconds = rng.lognormvariate(0, 0.4) * (2 + sum(_SECONDS[a["action"]] for a in actions))
        more = {"blind": blind, "control": number % 10 == 0, "split": "test" if number % 10 == 5 else "train"}
        more |= {"person": rng.choice(("ann", "bob")), "lead_time": round(seconds, 2)}
        more["model"] = "" if blind else ROUNDS[late]
        rows.append(row(number, *actions, **more, **probed))
    return rows


_SECONDS = {"accepted": 0, "moved": 3, "relabelled": 2, "deleted": 1, "added": 5}


def _guess(rng: random.Random, classes: tuple[str, ...], late: bool) -> Row:
    label, score = rng.choice(classes), round(rng.betavariate(4 if late else 2, 2), 4)
    if rng.random() < (0.05 if late else 0.15):
        return action("added", label)
    if rng.random() < score:
        return action(rng.choices(("accepted", "moved"), (4, 1))[0], label, score=score)
    if rng.random() < 0.3:
        return action("relabelled", label, rng.choice([c for c in classes if c != label]), score)
    return action("deleted", label, score=score)

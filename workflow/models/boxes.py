"""From a model's own classes and raw boxes to guesses in the project's words, inside the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from workflow.errors import ModelError
from workflow.models import Guesses
from workflow.records import Annotation, Provenance
from workflow.schema import CaseMatch
from workflow.tasks import TASKS

# Below this a box is more likely wrong than right, unless somebody says otherwise.
THRESHOLD = 0.25
# Of two boxes that overlap more than this, one is a second look at the same object.
SAME_PLACE = 0.7


def usual_threshold(task: str | None) -> float:
    """The score below which a guess is none where nobody says otherwise; of no task in particular, none."""
    return THRESHOLD if task and TASKS[task].of_objects else 0.0


def known_labels(
    model: str, names: Mapping[int, str], class_map: Mapping[str, str], classes: Sequence[str]
) -> dict[int, str]:
    """The model's class indices that mean a class of the project; ModelError where none does.

    The class map says so, or the name, or else the name but for its case: see `CaseMatch`.
    """
    by_case = case_match(names.values(), class_map, classes)
    mapped = {index: class_map.get(name, by_case.taken.get(name, name)) for index, name in names.items()}
    known = {index: name for index, name in mapped.items() if name in classes}
    if not known:
        some = ", ".join(list(names.values())[:8])
        what = f"model {model!r}: none of its classes ({some}, ...) is one of the project's"
        lines = "; ".join(unclear_lines(by_case))
        raise ModelError(what + (f" ({lines})" if lines else ""), "set preannotate.class_map")
    return known


def case_match(names: Iterable[str], class_map: Mapping[str, str], classes: Sequence[str]) -> CaseMatch:
    """Which of a model's names that the class map leaves alone are a class's but for their case."""
    return CaseMatch.of([name for name in names if name not in class_map], classes)


def unclear_lines(by_case: CaseMatch) -> list[str]:
    """In words, for people: the names that may mean a class, which nobody guesses."""
    return [
        f"its class {name!r} may be {' or '.join(map(repr, fitting))}: set preannotate.class_map"
        for name, fitting in by_case.unclear.items()
    ]


def told(
    model: str, full: Mapping[int, int], by_case: CaseMatch, shown: str = "images"
) -> dict[tuple[str, str], int]:
    """What people are told of a model's guesses: on how many images it gave as many as it can, by that
    number, and which of its names are taken for a class."""
    counts = {
        (f"{model} gave {limit} guesses, the most it can, on ", f" {shown}: there may be more objects"): count
        for limit, count in full.items()
    }
    taken = [f"its class {n!r} is taken for {label!r}" for n, label in by_case.taken.items()]
    return counts | {(f"{model}: {line}", ""): 0 for line in (*taken, *unclear_lines(by_case))}


def clip_rows(rows: NDArray, height: int, width: int) -> NDArray:
    """Rows of x1, y1, x2, y2, score, class cut to the image, those left under a pixel dropped, best first."""
    rows = rows.astype(np.float64)
    rows[:, :4] = np.clip(rows[:, :4], 0, [width, height, width, height])
    rows = rows[(rows[:, 2] - rows[:, 0] >= 1) & (rows[:, 3] - rows[:, 1] >= 1)]
    return rows[np.argsort(-rows[:, 4], kind="stable")]


def best_of_each_place(rows: NDArray, across_classes: bool) -> NDArray:
    """Non-maximum suppression of rows that are sorted best first, within each class or across all."""
    import torch
    from torchvision.ops import batched_nms

    boxes, scores = torch.from_numpy(rows[:, :4]), torch.from_numpy(rows[:, 4])
    groups = torch.zeros(len(rows)) if across_classes else torch.from_numpy(rows[:, 5])
    kept = batched_nms(boxes, scores, groups, SAME_PLACE).numpy()
    return rows[np.sort(kept)]


def to_guesses(rows: NDArray, labels: Mapping[int, str], provenance: Provenance) -> Guesses:
    """Annotations of the rows whose class is one of `labels`."""
    return tuple(
        Annotation(labels[int(index)], provenance, box=(x1, y1, x2, y2), score=score)
        for x1, y1, x2, y2, score, index in rows.tolist()
        if int(index) in labels
    )


def without_orphans(annotations: Sequence[Annotation]) -> Guesses:
    """Without what belongs to a region that is not among them: the points of an object that was dropped."""
    ids = {a.id for a in annotations if a.id}
    return tuple(a for a in annotations if not a.parent or a.parent in ids)

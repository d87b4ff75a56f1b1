"""The model of docs/own-model.md; and one a task, that finds a square wherever it looks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny import DIGITS, Case
from workflow.tasks import TASKS, TaskName

DOCUMENT = Path(__file__).parents[2] / "docs" / "own-model.md"

GEOMETRY: dict[str, str] = {
    "classification": "",
    "multilabel-classification": "",
    "oriented-detection": "rotated_box=RotatedBox(20.0, 20.0, 16.0, 8.0, 30.0)",
    "keypoints": "keypoints=((12.0, 12.0),)",
    "instance-segmentation": "mask=masks.encode(ink)",
    "semantic-segmentation": "mask=masks.encode(ink)",
}
EVERYWHERE = """
import numpy as np

from workflow import masks
from workflow.records import Annotation, Provenance, RotatedBox


class Model:
    task = "{task}"
    names = tuple("0123456789")

    def __init__(self, options):
        self.provenance = Provenance("model", "square")

    def annotate(self, images, prior, classes):
        return [[self.guess(image, label) for label in sorted(classes)] for image in images]

    def guess(self, image, label):
        ink = np.zeros(image.shape[:2], dtype=bool)
        ink[8:24, 8:24] = True
        return Annotation(label, self.provenance, score=0.2 + int(label) / 20, {geometry})
"""


def documented() -> str:
    """The Python of the document."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return code


def _save(code: str) -> Callable[[Path], Any]:
    return lambda file: file.write_text(code)


def _everywhere(task: TaskName) -> Case:
    code = EVERYWHERE.format(task=task, geometry=GEOMETRY[task])
    return Case(f"own:tiny/{task}.py", _save(code), task, DIGITS, options={"trust": True})


CASES = (
    Case("own:holes.py", _save(documented()), names=("1", "0", "8"), options={"trust": True}),
    *(_everywhere(task.name) for task in TASKS.values() if task.name in GEOMETRY),
)

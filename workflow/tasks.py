"""What can be labeled: one row a task. Everything that depends on the task looks it up here.

`geometry` is what an annotation of the task has, the first being what models give; none where the label
is of the whole image. `noun` is what people count. `from_tasks` are the tasks whose models will do too,
since their guesses hold what this task wants: the box round a mask, the union of a class's masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workflow.records import Annotation

TaskName = Literal[
    "classification",
    "multilabel-classification",
    "detection",
    "oriented-detection",
    "keypoints",
    "instance-segmentation",
    "semantic-segmentation",
]
# In semantic segmentation, what nobody painted: pixel value 0, no class of a project.
BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class Task:
    name: TaskName
    noun: str
    geometry: tuple[str, ...]
    from_tasks: tuple[TaskName, ...] = ()

    @property
    def of_objects(self) -> bool:
        """Whether an annotation is one object, with a place of its own in the image."""
        return bool(self.geometry) and self.name != "semantic-segmentation"

    def takes(self, annotation: Annotation) -> bool:
        """Whether an annotation is one of this task, by its geometry."""
        return annotation.geometry in self.geometry if self.geometry else not annotation.geometry


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("classification", "labels", (), ("multilabel-classification",)),
        Task("multilabel-classification", "labels", (), ("classification",)),
        Task("detection", "boxes", ("box",), ("oriented-detection", "keypoints", "instance-segmentation")),
        Task("oriented-detection", "rotated boxes", ("rotated_box", "box"), ("detection",)),
        Task("keypoints", "boxes and keypoints", ("box", "keypoints"), ("detection",)),
        Task("instance-segmentation", "masks", ("mask", "polygons")),
        Task("semantic-segmentation", "masks", ("mask",), ("instance-segmentation",)),
    )
}

"""What can be labeled: one row a task. Everything that depends on the task looks it up here.

What does not fit into a row, as who trains a task, stands in a table of its own room, keyed by the task's
name or `kind`; a missing entry raises. `tests/test_tasks.py` goes through all tasks and all tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workflow.errors import ConfigError
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
# What an annotation is of: the whole image, one object in it, or the pixels of a class.
Kind = Literal["labels", "objects", "pixels"]
# In semantic segmentation, what nobody painted: pixel value 0, no class of a project.
BACKGROUND = "background"
# What nobody can tell, an ignored mask of no class of a project: pixel value 255.
VOID_LABEL = "void"
# So many classes have a number of their own in a picture of 8 bits: 0 is background, 255 what is void.
MOST_PAINTED = 254


@dataclass(frozen=True, slots=True)
class Task:
    """One row.

    `geometry` is what an annotation of the task has, the first being what models give; none where the label
    is of the whole image. `noun` is what people count, `one` a single one of it. `pipeline` is the word by
    which the hub sorts models and datasets. `floor` is the score down to which a model is asked when it is
    judged: average precision needs nearly all it says, an image's label all scores; None where the model's
    own threshold decides, as what is painted is judged as it is shown. `from_tasks` are the tasks whose
    models will do too, since their guesses hold what this task wants: the box round a mask, the union of a
    class's masks. With `exclusive` an image has exactly one label; with `points` an object has keypoints
    beside its box.
    """

    name: TaskName
    kind: Kind
    geometry: tuple[str, ...]
    noun: str
    one: str
    pipeline: str
    floor: float | None
    from_tasks: tuple[TaskName, ...] = ()
    exclusive: bool = False
    points: bool = False

    @property
    def of_objects(self) -> bool:
        """Whether an annotation is one object, with a place of its own in the image."""
        return self.kind == "objects"

    def takes(self, annotation: Annotation) -> bool:
        """Whether an annotation is one of this task, by its geometry."""
        return annotation.geometry in self.geometry if self.geometry else not annotation.geometry


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "classification",
            "labels",
            (),
            "labels",
            "a label",
            "image-classification",
            0.0,
            ("multilabel-classification",),
            exclusive=True,
        ),
        Task(
            "multilabel-classification",
            "labels",
            (),
            "labels",
            "a label",
            "image-classification",
            0.0,
            ("classification",),
        ),
        Task(
            "detection",
            "objects",
            ("box",),
            "boxes",
            "a labelled box",
            "object-detection",
            0.01,
            ("oriented-detection", "keypoints", "instance-segmentation"),
        ),
        Task(
            "oriented-detection",
            "objects",
            ("rotated_box", "box"),
            "rotated boxes",
            "a labelled box",
            "object-detection",
            0.01,
            ("detection",),
        ),
        Task(
            "keypoints",
            "objects",
            ("box", "keypoints"),
            "boxes and keypoints",
            "a labelled keypoint",
            "keypoint-detection",
            0.01,
            ("detection",),
            points=True,
        ),
        Task(
            "instance-segmentation",
            "objects",
            ("mask", "polygons"),
            "masks",
            "a labelled mask",
            "image-segmentation",
            0.01,
        ),
        Task(
            "semantic-segmentation",
            "pixels",
            ("mask",),
            "masks",
            "a painted class",
            "image-segmentation",
            None,
            ("instance-segmentation",),
        ),
    )
}


def task_named(name: str) -> Task:
    """The row of a task. ConfigError where there is none of that name."""
    if name not in TASKS:
        raise ConfigError([f"no task {name!r}"], f"one of: {', '.join(TASKS)}")
    return TASKS[name]

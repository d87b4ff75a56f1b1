"""The class schema: what is labeled, and by which names. Frozen, and passed whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow.records import Annotation
from workflow.tasks import Task, task_named


@dataclass(frozen=True, slots=True)
class CaseMatch:
    """Names that are no class, and differ from one by their case only.

    Each is `taken` for that class, or is `unclear`, then with the classes it is like.
    """

    taken: Mapping[str, str]
    unclear: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, names: Iterable[str], classes: Sequence[str], spellings: bool = False) -> CaseMatch:
        """The one rule: of a model's names, one that is like one class alone, and like no other of the names,
        is taken for it. Anything else nobody guesses. People's labels are `spellings`: all that are like
        one class alone are taken for it.
        """
        every = dict.fromkeys(names)
        like: dict[str, list[str]] = {}
        for name in every:
            like.setdefault(_folded(name), []).append(name)
        taken: dict[str, str] = {}
        unclear: dict[str, tuple[str, ...]] = {}
        for name in every.keys() - set(classes):
            fitting = tuple(label for label in classes if _folded(label) == _folded(name))
            if len(fitting) == 1 and (spellings or len(like[_folded(name)]) == 1):
                taken[name] = fitting[0]
            elif fitting:
                unclear[name] = fitting
        return cls(dict(sorted(taken.items())), dict(sorted(unclear.items())))


def _folded(name: str) -> str:
    return name.strip().casefold()


@dataclass(frozen=True, slots=True)
class Schema:
    """A task with the names its annotations may have: of `classes`, and of the points of their objects."""

    task: Task
    classes: tuple[str, ...]
    keypoints: tuple[str, ...] = ()

    @classmethod
    def of(cls, task: str, classes: Sequence[str], keypoints: Sequence[str] = ()) -> Schema:
        """The same from plain names, as a file has them. ConfigError for a task that is none."""
        return cls(task_named(task), tuple(classes), tuple(keypoints))

    @property
    def labels(self) -> tuple[str, ...]:
        """Every name an annotation may have."""
        return self.classes + self.keypoints

    def names(self, annotation: Annotation) -> bool:
        """Whether an annotation has a name of the schema; painted pixels that are ignored need none."""
        if annotation.ignored and self.task.kind == "pixels":
            return True
        return annotation.label in (self.keypoints if annotation.keypoints else self.classes)

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task.name, "classes": list(self.classes), "keypoints": list(self.keypoints)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Schema:
        """The schema whose `to_json` this is; whatever else `record` holds is left alone."""
        return cls.of(record["task"], record["classes"], record.get("keypoints", ()))

"""What is chosen of what models said: by names, scores, one label a place, so many an image, and by the task.

It is the same code whether the models have just been asked or what they said was kept: a threshold that
changes asks nobody anew. No model is loaded here, and torch is not needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from workflow.models import Counted, Full, Guesses, Options, lines_of
from workflow.models.boxes import case_match, known_labels, told, usual_threshold, without_orphans
from workflow.models.labels import to_labels
from workflow.models.segments import best_of_each_place
from workflow.project.rows import digest
from workflow.records import Annotation, Provenance
from workflow.schema import CaseMatch
from workflow.shapes import masks
from workflow.shapes.overlap import as_box
from workflow.shapes.paint import layers, paint
from workflow.tasks import TASKS, TaskName

Box = tuple[float, float, float, float]
# Until the models' name is put in.
_NOBODY = Provenance("model", "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What models said of an image of this size, before anything is chosen; `full` is as `Frame` has it."""

    guesses: Guesses
    height: int
    width: int
    full: tuple[Full, ...] = ()


@dataclass(frozen=True)
class Asked:
    """The models, in a row, that gave an answer: all that a choice must know of them, as JSON has it.

    `drawn` is the task of the one that draws, `last` that of the last; `later` is what was left open (see
    `models.Later`). `revisions` are those of guesses that were chosen as they were asked for; where something
    was left open, the revision follows from `content` and the options. `names` are the network's own, in its
    order, `also` those of points. Guesses were asked for down to the score `least`, `most` an image.
    """

    name: str
    drawn: TaskName
    last: TaskName
    revisions: tuple[str, ...]
    later: tuple[str, ...] = ()
    content: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    least: float = 0.0
    most: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Asked:
        lists = ("revisions", "later", "content", "names", "also")
        return cls(**{**row, **{key: tuple(row[key]) for key in lists}})


def asked_down_to(options: Options, task: str | None, thresholds: Mapping[str, float]) -> Options:
    """The options under which the classes of a threshold of their own get through to be judged by it."""
    if not thresholds:
        return options
    usual = usual_threshold(task) if options.threshold is None else options.threshold
    return replace(options, threshold=min(usual, *thresholds.values()))


class Choice:
    """Chooses for a project's task: `floor` holds for every class that `thresholds` does not name.

    `options` are those of `asked_down_to`. A guess without a score is as sure as any: no threshold is for it.
    """

    def __init__(
        self,
        asked: Asked,
        options: Options,
        task: TaskName,
        thresholds: Mapping[str, float] | None = None,
        floor: float | None = None,
    ) -> None:
        self.asked = asked
        self.task: TaskName = task
        self._options = options
        self._thresholds = thresholds or {}
        self._floor = usual_threshold(asked.last) if floor is None else floor
        self._least = usual_threshold(asked.last) if options.threshold is None else options.threshold
        self.name = asked.name
        self.revision = self._revision()
        # Images that have as many guesses as the model can give or is allowed to, by that number.
        self._full: Counter[int] = Counter()
        self._by_case = CaseMatch({}, {})
        # The project's classes, and what the model's names are there.
        self._labels: tuple[tuple[str, ...], dict[int, str]] = ((), {})

    @property
    def least(self) -> float | None:
        """A guess of a lower score is chosen by none of this; None where any may count."""
        return self._least if "threshold" in self.asked.later and TASKS[self.asked.drawn].geometry else None

    @property
    def names(self) -> tuple[str, ...]:
        """What the models can tell, in the project's words; only where the names were left open."""
        mapped = map(self._mapped, (*self.asked.names, *self.asked.also))
        return tuple(dict.fromkeys(mapped))

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """As those of an annotator that had been asked so, of the answers that were chosen from."""
        return lines_of(self.counted)

    @property
    def counted(self) -> Counted:
        return told(self.name, self._full, self._by_case) if self.asked.later else {}

    def check(self, classes: Sequence[str]) -> None:
        """ModelError where none of the model's names is one of the project's classes."""
        if not self.asked.names or self._labels[0] == tuple(classes):
            return
        own, class_map = dict(enumerate(self.asked.names)), self._options.class_map
        self._by_case = case_match([*self.asked.names, *self.asked.also], class_map, classes)
        self._labels = tuple(classes), known_labels(self.name, own, class_map, classes)

    def choose(self, answer: Answer, classes: Sequence[str]) -> Guesses:
        """What the project wants of an answer, best first, in the models' name."""
        self.check(classes)
        guesses = answer.guesses
        if "names" in self.asked.later:
            guesses = self._named(guesses, classes)
        if "threshold" in self.asked.later:
            guesses = self._best(answer, guesses)
        kept = [a for a in guesses if a.score is None or a.score >= self._bound(a.label)]
        provenance = Provenance("model", self.name, self.revision)
        adapted = self._adapt(without_orphans(kept), answer.height, answer.width)
        return tuple(replace(a, provenance=provenance) for a in adapted)

    def _revision(self) -> str:
        revisions = list(self.asked.revisions)
        if self.asked.later:
            revisions = [digest([*self.asked.content, self._options.identity()])]
        plain = len(revisions) == 1 and self.asked.drawn == self.task and not self._thresholds
        return revisions[0] if plain else digest([revisions, self.task, dict(self._thresholds)])

    def _bound(self, label: str) -> float:
        return self._thresholds.get(label, self._floor)

    def _mapped(self, name: str) -> str:
        return self._options.class_map.get(name, name)

    def _named(self, guesses: Guesses, classes: Sequence[str]) -> Guesses:
        """The guesses in the project's words, without what it has no word for."""
        numbers = {name: number for number, name in enumerate(self.asked.names)}
        labels = self._labels[1]
        if not TASKS[self.asked.drawn].geometry:
            scores = np.zeros(len(self.asked.names))
            for a in guesses:
                scores[numbers[a.label]] = a.score or 0.0
            exclusive = TASKS[self.asked.drawn].exclusive
            # Of two of one name, the answer has one.
            named = {numbers[name]: labels[n] for n, name in enumerate(self.asked.names) if n in labels}
            return to_labels(scores, dict(sorted(named.items())), exclusive, 0.0, _NOBODY)
        words = {name: labels[n] for n, name in enumerate(self.asked.names) if n in labels}
        points = {n: self._by_case.taken.get(n, self._mapped(n)) for n in self.asked.also}
        words |= {name: word for name, word in points.items() if word in classes}
        return tuple(replace(a, label=words[a.label]) for a in guesses if a.label in words)

    def _best(self, answer: Answer, guesses: Guesses) -> Guesses:
        """Those that reach the threshold, of each place the best if only one is wanted, so many an image."""
        sure = [a for a in guesses if a.score is None or a.score >= self._least]
        if not TASKS[self.asked.drawn].of_objects:
            return tuple(sure)
        most = self._options.max_det
        objects = [a for a in sure if not a.parent]
        if self._options.one_label_a_place:
            objects = list(best_of_each_place(objects))
        limits = {one.limit for one in answer.full if one.score >= self._least}
        self._full.update({most} if len(objects) >= most else limits)
        kept = {id(a) for a in objects[:most]}
        names = {a.id for a in objects[:most] if a.id}
        return tuple(a for a in sure if id(a) in kept or (a.parent and a.parent in names))

    def _adapt(self, guesses: Guesses, height: int, width: int) -> Iterable[Annotation]:
        if self.asked.drawn == self.task:
            return guesses
        if self.task == "semantic-segmentation":
            return _one_a_class(guesses, height, width)
        if self.task in ("detection", "keypoints"):
            return _boxes(guesses, height, width)
        return guesses


def _one_a_class(guesses: Guesses, height: int, width: int) -> Iterable[Annotation]:
    """A mask a class, at its best score; what objects of two classes share is the better one's."""
    names = list(dict.fromkeys(a.label for a in guesses))
    for label, pixels in layers(paint(reversed(guesses), names, height, width).pixels, names):
        best = next(a for a in guesses if a.label == label)
        yield Annotation(label, best.provenance, mask=masks.encode(pixels), score=best.score)


def _boxes(guesses: Guesses, height: int, width: int) -> Iterable[Annotation]:
    for a in guesses:
        if (box := box_within(a, height, width)) is not None:
            yield Annotation(a.label, a.provenance, box=box, score=a.score, id=a.id)


def box_within(a: Annotation, height: int, width: int) -> Box | None:
    """The box round an annotation, within the image: a rotated one may reach over its edge."""
    box = as_box(a)
    if box is None:
        return None
    x1, x2 = (min(max(x, 0.0), float(width)) for x in box[::2])
    y1, y2 = (min(max(y, 0.0), float(height)) for y in box[1::2])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None

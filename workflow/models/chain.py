"""Models in a row, as one: each hands its guesses on to the next, and the last one's count.

A model that names whole images, after one that draws, names what was drawn: YOLO finds the vehicles, and
SigLIP says which is a taxi. A chain also sees to what the project wants of any model: its task (a box
where the model draws a mask), and a threshold a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from workflow import models
from workflow.errors import ModelError
from workflow.models import (
    Annotator,
    Counted,
    Guesses,
    Later,
    Options,
    Pixels,
    Reducing,
    Size,
    Whole,
    lines_of,
)
from workflow.models.choice import Answer, Asked, Choice, asked_down_to, box_within
from workflow.models.frame import Frame
from workflow.models.slices import sliced
from workflow.shapes.matching import score_of
from workflow.tasks import TASKS, TaskName


def load_chain(
    specs: Sequence[str],
    project: Path,
    task: str | None,
    options: Options,
    thresholds: Mapping[str, float] | None = None,
) -> Chain:
    """Load models that follow each other, each with the same options, for a task; None is the last one's own.

    ModelError where they do not fit.
    """
    floor = options.threshold
    options = asked_down_to(options, task, thresholds or {})
    # What a model says decides what the next is asked, and how slices are merged: nothing can be left open.
    alone = len(specs) == 1 and not options.slices
    asked = options if alone else replace(options, undecided=False)
    loaded: list[Annotator] = []
    try:
        for spec in specs:
            _check_place(spec, project, loaded)
            loaded.append(models.load(spec, project, asked))
            # What goes on with what was drawn is shown the whole image.
            loaded[:1] = [sliced(loaded[0], options)] if len(loaded) == 1 else loaded[:1]
        return Chain(loaded, task, thresholds, floor, options)
    except BaseException:
        for annotator in loaded:
            annotator.close()
        raise


def _check_place(spec: str, project: Path, before: Sequence[Annotator]) -> None:
    """ModelError where a model needs boxes, and none before it finds any."""
    family, _ = models.resolve(spec, project)
    if models.MODELS[family].needs_boxes and not any(TASKS[a.task].geometry for a in before):
        what = f"model {spec!r} draws in boxes, and no model before it finds any"
        raise ModelError(what, f'put one before it: model = ["grounding-dino", "{spec}"]')


class Chain:
    """Annotators in a row as one Annotator of a project's task, under the names of all of them.

    `options` are those that they were loaded with. What a single one left open is chosen here: `answers` is
    what was said before.
    """

    later: frozenset[Later] = frozenset()

    def __init__(
        self,
        annotators: Sequence[Annotator],
        task: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        floor: float | None = None,
        options: Options | None = None,
    ) -> None:
        self._annotators = annotators
        drawer = next((a for a in reversed(annotators) if TASKS[a.task].geometry), annotators[-1])
        drawn, ours = drawer.task, TASKS[task or drawer.task]
        if drawn != ours.name and drawn not in ours.from_tasks:
            fitting = ", ".join((ours.name, *ours.from_tasks))
            what = f"model {drawer.name!r} is one of {drawn}, the project's task is {ours.name}"
            raise ModelError(what, f"take a model of {fitting}: workflow models")
        if len(annotators) > 1 and not any(TASKS[a.task].geometry for a in annotators[:-1]):
            what = f"model {annotators[-1].name!r} goes on with what was drawn, and no model before it draws"
            raise ModelError(what, "take it alone, or put a model that draws before it")
        self.choice = Choice(_asked(annotators, drawn), options or Options(), ours.name, thresholds, floor)
        self.task: TaskName = ours.name
        self.name, self.revision = self.choice.name, self.choice.revision

    @property
    def names(self) -> tuple[str, ...]:
        """What the model that has the last word on names can tell; none where it finds what it is told."""
        if "names" in self.choice.asked.later:
            return self.choice.names
        namers = [a for a in self._annotators if not TASKS[a.task].geometry]
        if namers:
            return namers[-1].names
        return next((a.names for a in reversed(self._annotators) if a.names), ())

    @property
    def asked(self) -> Asked:
        """What a choice among its answers must know."""
        return self.choice.asked

    @property
    def counted(self) -> Counted:
        """What `shortfalls` says, so that it can be added up."""
        if self.choice.asked.later:
            return self.choice.counted
        return {line: count for a in self._annotators for line, count in a.counted.items()}

    @property
    def shortfalls(self) -> tuple[str, ...]:
        return lines_of(self.counted)

    def least(self, height: int, width: int) -> Size | None:
        # What was drawn is cut out of the whole image, or drawn in once more.
        first, *others = self._annotators
        return None if others or not isinstance(first, Reducing) else first.least(height, width)

    @property
    def engines(self) -> tuple[str, ...]:
        """A line for each model that says what runs it."""
        return tuple(f"{a.name} runs on {a.engine}" for a in self._annotators if hasattr(a, "engine"))

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Guesses]:
        return [self.choice.choose(a, classes) for a in self.answers_reduced(images, wholes, classes)]

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        return [self.choice.choose(a, classes) for a in self.answers(images, prior, classes)]

    def answers_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Answer]:
        """As `annotate_reduced`, before anything is chosen."""
        (annotator,) = self._annotators
        assert isinstance(annotator, Reducing)
        guesses = annotator.annotate_reduced(images, wholes, self._asked_for(classes))
        return self._answers(guesses, [(whole.height, whole.width) for whole in wholes])

    def answers(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Answer]:
        """As `annotate`, before anything is chosen."""
        classes = self._asked_for(classes)
        guesses = list(prior)
        for number, annotator in enumerate(self._annotators):
            named_later = any(not TASKS[a.task].geometry for a in self._annotators[number + 1 :])
            # What will be named anew is asked for whatever it knows.
            asked = annotator.names if named_later and annotator.names else classes
            if number and not TASKS[annotator.task].geometry:
                guesses = _name_drawn(annotator, images, guesses, asked)
            else:
                guesses = annotator.annotate(images, guesses, asked)
        return self._answers(guesses, [image.shape[:2] for image in images])

    def close(self) -> None:
        # All of them, whatever the closing of one raises.
        with ExitStack() as stack:
            for annotator in self._annotators:
                stack.callback(annotator.close)

    def _asked_for(self, classes: Sequence[str]) -> Sequence[str]:
        """What the first model is asked for, once it is known to tell some of the classes."""
        self.choice.check(classes)
        return self._annotators[0].names if "names" in self.choice.asked.later else classes

    def _answers(self, guesses: Sequence[Guesses], sizes: Sequence[tuple[int, ...]]) -> list[Answer]:
        (first, *_) = self._annotators
        full = first.full if first.later and isinstance(first, Frame) else [()] * len(sizes)
        return [
            Answer(some, size[0], size[1], limits)
            for some, size, limits in zip(guesses, sizes, full, strict=True)
        ]


def _asked(annotators: Sequence[Annotator], drawn: TaskName) -> Asked:
    """What a choice must know of the annotators. What one leaves open is a frame's, which can tell it."""
    first, last = annotators[0], annotators[-1]
    open_: dict[str, Any] = {}
    if first.later:
        assert isinstance(first, Frame) and len(annotators) == 1
        open_ = first.left_open()
    name = " > ".join(a.name for a in annotators)
    return Asked(name, drawn, last.task, tuple(a.revision for a in annotators), **open_)


def _name_drawn(
    annotator: Annotator, images: Sequence[Pixels], drawn: Sequence[Guesses], classes: Sequence[str]
) -> list[Guesses]:
    """What was drawn, each under the best name `annotator` has for its cutting, at the score of that name.

    Where nothing was drawn, nothing is named; and what gets no name is no guess.
    """
    named: list[Guesses] = []
    for image, regions in zip(images, drawn, strict=True):
        places = [(a, box) for a in regions if (box := box_within(a, *image.shape[:2])) is not None]
        cuttings = [_cut(image, box) for _, box in places]
        answers = annotator.annotate(cuttings, [()] * len(cuttings), classes)
        best = [
            replace(a, label=names[0].label, score=names[0].score)
            for (a, _), names in zip(places, answers, strict=True)
            if names
        ]
        named.append(tuple(sorted(best, key=lambda a: -score_of(a))))
    return named


def _cut(image: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """The pixels a box touches."""
    x1, y1, x2, y2 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    return np.ascontiguousarray(image[y1:y2, x1:x2])

"""Models in a row, as one: each hands its guesses on to the next, and the last one's count.

A model that names whole images, after one that draws, names what was drawn: YOLO finds the vehicles, and
SigLIP says which is a taxi. A chain also sees to what the project wants of any model: its task (a box
where the model draws a mask), and a threshold a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from workflow import models
from workflow.errors import ModelError
from workflow.models import Annotator, Counted, Guesses, Options, Pixels, Reducing, Size, Whole
from workflow.models.boxes import usual_threshold, without_orphans
from workflow.models.slices import sliced
from workflow.project.rows import digest
from workflow.records import Annotation, Provenance
from workflow.shapes import masks
from workflow.shapes.matching import score_of
from workflow.shapes.overlap import as_box
from workflow.shapes.paint import layers, paint
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
    if thresholds:
        # The classes of their own threshold must get through the models to be judged by it.
        usual = options.threshold
        if usual is None:
            usual = usual_threshold(task)
        options = replace(options, threshold=min(usual, *thresholds.values()))
    loaded: list[Annotator] = []
    try:
        for spec in specs:
            _check_place(spec, project, loaded)
            loaded.append(models.load(spec, project, options))
            # What goes on with what was drawn is shown the whole image.
            loaded[:1] = [sliced(loaded[0], options)] if len(loaded) == 1 else loaded[:1]
        return Chain(loaded, task, thresholds or {}, floor)
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
    """Annotators in a row as one Annotator of a project's task, under the names of all of them."""

    def __init__(
        self,
        annotators: Sequence[Annotator],
        task: str | None = None,
        thresholds: Mapping[str, float] | None = None,
        floor: float | None = None,
    ) -> None:
        self._annotators = annotators
        self._thresholds = thresholds or {}
        drawer = next((a for a in reversed(annotators) if TASKS[a.task].geometry), annotators[-1])
        drawn = self._drawn = drawer.task
        self._task = TASKS[task or drawn]
        if drawn != self._task.name and drawn not in self._task.from_tasks:
            fitting = ", ".join((self._task.name, *self._task.from_tasks))
            what = f"model {drawer.name!r} is one of {drawn}, the project's task is {self._task.name}"
            raise ModelError(what, f"take a model of {fitting}: workflow models")
        if len(annotators) > 1 and not any(TASKS[a.task].geometry for a in annotators[:-1]):
            what = f"model {annotators[-1].name!r} goes on with what was drawn, and no model before it draws"
            raise ModelError(what, "take it alone, or put a model that draws before it")
        self._floor = usual_threshold(annotators[-1].task) if floor is None else floor
        self.task: TaskName = self._task.name
        self.name = " > ".join(a.name for a in annotators)
        revisions = [a.revision for a in annotators]
        plain = len(annotators) == 1 and drawn == self._task.name and not thresholds
        self.revision = revisions[0] if plain else digest([revisions, self.task, dict(self._thresholds)])

    @property
    def names(self) -> tuple[str, ...]:
        """What the model that has the last word on names can tell; none where it finds what it is told."""
        namers = [a for a in self._annotators if not TASKS[a.task].geometry]
        if namers:
            return namers[-1].names
        return next((a.names for a in reversed(self._annotators) if a.names), ())

    @property
    def counted(self) -> Counted:
        """What `shortfalls` says, so that it can be added up."""
        return {line: count for a in self._annotators for line, count in a.counted.items()}

    @property
    def shortfalls(self) -> tuple[str, ...]:
        return tuple(line for annotator in self._annotators for line in annotator.shortfalls)

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
        (annotator,) = self._annotators
        assert isinstance(annotator, Reducing)
        guesses = annotator.annotate_reduced(images, wholes, classes)
        return [self._finish(some, w.height, w.width) for some, w in zip(guesses, wholes, strict=True)]

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        guesses = list(prior)
        for number, annotator in enumerate(self._annotators):
            named_later = any(not TASKS[a.task].geometry for a in self._annotators[number + 1 :])
            # What will be named anew is asked for whatever it knows.
            asked = annotator.names if named_later and annotator.names else classes
            if number and not TASKS[annotator.task].geometry:
                guesses = _name_drawn(annotator, images, guesses, asked)
            else:
                guesses = annotator.annotate(images, guesses, asked)
        return [self._finish(some, *i.shape[:2]) for some, i in zip(guesses, images, strict=True)]

    def close(self) -> None:
        # All of them, whatever the closing of one raises.
        with ExitStack() as stack:
            for annotator in self._annotators:
                stack.callback(annotator.close)

    def _finish(self, guesses: Guesses, height: int, width: int) -> Guesses:
        """What the project wants of one image's guesses, in the chain's name."""
        kept = [a for a in guesses if score_of(a) >= self._thresholds.get(a.label, self._floor)]
        provenance = Provenance("model", self.name, self.revision)
        adapted = self._adapt(without_orphans(kept), height, width)
        return tuple(replace(a, provenance=provenance) for a in adapted)

    def _adapt(self, guesses: Guesses, height: int, width: int) -> Iterable[Annotation]:
        if self._drawn == self._task.name:
            return guesses
        if self._task.name == "semantic-segmentation":
            return _one_a_class(guesses, height, width)
        if self._task.name in ("detection", "keypoints"):
            return _boxes(guesses, height, width)
        return guesses


def _name_drawn(
    annotator: Annotator, images: Sequence[Pixels], drawn: Sequence[Guesses], classes: Sequence[str]
) -> list[Guesses]:
    """What was drawn, each under the best name `annotator` has for its cutting, at the score of that name.

    Where nothing was drawn, nothing is named; and what gets no name is no guess.
    """
    named: list[Guesses] = []
    for image, regions in zip(images, drawn, strict=True):
        places = [(a, box) for a in regions if (box := _box_within(a, *image.shape[:2])) is not None]
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


def _one_a_class(guesses: Guesses, height: int, width: int) -> Iterable[Annotation]:
    """A mask a class, at its best score; what objects of two classes share is the better one's."""
    names = list(dict.fromkeys(a.label for a in guesses))
    for label, pixels in layers(paint(reversed(guesses), names, height, width).pixels, names):
        best = next(a for a in guesses if a.label == label)
        yield Annotation(label, best.provenance, mask=masks.encode(pixels), score=best.score)


def _boxes(guesses: Guesses, height: int, width: int) -> Iterable[Annotation]:
    for a in guesses:
        if (box := _box_within(a, height, width)) is not None:
            yield Annotation(a.label, a.provenance, box=box, score=a.score, id=a.id)


def _box_within(a: Annotation, height: int, width: int) -> tuple[float, float, float, float] | None:
    """The box round an annotation, within the image: a rotated one may reach over its edge."""
    box = as_box(a)
    if box is None:
        return None
    x1, x2 = (min(max(x, 0.0), float(width)) for x in box[::2])
    y1, y2 = (min(max(y, 0.0), float(height)) for y in box[1::2])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None

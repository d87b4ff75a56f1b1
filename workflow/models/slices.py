"""An annotator that is shown an image in slices, for objects that are small in it, and the whole image too.

The slices of `sahi`, without the library: it keeps masks as outlines, which fill their holes, and knows
neither keypoints nor what an edge cuts off. `shapes.merge` says what is done instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workflow.errors import ModelError, is_out_of_memory
from workflow.models import Annotator, Counted, Guesses, Later, Options, Pixels, lines_of
from workflow.project.rows import digest
from workflow.records import Annotation
from workflow.shapes import masks
from workflow.shapes.matching import score_of
from workflow.shapes.merge import same_objects, united
from workflow.shapes.windows import Window, cores, seen, windows
from workflow.tasks import TASKS, TaskName

# So many slices an annotator is shown at a time.
BATCH = 8
# Of how slices are merged; a later one gives other guesses.
VERSION = 1


def sliced(annotator: Annotator, options: Options) -> Annotator:
    """The annotator as its options say: in slices, or as it is. ModelError for one that does not draw."""
    if options.slices is None:
        return annotator
    if not TASKS[annotator.task].geometry:
        what = f"model {annotator.name!r} names whole images, and only what draws can be shown slices"
        raise ModelError(what, "take preannotate.slices out")
    return Sliced(annotator, options)


class Sliced:
    """An `Annotator` that asks another about the slices of each image.

    An image of one slice is asked about as it is. Of objects, `max_det` are kept of the image, however many
    a slice has. What paints classes is asked about slices only: each has the word on what it shows best.
    """

    # How they are merged depends on all that is said of them.
    later: frozenset[Later] = frozenset()

    def __init__(self, annotator: Annotator, options: Options) -> None:
        assert options.slices is not None
        self._annotator, self._slices = annotator, options.slices
        self._max_det, self._across_classes = options.max_det, options.one_label_a_place
        self._batch = BATCH
        # Images that had more objects than they may have.
        self._full = 0
        self.name: str = annotator.name
        self.task: TaskName = annotator.task
        self.revision: str = digest([annotator.revision, VERSION, self._slices.size, self._slices.overlap])

    @property
    def engine(self) -> str:
        # Who has no engine to tell of has none in slices.
        engine: str = getattr(self._annotator, "engine")  # noqa: B009
        return f"{engine}, in slices of {self._slices.size} pixels"

    @property
    def names(self) -> tuple[str, ...]:
        return self._annotator.names

    @property
    def counted(self) -> Counted:
        line = (f"{self.name} found more than {self._max_det} objects on ", " images, and kept the best")
        return self._annotator.counted | ({line: self._full} if self._full else {})

    @property
    def shortfalls(self) -> tuple[str, ...]:
        return lines_of(self.counted)

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        size = self._slices.size
        small = [k for k, image in enumerate(images) if max(image.shape[:2]) <= size]
        asked = ([images[k] for k in small], [prior[k] for k in small], classes)
        answers = dict(zip(small, self._annotator.annotate(*asked), strict=True)) if small else {}
        return [answers[k] if k in answers else self._of(i, classes) for k, i in enumerate(images)]

    def close(self) -> None:
        self._annotator.close()

    def _of(self, image: Pixels, classes: Sequence[str]) -> Guesses:
        """What is said of an image of several slices."""
        height, width = image.shape[:2]
        asked = (height, width, self._slices.size, self._slices.overlap)
        views = windows(*asked)
        if TASKS[self.task].kind == "pixels":
            return _painted(self._ask(image, views, classes), views, cores(*asked), height, width)
        views.append(Window(0, 0, width, height))
        return self._objects(self._ask(image, views, classes), views, height, width)

    def _ask(self, image: Pixels, views: Sequence[Window], classes: Sequence[str]) -> list[Guesses]:
        """What is said of each view, in pixels of the view; fewer at a time after memory was short."""
        answers: list[Guesses] = []
        while len(answers) < len(views):
            some = views[len(answers) : len(answers) + self._batch]
            pixels = [np.ascontiguousarray(image[v.y1 : v.y2, v.x1 : v.x2]) for v in some]
            try:
                answers += self._annotator.annotate(pixels, [()] * len(pixels), classes)
            except Exception as error:
                if self._batch == 1 or not is_out_of_memory(error):
                    raise
                self._batch //= 2
        return answers

    def _objects(
        self, answers: Sequence[Guesses], views: Sequence[Window], height: int, width: int
    ) -> Guesses:
        """One guess an object, best first, its points after it."""
        seen_in = [
            [seen(a, view, height, width) for a in guesses if not a.parent]
            for guesses, view in zip(answers, views, strict=True)
        ]
        points = _points(answers, views, height, width)
        groups = same_objects(seen_in, self._across_classes)
        ranked = sorted(groups, key=lambda group: -max(score_of(one.guess) for one in group))
        self._full += len(ranked) > self._max_det
        merged: list[Annotation] = []
        for number, group in enumerate(ranked[: self._max_det]):
            guess = united(group, height, width)
            own: dict[str, Annotation] = {}
            for one in group if group[0].cut else group[:1]:
                own = {a.label: a for a in points.get((one.window, one.guess.id), ())} | own
            name = f"{number + 1}" if guess.id else ""
            merged.append(replace(guess, id=name))
            merged += [replace(a, parent=name, score=guess.score) for a in own.values()]
        return tuple(merged)


def _points(
    answers: Sequence[Guesses], views: Sequence[Window], height: int, width: int
) -> dict[tuple[Window, str], list[Annotation]]:
    """What belongs to an object, by the view and the object's id there, in pixels of the image."""
    found: dict[tuple[Window, str], list[Annotation]] = {}
    for guesses, view in zip(answers, views, strict=True):
        for a in guesses:
            if a.parent:
                found.setdefault((view, a.parent), []).append(seen(a, view, height, width).guess)
    return found


def _painted(
    answers: Sequence[Guesses],
    views: Sequence[Window],
    parts: Sequence[Window],
    height: int,
    width: int,
) -> Guesses:
    """A mask a class, of what each view says of its own part; its score is the mean of its pixels' scores."""
    pieces: dict[str, list[tuple[Annotation, Window]]] = {}
    for guesses, view, part in zip(answers, views, parts, strict=True):
        edges = (part.x1 - view.x1, part.y1 - view.y1, part.x2 - view.x1, part.y2 - view.y1)
        for a in guesses:
            assert a.mask is not None
            piece = masks.cut(a.mask, *edges)
            if masks.area(piece):
                pieces.setdefault(a.label, []).append((replace(a, mask=piece), part))
    painted = []
    for some in pieces.values():
        places = [(a.mask, part.x1, part.y1) for a, part in some if a.mask]
        areas = [masks.area(mask) for mask, _, _ in places]
        score = float(np.average([score_of(a) for a, _ in some], weights=areas))
        painted.append(replace(some[0][0], mask=masks.joined(places, height, width), score=min(score, 1.0)))
    return tuple(sorted(painted, key=lambda a: -score_of(a)))

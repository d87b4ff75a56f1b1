"""A Python file in the project folder as a model: `own:my_model.py`. docs/own-model.md says how to write one.

It runs with all the rights of the person who starts it, so nothing of it is read before
`preannotate.trust = true`, and only from within the project folder. What it answers is checked: a label
that no one knows or a box outside its image is an error that names the file, and goes no further.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from workflow.errors import ModelError, WorkflowError, is_out_of_memory
from workflow.models import Guesses, Options, Pixels
from workflow.models.boxes import without_orphans
from workflow.models.frame import Frame
from workflow.project.rows import digest, file_digest
from workflow.records import Annotation, RotatedBox
from workflow.shapes import masks
from workflow.tasks import TASKS

LOCAL = "put a Python file into the project folder and name it, as in own:my_model.py"


class Own(Frame):
    """The class `Model` of a Python file as an Annotator.

    It is made once, `Model(options)`, and must have `task` and `annotate(images, prior, classes)` as
    `Annotator` has them. `names` are the classes it can tell, in its own words, which are also what it is
    asked for and answers in; without them it is asked for the project's classes. If its guesses depend on
    more than the file, say on weights beside it, its `revision` must change with them. `close` is called at
    the end if there is one.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        self.name = spec
        self._file = _allowed(spec, checkpoint, options)
        self.engine = "its own code"
        print(f"running {self._file}, as trust allows", file=sys.stderr, flush=True)
        with self._blamed():
            self._model = self._class()(options)
            task = self._model.task
            names = dict(enumerate(map(str, getattr(self._model, "names", ()))))
            content = [file_digest(self._file), str(getattr(self._model, "revision", ""))]
        if task not in TASKS:
            raise self._error(f"has the task {task!r}, which is none of {', '.join(TASKS)}")
        super().__init__(spec, options, task, [content], names)

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        raise ModelError(f"{checkpoint} is not on this machine", LOCAL)

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        meaning = {label: label for label in classes}
        if self._own_names:
            meaning = {self._own_names[index]: label for index, label in self._labels(classes).items()}
        with self._blamed():
            answers = [tuple(one) for one in self._model.annotate(images, prior, list(meaning))]
        if len(answers) != len(images):
            raise self._error(f"gave {len(answers)} answers for {len(images)} images")
        return [self._finish(*one, meaning) for one in zip(answers, images, strict=True)]

    def close(self) -> None:
        if hasattr(self._model, "close"):
            with self._blamed():
                self._model.close()

    def _class(self) -> Any:
        module = ModuleType(f"own_model_{digest(str(self._file))}")
        module.__file__ = str(self._file)
        # Where dataclasses and pickle look a class up. Compiled here, so that no stale bytecode is run, and
        # none is left in the project folder.
        sys.modules[module.__name__] = module
        exec(compile(self._file.read_bytes(), str(self._file), "exec"), module.__dict__)
        if not isinstance(module.__dict__.get("Model"), type):
            raise self._error("defines no class Model")
        return module.__dict__["Model"]

    def _finish(self, answer: Guesses, image: Pixels, meaning: dict[str, str]) -> Guesses:
        """One image's answer, checked, in the project's words, best first."""
        known = {*self._own_names.values(), *meaning}
        for a in answer:
            self._check(a, image, known)
        # Its own threshold, where the project has none.
        asked = self._options.threshold
        kept = [
            replace(_plain(a), label=meaning[a.label], provenance=self._provenance())
            for a in sorted(answer, key=lambda a: -(a.score or 0.0))
            if a.label in meaning and (asked is None or (a.score or 0.0) > asked)
        ]
        return without_orphans(kept)

    def _check(self, a: Any, image: Pixels, known: set[str]) -> None:
        height, width = image.shape[:2]
        if not isinstance(a, Annotation):
            raise self._error(f"gave a {type(a).__name__} where an Annotation belongs")
        if a.label not in known:
            raise self._error(f"gave the label {a.label!r}, which is none of {', '.join(sorted(known)[:8])}")
        if a.score is None:
            raise self._error(f"gave {a.label!r} no score")
        if not TASKS[self.task].takes(a):
            raise self._error(f"gave {a.label!r} {a.geometry or 'no geometry'}, and its task is {self.task}")
        if not a.within(width, height) or (a.mask and (a.mask.width, a.mask.height) != (width, height)):
            raise self._error(
                f"gave {a.label!r} a {a.geometry} outside its image of {width} x {height} pixels"
            )
        if a.mask:
            with self._blamed():
                masks.decode(a.mask)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Let an error say in one line where in the file it came up."""
        try:
            yield
        except WorkflowError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                # Fewer images at a time may do.
                raise
            lines = [
                f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(self._file)
            ]
            if isinstance(error, SyntaxError) and error.filename == str(self._file):
                lines = [error.lineno]
            where = f"line {lines[-1]}: " if lines else ""
            text = str(error).strip().splitlines() or ["no message"]
            raise self._error(f"{where}{type(error).__name__}: {text[0][:200]}") from error

    def _error(self, what: str) -> ModelError:
        return ModelError(f"model {self.name!r}: {what}", f"mend {self._file.name}; see docs/own-model.md")


def _plain(a: Annotation) -> Annotation:
    """The same in Python's own numbers, which JSON has: those of people's code are often numpy's."""
    turned = a.rotated_box
    return replace(
        a,
        score=None if a.score is None else float(a.score),
        box=_floats(a.box),
        rotated_box=turned and RotatedBox(*_floats(astuple(turned))),
        keypoints=a.keypoints and tuple(map(_floats, a.keypoints)),
        polygons=a.polygons and tuple(tuple(map(_floats, part)) for part in a.polygons),
    )


def _floats(values: Any) -> Any:
    return None if values is None else tuple(map(float, values))


def _allowed(spec: str, checkpoint: Path | str, options: Options) -> Path:
    """The file, if it may be run."""
    if not isinstance(checkpoint, Path) or not checkpoint.is_file():
        raise ModelError(f"model {spec!r}: {checkpoint} is not on this machine", LOCAL)
    if not checkpoint.is_relative_to(options.project.resolve()):
        raise ModelError(f"model {spec!r}: {checkpoint} lies outside the project folder", LOCAL)
    if not options.trust:
        raise ModelError(f"model {spec!r} runs code of {checkpoint.name}", "set preannotate.trust = true")
    return checkpoint

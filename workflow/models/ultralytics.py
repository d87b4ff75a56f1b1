"""YOLO of every task through ultralytics (AGPL-3.0), in a process of its own.

The library replaces `PIL.Image.open`, pins torch's threads, installs packages by itself and unpickles
code; `workflow.running.worker` keeps all that out of our process, and the environment below switches it off.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import ModelError
from workflow.models import Guesses, Later, Options, Pixels, Size, Whole, fetched_folder
from workflow.models import ultralytics_worker as child
from workflow.models.batches import filled_up, fitted
from workflow.models.boxes import SAME_PLACE, without_orphans
from workflow.models.frame import NAMES_TOO, THRESHOLD, Frame, spread, within
from workflow.models.labels import to_labels
from workflow.models.prompts import sentences
from workflow.project.rows import file_digest
from workflow.records import Annotation
from workflow.running.worker import Worker
from workflow.shapes import overlap
from workflow.tasks import TaskName

# Read at import, so they are set before it: no network, no self-installed packages, no code in
# checkpoints, and threads that sleep while they wait (spinning ones are 12 times slower when shared).
ENVIRONMENT = {
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "0",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "WANDB_MODE": "disabled",
}
LOCAL = "put a .pt file into the project folder and name it, as in ultralytics:base/weights.pt"
# ultralytics' word for a task -> ours.
TASKS: dict[str, TaskName] = {
    "detect": "detection",
    "segment": "instance-segmentation",
    "classify": "classification",
    "obb": "oriented-detection",
    "pose": "keypoints",
}
# What runs an exported file: its name's end -> the package.
ENGINES = {".onnx": "onnxruntime", "_openvino_model": "openvino"}


class Ultralytics(Frame):
    """A YOLO checkpoint (.pt), or what was exported from one (.onnx, _openvino_model), as an Annotator.

    What it is for is the checkpoint's to say. A point of a pose is an annotation of its own, whose parent
    is its object's box, at that box's score; `classes` must hold the points' names, too. YOLO-World and
    YOLOE look for the prompts, by default the class names.
    """

    def __init__(self, spec: str, checkpoint: Path | str, options: Options) -> None:
        if not isinstance(checkpoint, Path):
            raise ModelError(f"model {spec!r}: {checkpoint} is not on this machine", LOCAL)
        _need_engine(checkpoint)
        self._checkpoint = str(checkpoint)
        self._worker = start_worker(options.log)
        try:
            opened: child.Opened = self._worker.call(child.open_model, self._checkpoint, options.device)
            if opened.task not in TASKS:
                what = f"model {spec!r}: is of ultralytics' task {opened.task!r}"
                raise ModelError(what, f"take one of {', '.join(TASKS)}")
        except BaseException:
            self._worker.close()
            raise
        self._point_names, self._reads = opened.points, opened.reads
        super().__init__(spec, options, TASKS[opened.task], [file_digest(checkpoint)], opened.names)
        self.engine, self._square = opened.engine + _beside(checkpoint, opened.engine), opened.square
        # An exported network may be of one size, whatever is asked for.
        exported = opened.side if checkpoint.suffix != ".pt" else 0
        self._side = max(options.image_size or opened.side, exported)

    @property
    def decided_later(self) -> frozenset[Later]:  # type: ignore[override]
        """Its suppression goes class by class, so that none matters to another; a model that reads is asked
        in the words of the project."""
        if self.task == "oriented-detection":
            # Of rotated boxes it leaves others where it is told of fewer, or of less likely ones.
            return frozenset()
        return THRESHOLD if self._reads else NAMES_TOO

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        """Fetch one of ultralytics' own, such as yolo11n.pt, into `folder`, or raise ModelError."""
        if not re.fullmatch(r"[\w.-]+\.pt", checkpoint):
            what = f"{checkpoint} is not on this machine, and no name of ultralytics' either"
            raise ModelError(what, LOCAL)
        print(f"fetching {checkpoint} from ultralytics, once")
        folder.mkdir(parents=True, exist_ok=True)
        with start_worker(folder / "fetch.log") as worker:
            try:
                worker.call(child.fetch, checkpoint, str(folder))
            except ModelError:
                what = f"{checkpoint} is not on this machine, and cannot be fetched from ultralytics"
                raise ModelError(f"{what} (unknown there, or no network)", LOCAL) from None

    @classmethod
    def on_this_machine(cls) -> list[str]:
        """The checkpoints that were fetched by name."""
        return sorted(p.name for p in fetched_folder().glob("*.pt"))

    @property
    def names(self) -> tuple[str, ...]:
        if self._reads:
            return ()
        return tuple(dict.fromkeys(map(self._mapped, self._all_names())))

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = self._labels(classes)
        shown = [filled_up(image) for image in images]
        grounds = [spread(image, whole.scale) for image, whole in zip(shown, wholes, strict=True)]
        answers: list[child.Answer] = self._worker.call_on(
            child.predict, shown, grounds, self._arguments(labels)
        )
        self._looked_at, self.full = list(range(len(images))), [()] * len(images)
        if self.task == "classification":
            rule = (labels, True, self._threshold, self._provenance())
            return [to_labels(answer.scores, *rule) for answer in answers]
        for place, answer in enumerate(answers):
            self._count_full(place, answer.scores, answer.limit)
        self._tell_full()
        guesses = [tuple(self._annotations(answer.objects, labels, classes)) for answer in answers]
        return [
            without_orphans(within(some, whole.height, whole.width))
            for some, whole in zip(guesses, wholes, strict=True)
        ]

    def close(self) -> None:
        self._worker.close()

    def _seen_at(self, height: int, width: int) -> Size | None:
        # A classifier cuts the middle out of what it has scaled by the shorter side.
        if self.task == "classification":
            return fitted(height, width, self._side / min(height, width))
        if self._square:
            return self._side, self._side
        return fitted(height, width, self._side / max(height, width))

    def _mapped(self, name: str) -> str:
        return self._options.class_map.get(name, name)

    def _all_names(self) -> list[str]:
        points = [name for some in self._point_names.values() for name in some]
        return [*self._own_names.values(), *dict.fromkeys(points)]

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        """The model's class numbers -> the project's classes; a model that reads is told of them first."""
        if not self._reads:
            return super()._labels(classes)
        prompts = sentences(self.name, classes, self._options)
        meant = {word: label for label, words in prompts.items() for word in words}
        if not meant.keys() <= set(self._own_names.values()):
            if find_spec("clip") is None:
                what = (
                    f"model {self.name!r}: needs the text encoder package clip for other words than its own"
                )
                raise ModelError(what, "take open-vocabulary:IDEA-Research/grounding-dino-tiny")
            self._own_names = self._worker.call(child.find_words, self._checkpoint, list(meant))
        return {index: meant[name] for index, name in self._own_names.items() if name in meant}

    def _arguments(self, labels: dict[int, str]) -> dict[str, Any]:
        """ultralytics' predict() arguments."""
        asked = {"conf": self._threshold, "max_det": self._options.max_det, "classes": sorted(labels)}
        # Else it is the size at which the checkpoint was trained.
        return asked | ({"imgsz": self._options.image_size} if self._options.image_size else {})

    def _annotations(
        self, objects: list[child.Object], labels: dict[int, str], classes: Sequence[str]
    ) -> Iterator[Annotation]:
        """One image's guesses, each object's points after it."""
        known = [one for one in objects if one.number in labels]
        provenance = self._provenance()
        drawn = [Annotation(labels[o.number], provenance, score=o.score, **o.geometry) for o in known]
        for place in self._first_looks(drawn, labels):
            name = f"{place + 1}" if self.task == "keypoints" else ""
            yield replace(drawn[place], id=name)
            for point, x, y in known[place].points:
                own = self._point_names[known[place].number][point]
                label = self._by_case.taken.get(own, self._mapped(own))
                if label in classes:
                    score = known[place].score
                    yield Annotation(label, provenance, score=score, keypoints=((x, y),), parent=name)

    def _first_looks(self, objects: list[Annotation], labels: dict[int, str]) -> Iterable[int]:
        """Leave out second looks at one place: at what several prompts of a class found, or at any label.

        ultralytics' own suppression comes before boxes are cut to the image, and YOLO26 has none.
        """
        several = self._reads and len(set(labels.values())) < len(labels)
        if not (several or self._options.one_label_a_place):
            return range(len(objects))
        same = overlap.iou(objects, objects) > SAME_PLACE
        if not self._options.one_label_a_place:
            names = np.array([a.label for a in objects])
            same &= names[:, None] == names
        kept: list[int] = []
        for number in range(len(objects)):
            if not same[number, kept].any():
                kept.append(number)
        return kept


def _beside(checkpoint: Path, engine: str) -> str:
    """What was exported from a checkpoint and may be quicker than it on the CPU. It is not taken unasked: a
    device decides no guess, and an export may be of another size."""
    asked = engine.endswith("cpu") and checkpoint.suffix == ".pt"
    names = [checkpoint.stem + end for end in ENGINES if asked]
    there = [name for name in names if checkpoint.with_name(name).exists()]
    return f" ({', '.join(there)} beside it is run where it is named)" if there else ""


def _need_engine(checkpoint: Path) -> None:
    for end, package in ENGINES.items():
        if checkpoint.name.endswith(end) and find_spec(package) is None:
            raise ModelError(f"{checkpoint.name} needs the package {package}", f"pip install {package}")


def start_worker(log: Path) -> Worker:
    """A child process in which ultralytics may be imported. ModelError where it is not installed."""
    if find_spec("ultralytics") is None:
        raise ModelError(
            "ultralytics is not installed (it is AGPL-3.0, so optional)", "pip install ultralytics"
        )
    return Worker(log, environment())


def environment() -> dict[str, str]:
    """What a process must have in its environment before it imports ultralytics."""
    return ENVIRONMENT | {"YOLO_CONFIG_DIR": str(_config_folder())}


def _config_folder() -> Path:
    """A settings folder of our own that holds the fonts which ultralytics would else ask the network for.

    The second is for class names that are not ASCII.
    """
    import matplotlib

    folder = fetched_folder().parent / "ultralytics"
    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        font = folder / "Ultralytics" / name
        if not font.exists():
            font.parent.mkdir(parents=True, exist_ok=True)
            partial = font.with_name(f"{os.getpid()}.partial")
            shutil.copyfile(source, partial)
            partial.replace(font)
    return folder

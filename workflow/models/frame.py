"""What annotators share, so that a family's file holds only what its network does.

A family is a subclass of `Frame`, or of `HubFrame` where its checkpoints lie as the hub's do. It opens a
checkpoint, and says in `_look` what the network guesses of some images of one size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from workflow.models import Counted, Full, Guesses, Later, Options, Pixels, Size, Whole, hub, lines_of
from workflow.models.batches import Batch, by_batch, filled_up, same_size_batches, seen_by
from workflow.models.boxes import case_match, known_labels, told, usual_threshold
from workflow.models.device import pick_device, ready
from workflow.project.rows import digest
from workflow.project.settings import MAX_DET
from workflow.records import Provenance
from workflow.schema import CaseMatch
from workflow.shapes import masks
from workflow.tasks import TASKS, TaskName

__all__ = ["Frame", "HubFrame", "Size", "cut", "within"]


# What families of which the threshold, or the names too, can be decided afterwards say so by.
THRESHOLD: frozenset[Later] = frozenset({"threshold"})
NAMES_TOO: frozenset[Later] = frozenset({"threshold", "names"})
# Down to which score guesses are kept where no threshold is below it. A mask takes time to draw, and disk.
FLOOR = 0.01
MASKS_FLOOR = 0.1


class Frame:
    """An `Annotator` but for its network.

    `content` says what the checkpoint holds, by digests, a commit or whatever else decides it. `own_names`
    are the network's classes by their numbers, empty for one that finds what it is told. `engine` says what
    runs the network, and where.
    """

    engine = "PyTorch"
    # What of its guesses can be decided afterwards: of nothing, unless a family is known to.
    decided_later: frozenset[Later] = frozenset()

    def __init__(
        self,
        spec: str,
        options: Options,
        task: TaskName,
        content: Sequence[Any],
        own_names: Mapping[int, str] | None = None,
    ) -> None:
        self.name = spec
        self.task = task
        self.content = list(content)
        self.revision = digest([*content, options.identity()])
        self.later: frozenset[Later] = self.decided_later if options.undecided else frozenset()
        self._options = self._left_open(options)
        self._own_names = dict(own_names or {})
        threshold = self._options.threshold
        self._threshold = usual_threshold(task) if threshold is None else threshold
        # Images with as many guesses as the model can give or is allowed to, by that number.
        self._full: Counter[int] = Counter()
        # Of each image that it was asked about last, where it gave as many guesses as it can.
        self.full: list[tuple[Full, ...]] = []
        # The numbers of the images that the network is looking at.
        self._looked_at: list[int] = []
        # What was taken for a class, or was not, of the names that are like one.
        self._by_case = CaseMatch({}, {})

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        """Have a checkpoint that is named, not on this machine, fetched into `folder` or a cache, or raise
        ModelError."""
        raise NotImplementedError

    @classmethod
    def on_this_machine(cls) -> list[str]:
        """The checkpoints of this family that can be loaded by their names."""
        return []

    @property
    def names(self) -> tuple[str, ...]:
        mapped = [self._options.class_map.get(name, name) for name in self._own_names.values()]
        return tuple(dict.fromkeys(mapped))

    @property
    def shortfalls(self) -> tuple[str, ...]:
        return lines_of(self.counted)

    @property
    def counted(self) -> Counted:
        shown = "slices" if self._options.slices else "images"
        return told(self.name, self._full, self._by_case, shown)

    def least(self, height: int, width: int) -> Size | None:
        return None if self._options.exact_decode else self._seen_at(height, width)

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        return self.annotate_reduced(images, [Whole(*image.shape[:2]) for image in images], classes)

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Guesses]:
        labels = self._labels(classes)
        # What is too narrow for networks is shown on a wider ground.
        shown = [filled_up(image) for image in images]
        grounds = [spread(image, whole.scale) for image, whole in zip(shown, wholes, strict=True)]
        self.full = [()] * len(images)

        def look(inputs: Any, numbers: list[int]) -> Iterable[Guesses]:
            self._looked_at = numbers
            return self._look(inputs, [grounds[number] for number in numbers], labels)

        answers = by_batch(self._batches(shown), len(shown), look)
        # Not before: who asks again, for fewer at a time, has none counted twice.
        self._tell_full()
        return [within(guesses, w.height, w.width) for guesses, w in zip(answers, wholes, strict=True)]

    def left_open(self) -> dict[str, Any]:
        """What `choice.Asked` must know where something is left to be decided."""
        own = list(self._own_names.values()) if self.names else []
        return {
            "later": tuple(sorted(self.later)),
            "content": tuple(self.content),
            "names": tuple(own),
            "also": tuple(n for n in dict.fromkeys(self._all_names()) if n not in own) if own else (),
            "least": self._threshold,
            "most": self._options.max_det,
        }

    def close(self) -> None:
        self.__dict__.pop("_model", None)

    def _labels(self, classes: Sequence[str]) -> dict[int, str]:
        """The network's class numbers that mean a class of the project. ModelError where none does."""
        self._by_case = case_match(self._all_names(), self._options.class_map, classes)
        return known_labels(self.name, self._own_names, self._options.class_map, classes)

    def _all_names(self) -> list[str]:
        """The network's own names, of its classes and of whatever else it names."""
        return list(self._own_names.values())

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        """The images as the network takes them."""
        raise NotImplementedError

    def _look(self, inputs: Any, sizes: Sequence[Size], labels: Mapping[int, str]) -> Iterable[Guesses]:
        """The guesses of each image of one batch; `sizes` are the images' own (height, width)."""
        raise NotImplementedError

    def _seen_at(self, height: int, width: int) -> Size | None:
        """At what size the network sees an image, before any of it is cut off; None where it sees all."""
        return None

    def _provenance(self) -> Provenance:
        return Provenance("model", self.name, self.revision)

    def _count_full(self, place: int, scores: Iterable[float], limit: int) -> None:
        """Note where the network gave guesses of these scores, and `limit` is the most it can.

        It is of the image at that place among those that it is looking at.
        """
        ranked = sorted(map(float, scores), reverse=True)
        if len(ranked) >= limit:
            number = self._looked_at[place]
            self.full[number] = (*self.full[number], Full(limit, ranked[limit - 1]))

    def _tell_full(self) -> None:
        """Count, for people, the images on which it gave as many guesses as it can."""
        self._full.update(limit for some in self.full for limit in {one.limit for one in some})

    def _left_open(self, options: Options) -> Options:
        """The options as its network is asked, where the rest is decided afterwards."""
        if "threshold" not in self.later:
            return options
        usual = usual_threshold(self.task) if options.threshold is None else options.threshold
        lowest = MASKS_FLOOR if "mask" in TASKS[self.task].geometry else FLOOR
        lowest = lowest if options.floor is None else options.floor
        floor = min(lowest, usual) if TASKS[self.task].of_objects else 0.0
        most = max(options.max_det, MAX_DET)
        options = replace(options, threshold=floor, one_label_a_place=False, max_det=most)
        return replace(options, class_map={}) if "names" in self.later else options


def spread(image: Pixels, scale: int) -> Size:
    """The height and width of what is shown at a reduced scale, in the pixels of the whole image."""
    return image.shape[0] * scale, image.shape[1] * scale


def cut(guesses: Guesses, image: Pixels) -> Guesses:
    """The guesses of an image that was filled up, without what lies in the margin."""
    return within(guesses, *image.shape[:2])


def within(guesses: Guesses, height: int, width: int) -> Guesses:
    """The guesses of an image that was larger, without what lies outside this size."""
    kept = []
    for a in guesses:
        if a.mask is not None and (a.mask.height, a.mask.width) != (height, width):
            bits = masks.decode(a.mask)[:height, :width]
            kept += [replace(a, mask=masks.encode(bits))] if bits.any() else []
        elif a.box is not None and not a.within(width, height):
            x1, y1, x2, y2 = a.box
            box = (x1, y1, min(x2, float(width)), min(y2, float(height)))
            kept += [replace(a, box=box)] if box[2] - box[0] >= 1 and box[3] - box[1] >= 1 else []
        elif a.keypoints is None or a.within(width, height):
            kept.append(a)
    return tuple(kept)


class HubFrame(Frame):
    """A `Frame` round a model of transformers (Apache-2.0), in evaluation mode on its device.

    `family` is its name in `MODELS`; `auto` and `processor` are the classes of transformers that open it,
    `kinds` the types of model that are of this family, by their configs' `model_type` (all that `auto` opens
    where none is named), and `head` the weights without which it would guess at random. Images are scaled as
    the checkpoint's own processor says, whatever `image_size` is.
    """

    family: ClassVar[str]
    auto: ClassVar[str]
    processor: ClassVar[str] = "AutoImageProcessor"
    kinds: ClassVar[tuple[str, ...]] = ()
    head: ClassVar[Sequence[str]] = hub.WHOLE
    # Whether all that it answers follows from what its processor makes of an image, and the image's size.
    reduces: ClassVar[bool] = False

    def __init__(
        self, spec: str, checkpoint: Path | str, options: Options, task: TaskName, *content: Any
    ) -> None:
        folder, commit = hub.find(self.family, spec, checkpoint)
        hub.check_kind(spec, folder, self.kinds)
        self._device = pick_device(options.device)
        self._model, self._processor = self._open(spec, folder)
        self._model = ready(self._model, self._device, options.compiled)
        self.engine = f"PyTorch, {self._device}"
        super().__init__(spec, options, task, [commit, *content], self._classes(options))

    @classmethod
    def fetch(cls, checkpoint: str, folder: Path) -> None:
        hub.fetch(cls.family, checkpoint)

    @classmethod
    def on_this_machine(cls) -> list[str]:
        return list(hub.cached_checkpoints(cls._takes))

    @classmethod
    def _takes(cls, config: Mapping[str, Any]) -> bool:
        """Whether a checkpoint of this config is of this family."""
        return config.get("model_type") in cls.kinds

    @classmethod
    def _open(cls, spec: str, folder: Path) -> tuple[Any, Any]:
        """Model and processor of a checkpoint in `folder`."""
        import transformers

        auto, processor = (getattr(transformers, name) for name in (cls.auto, cls.processor))
        return hub.load_parts(auto, processor, spec, folder, cls.head)

    def _classes(self, options: Options) -> Mapping[int, str]:
        """The network's classes by their numbers; none for one that finds what it is told."""
        return {}

    def _batches(self, images: Sequence[Pixels]) -> list[Batch]:
        return same_size_batches(self._image_processor, images)

    def _seen_at(self, height: int, width: int) -> Size | None:
        return seen_by(self._image_processor, height, width) if self.reduces else None

    @property
    def _image_processor(self) -> Any:
        return getattr(self._processor, "image_processor", self._processor)

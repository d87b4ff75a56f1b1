"""The engine: files are decoded, batched, shown to an annotator, all of it at the same time.

Threads decode what comes next, at the scale that the annotator needs; another shows it batches of one
shape; the caller has what came before. All that waits in between is bounded, in number and in memory.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar, cast

from workflow.errors import ImageError, OutOfMemory, is_out_of_memory
from workflow.guesses.tally import Tally
from workflow.images import decode, memory
from workflow.images.depth import Levels
from workflow.images.file import File
from workflow.models import Guesses, Pixels, Reducing, Whole
from workflow.running.ahead import ahead, each_ahead
from workflow.running.cores import cores

# What an image is called by who asks.
Key = TypeVar("Key")
# What is said of an image: guesses, or what they are chosen from.
Said = TypeVar("Said")
Said_co = TypeVar("Said_co", covariant=True)
BATCH = 8
# No batch holds images of two runs, of so many batches each, whoever asks about which of them: a network's
# sums over a batch of another size may differ in their last bits.
RUN = 32
# Batches of images that wait until others of their shape have been decoded.
SORTED = 4
# Of the memory for pixels, what is decoded ahead may take one part, what waits to be shown the others.
PARTS = 3


class Asks(Protocol[Said_co]):
    """Whoever is shown images and says something of each: an `Annotator`, say. It may be `Reducing`."""

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> Sequence[Said_co]: ...


@dataclass(frozen=True, slots=True)
class Source(Generic[Key]):
    """An image to be asked about: who asks calls it `key`; its pixels take about `size` bytes.

    `levels` are black and white, for deep gray.
    """

    key: Key
    path: File
    size: int
    levels: Levels | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Within which images are decoded, as in `images.decode`."""

    max_megapixels: float = 200.0
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class _Picture(Generic[Key]):
    """A decoded image, the `number`-th that was asked about; without a `view` it is broken."""

    number: int
    source: Source[Key]
    view: decode.View | None

    @property
    def size(self) -> int:
        return self.view.pixels.nbytes if self.view else 0


def ask_all(
    annotator: Asks[Said],
    sources: Sequence[Source[Key]],
    classes: Sequence[str],
    limits: Limits,
    batch: int = BATCH,
    workers: int | None = None,
    tally: Tally | None = None,
) -> Generator[list[tuple[Key, Said]], None, None]:
    """What the annotator says of images, some at a time, in their order; broken ones go to the `tally`.

    `batch` is how many it is shown at most; after it ran out of memory, half as many. ModelError as the
    annotator raises, OutOfMemory where even one image is too much for it.
    """
    tally = tally or Tally()
    answers = _answers(annotator, sources, classes, limits, batch, workers or cores(), tally)
    return timed(answers, ahead(answers), tally)


def timed(
    answers: Generator[list[tuple[Key, Said]], None, None],
    drawn: Generator[list[tuple[Key, Said]], None, None],
    tally: Tally,
) -> Generator[list[tuple[Key, Said]], None, None]:
    """The answers as they are drawn; what the caller does in between counts as writing."""
    with closing(answers), closing(drawn):
        for part in drawn:
            start = time.perf_counter()
            yield part
            tally.took("write", time.perf_counter() - start, len(part))


def _answers(
    annotator: Asks[Said],
    sources: Sequence[Source[Key]],
    classes: Sequence[str],
    limits: Limits,
    batch: int,
    workers: int,
    tally: Tally,
) -> Generator[list[tuple[Key, Said]], None, None]:
    most = memory.budget(limits.memory) // PARTS

    def look(numbered: tuple[int, Source[Key]]) -> _Picture[Key]:
        start = time.perf_counter()
        try:
            view = _view(numbered[1], annotator, limits)
        except ImageError as error:
            tally.broken(str(numbered[1].path), error)
            view = None
        tally.took("decode", (time.perf_counter() - start) / workers)
        return _Picture(*numbered, view)

    asked = _Asking(annotator, classes, batch, tally)
    waiting = 2 * batch + workers
    pictures = each_ahead(look, enumerate(sources), waiting, workers, lambda one: one[1].size, most)
    with closing(pictures):
        results: dict[int, tuple[Key, Said] | None] = {}
        upcoming = 0
        for some in in_runs(pictures, asked, most):
            results |= asked.about(some)
            part = []
            while upcoming in results:
                result = results.pop(upcoming)
                part += [result] if result else []
                upcoming += 1
            if part:
                yield part


def _view(source: Source[Key], annotator: Asks[Said], limits: Limits) -> decode.View:
    most = (limits.max_megapixels, limits.memory)
    if source.levels is None and isinstance(annotator, Reducing):
        return decode.view(source.path, annotator.least, *most)
    pixels = decode.from_file(source.path, *most, source.levels)
    return decode.View(pixels, *pixels.shape[:2])


class _Asking(Generic[Said]):
    """Shows an annotator some images at a time: `batch` at most, of fewer after it ran out of memory."""

    def __init__(self, annotator: Asks[Said], classes: Sequence[str], batch: int, tally: Tally) -> None:
        self._annotator, self._classes, self._tally = annotator, classes, tally
        self.batch = batch

    def about(self, pictures: Sequence[_Picture[Key]]) -> dict[int, tuple[Key, Said] | None]:
        """What it says of the pictures, by their numbers; None of what is broken."""
        answers: dict[int, tuple[Key, Said] | None] = {p.number: None for p in pictures if p.view is None}
        rest = [picture for picture in pictures if picture.view]
        while rest:
            some, rest = rest[: self.batch], rest[self.batch :]
            start = time.perf_counter()
            guesses = self._guesses(some)
            self._tally.took("model", time.perf_counter() - start)
            if guesses is None:
                self._shrink(some)
                rest = some + rest
                continue
            answers |= {p.number: (p.source.key, own) for p, own in zip(some, guesses, strict=True)}
        return answers

    def _guesses(self, pictures: Sequence[_Picture[Key]]) -> list[Said] | None:
        """None where memory was too short. What the error held is free again by then."""
        views = [picture.view for picture in pictures if picture.view]
        pixels = [view.pixels for view in views]
        wholes = [Whole(view.height, view.width, view.scale) for view in views]
        reduced = any(whole.scale > 1 for whole in wholes)
        try:
            if reduced and isinstance(self._annotator, Reducing):
                reducing = cast(Any, self._annotator)
                return list(reducing.annotate_reduced(pixels, wholes, self._classes))
            return list(self._annotator.annotate(pixels, [()] * len(pixels), self._classes))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _shrink(self, pictures: Sequence[_Picture[Key]]) -> None:
        gc.collect()
        if len(pictures) == 1:
            what = f"{pictures[0].source.path}: out of memory, though it was shown to the model alone"
            raise OutOfMemory(what, "--device cpu, a smaller image_size, or a smaller model")
        self.batch = len(pictures) // 2
        self._tally.shrank(self.batch)


def in_runs(
    pictures: Iterable[_Picture[Key]], asked: _Asking[Any], most: int
) -> Iterator[list[_Picture[Key]]]:
    """As `batches`, of each run by itself."""
    length = RUN * asked.batch
    for _, run in groupby(pictures, lambda picture: picture.number // length):
        yield from batches(run, asked, most)


def batches(
    pictures: Iterable[_Picture[Key]], asked: _Asking[Any], most: int
) -> Iterator[list[_Picture[Key]]]:
    """The pictures in batches of one shape, each of which is what the annotator is shown at a time.

    A picture waits while others come before it that make a batch, `SORTED` batches of them or `most` bytes at
    most; then those of the shape of the oldest are given, as many as there are. A broken one comes at once.
    """
    # The first group is the one whose first picture waits longest.
    groups: dict[tuple[int, ...], list[_Picture[Key]]] = {}
    count = size = 0
    for picture in pictures:
        if picture.view is None:
            yield [picture]
            continue
        while groups and (count >= SORTED * asked.batch or size + picture.size > most):
            some = groups.pop(next(iter(groups)))
            count, size = count - len(some), size - sum(one.size for one in some)
            yield some
        shape = picture.view.pixels.shape
        group = groups.setdefault(shape, [])
        group.append(picture)
        count, size = count + 1, size + picture.size
        if len(group) >= asked.batch:
            del groups[shape]
            count, size = count - len(group), size - sum(one.size for one in group)
            yield group
    yield from groups.values()

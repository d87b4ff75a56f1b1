"""A crew of processes, one a device. One that dies is started anew, and what it left unanswered asked again.

The images are given out in parts of whole runs, as the engine has them, the next to whoever is free. Answers
wait until those before them are there; no part is given out that is far ahead of the oldest that is missing.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from workflow.errors import ModelError, ProcessDied
from workflow.guesses.crew import Job
from workflow.guesses.engine import RUN, Limits, Source, ask_all, timed
from workflow.guesses.tally import Tally
from workflow.models import Counted, lines_of
from workflow.models.choice import Asked
from workflow.running.ahead import ahead
from workflow.running.cores import cores
from workflow.running.worker import Worker

Key = TypeVar("Key")
# Each device gets at least so many parts, so that all end at about the same time; a part is so many of the
# engine's runs at most: before each the device waits for a batch to be decoded.
PARTS = 4
LONGEST = 4
# So many parts a device are out or wait at most.
AHEAD = 4
# A device whose process died so often, and answered nothing in between, is given up.
HOPELESS = 2


class Told(NamedTuple):
    """What a loaded model says of itself."""

    name: str
    revision: str
    asked: Asked
    names: tuple[str, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """How images are asked about, as `ask_all` takes it."""

    classes: Sequence[str]
    limits: Limits
    batch: int
    workers: int


@dataclass(frozen=True)
class Part:
    """Images that are given out together, by their numbers, which follow each other; `deaths` processes died
    of them."""

    sources: Sequence[Source[int]]
    deaths: int = 0


@dataclass
class Seat:
    """A device and its process. `deaths` in a row without an answer, and whether it is at work."""

    device: str
    number: int
    worker: Worker
    part: Part | None = None
    deaths: int = 0
    starting: bool = True
    done: set[int] = field(default_factory=set)


class Event(NamedTuple):
    """What happened at a seat: "ready", "some" answers, "done", "died" or "failed", and what came with it."""

    seat: Seat
    kind: str
    value: Any


class Devices:
    """One model a device, each in a process of its own. ModelError where one cannot be loaded."""

    def __init__(self, job: Job, devices: Sequence[str]) -> None:
        self._job = job
        self._counts: Counter[tuple[str, str]] = Counter()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._pool = ThreadPoolExecutor(len(devices), "device")
        self._seats: list[Seat] = []
        try:
            for number, device in enumerate(devices):
                self._seats.append(Seat(device, number, self._worker(number)))
            loading = [self._pool.submit(s.worker.call, _load, job, s.device) for s in self._seats]
            self._told: list[Told] = [future.result() for future in loading]
        except BaseException:
            self.close()
            raise
        for seat in self._seats:
            seat.starting = False

    @property
    def name(self) -> str:
        return self._told[0].name

    @property
    def revision(self) -> str:
        return self._told[0].revision

    @property
    def asked(self) -> Asked:
        return self._told[0].asked

    @property
    def names(self) -> tuple[str, ...]:
        return self._told[0].names

    @property
    def engines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line for told in self._told for line in told.engines))

    @property
    def shortfalls(self) -> tuple[str, ...]:
        return lines_of(self._counts)

    def ask(
        self,
        sources: Sequence[Source[Key]],
        classes: Sequence[str],
        limits: Limits,
        batch: int,
        workers: int | None,
        tally: Tally,
    ) -> Generator[list[tuple[Key, Any]], None, None]:
        """As `engine.ask_all`; a device's process has its share of the threads that decode.

        ModelError names the image that ended every process it was shown to.
        """
        share = max(1, (workers or cores()) // len(self._seats))
        question = Question(tuple(classes), limits, batch, share)
        numbered = [Source(number, s.path, s.size, s.levels) for number, s in enumerate(sources)]
        board = Board(numbered, batch, len(self._seats))
        answers = self._answers(board, question, tally, [source.key for source in sources])
        return timed(answers, ahead(answers), tally)

    def close(self) -> None:
        for seat in self._seats:
            if seat.part or seat.starting:
                # Nobody waits for its answer any more but a thread.
                seat.worker.kill()
        self._pool.shutdown(cancel_futures=True)
        for seat in self._seats:
            seat.worker.close()

    def _answers(
        self, board: Board, question: Question, tally: Tally, keys: Sequence[Key]
    ) -> Generator[list[tuple[Key, Any]], None, None]:
        while not board.finished:
            for seat in self._seats:
                if seat.part is None and not seat.starting and (part := board.next()):
                    seat.part, seat.done = part, set()
                    self._pool.submit(self._work, seat, seat.worker, part, question)
            self._handle(self._events.get(), board, tally)
            if some := board.ready():
                yield [(keys[number], guesses) for number, guesses in some]

    def _work(self, seat: Seat, worker: Worker, part: Part, question: Question) -> None:
        """In a thread: have a seat's process answer a part, and tell what happens."""
        try:
            *_, last = self._told_of(seat, worker.stream(_ask, part.sources, question))
            # Not before the process is done with all of it: whoever is free is asked the next.
            self._events.put(Event(seat, "done", last))
        except ProcessDied as error:
            self._events.put(Event(seat, "died", error))
        except BaseException as error:
            self._events.put(Event(seat, "failed", error))

    def _told_of(self, seat: Seat, answers: Iterator[Any]) -> Iterator[Any]:
        """All that a process answers; answers are told as they come."""
        for answer in answers:
            if isinstance(answer, list):
                self._events.put(Event(seat, "some", answer))
            yield answer

    def _handle(self, event: Event, board: Board, tally: Tally) -> None:
        seat, part = event.seat, event.seat.part
        match event.kind:
            case "some":
                seat.deaths = 0
                seat.done.update(number for number, _ in event.value)
                board.answer(event.value)
            case "done":
                assert part
                report, counts = event.value
                tally.add(report, len(self._seats))
                self._counts.update(counts)
                board.answer([(s.key, None) for s in part.sources if s.key not in seat.done])
                seat.part = None
            case "ready":
                seat.starting = False
            case "died":
                self._died(seat, event.value, board)
            case "failed":
                raise event.value

    def _died(self, seat: Seat, error: ProcessDied, board: Board) -> None:
        """Give what the seat was at to whoever is free, and start a new process for it."""
        part, seat.part = seat.part, None
        seat.deaths += 1
        seat.starting = True
        seat.worker.close()
        rest = [source for source in part.sources if source.key not in seat.done] if part else []
        hopeless = seat.deaths >= HOPELESS and len(self._seats) > 1
        if part and rest:
            # A device that may be broken has no say in which image is.
            if part.deaths >= 2 and not hopeless:
                what = f"{rest[0].path}: {error.problem} each time it was shown this image"
                raise ModelError(what, f"take it out of the images, or {error.fix}")
            board.again(part, rest)
        then = f"is {'given up' if hopeless else 'started anew'}; {len(rest)} images are asked again"
        line = f"{seat.device}: {error.problem}, and {then} -> {error.fix}"
        print(line, file=sys.stderr, flush=True)
        if hopeless:
            self._seats.remove(seat)
            return
        seat.worker = self._worker(seat.number)
        self._pool.submit(self._start, seat)

    def _start(self, seat: Seat) -> None:
        """In a thread: load the model in a seat's new process."""
        try:
            self._events.put(Event(seat, "ready", seat.worker.call(_load, self._job, seat.device)))
        except ProcessDied as error:
            self._events.put(Event(seat, "died", error))
        except BaseException as error:
            self._events.put(Event(seat, "failed", error))

    def _worker(self, number: int) -> Worker:
        return Worker(self._job.logs / f"device-{number}.log", with_children=True)


class Board:
    """Which images are still to be given out, and which answers have come but wait for those before them."""

    def __init__(self, sources: Sequence[Source[int]], batch: int, seats: int) -> None:
        self._run = batch * RUN
        runs = -(-len(sources) // self._run)
        size = self._run * max(1, min(LONGEST, runs // (PARTS * seats)))
        self._window = AHEAD * seats * size
        self._total = len(sources)
        self._parts = deque(Part(sources[start : start + size]) for start in range(0, len(sources), size))
        self._answers: dict[int, Any | None] = {}
        self._given = 0

    @property
    def finished(self) -> bool:
        return self._given == self._total

    def next(self) -> Part | None:
        """The next part, unless there is none, or it is too far ahead."""
        if not self._parts or self._parts[0].sources[0].key >= self._given + self._window:
            return None
        return self._parts.popleft()

    def again(self, part: Part, rest: Sequence[Source[int]]) -> None:
        """Have the `rest` of a part asked about before all others, whose process died: in its whole runs, so
        that batches are the same; or one by one, where it is the second."""
        if part.deaths:
            self._parts.extendleft(Part([source], 2) for source in reversed(rest))
        else:
            start = rest[0].key - rest[0].key % self._run
            self._parts.appendleft(Part([source for source in part.sources if source.key >= start], 1))

    def answer(self, answers: Sequence[tuple[int, Any | None]]) -> None:
        """Take answers, of which some may have been given before; None is that of a broken image."""
        self._answers |= {number: guesses for number, guesses in answers if number >= self._given}

    def ready(self) -> list[tuple[int, Any]]:
        """The answers whose turn it is; they are not given again."""
        some = []
        while self._given in self._answers:
            guesses = self._answers.pop(self._given)
            some += [] if guesses is None else [(self._given, guesses)]
            self._given += 1
        return some


# In the process of a device: its model.
_loaded: list[Any] = []


def _load(job: Job, device: str) -> Told:
    model = job.load(job.folder, device)
    _loaded.append(model)
    return Told(model.name, model.revision, model.asked, model.names, model.engines)


def _ask(sources: Sequence[Source[int]], question: Question) -> Iterator[Any]:
    """The answers of the model, a list of some at a time; at the end what became of the images, and what was
    counted, as a tuple."""
    (model,) = _loaded
    tally = Tally()
    before = Counter(model.counted)
    asked = ask_all(
        model, sources, question.classes, question.limits, question.batch, question.workers, tally
    )
    yield from asked
    yield tally.report(), _since(model.counted, before)


def _since(now: Counted, before: Counter[tuple[str, str]]) -> Counted:
    """What was counted meanwhile; what is only said, and not counted, stays."""
    return {line: count - before[line] for line, count in now.items()}

"""Guesses of whole images for people who wait: at once where they are known, else as soon as they are made.

One thread loads the model and guesses. Who asks waits a moment only; what is not ready by then is made
all the same, kept for the next who asks, and handed to `deliver`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from workflow.errors import WorkflowError
from workflow.records import ImageRecord, Json

# Seconds somebody may wait: the editor shows a task only when it has been answered.
PATIENCE = 2.0
# Images guessed at once, and predictions kept in memory.
BATCH, KEPT = 8, 2000


class Guesser(Protocol):
    """What people are shown of a loaded model. `version` names it and its revision."""

    version: str

    def known(self, record: ImageRecord) -> Json | None:
        """What is to be shown without asking it: what it said before; {} for nothing."""
        ...

    def guess(self, records: Sequence[ImageRecord]) -> Mapping[str, Json]:
        """Predictions {result, score, model_version} by image id; {} where there is nothing to show.

        An image that cannot be read is left out.
        """
        ...

    def close(self) -> None: ...


class Predictor:
    """Answers from memory, from what is written down, or from the model, in this order.

    `deliver` takes {task: prediction} of what came too late for who asked. `say` is told of what went wrong.
    """

    def __init__(
        self,
        load: Callable[[], Guesser],
        say: Callable[[str], None],
        deliver: Callable[[dict[int, Json]], None] | None = None,
    ) -> None:
        self._load, self._say, self._deliver = load, say, deliver
        self._guesser: Guesser | None = None
        self._failed = ""
        self._made: OrderedDict[str, Json] = OrderedDict()
        self._queue: OrderedDict[str, ImageRecord] = OrderedDict()
        self._busy: set[str] = set()
        self._late: dict[str, int] = {}
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="predictor", daemon=True)
        self._thread.start()

    @property
    def version(self) -> str:
        """The model's version; empty until it is loaded."""
        return self._guesser.version if self._guesser else ""

    @property
    def problem(self) -> str:
        """Why the model could not be loaded; empty where it was, or is being loaded."""
        return self._failed

    def ask(self, tasks: Mapping[int, ImageRecord], patience: float = PATIENCE) -> dict[int, Json]:
        """Predictions of those tasks that are ready within `patience` seconds; {} for nothing to show."""
        end = time.monotonic() + patience
        with self._changed:
            for record in tasks.values():
                # Who asks now is answered now, and need not be sent the same later.
                self._late.pop(record.id, None)
                if record.id not in self._made and record.id not in self._busy and not self._failed:
                    # One image is what somebody looks at; a batch can wait.
                    self._queue[record.id] = record
                    self._queue.move_to_end(record.id, last=len(tasks) > 1)
            self._changed.notify_all()
            wanted = {record.id for record in tasks.values()}
            self._changed.wait_for(
                lambda: self._failed or self._ending or not wanted - self._made.keys(),
                max(0.0, end - time.monotonic()),
            )
            ready = {t: self._made[r.id] for t, r in tasks.items() if r.id in self._made}
            if not self._failed:
                self._late |= {r.id: t for t, r in tasks.items() if t not in ready}
            return ready

    def close(self) -> None:
        """Finish the batch under way; what waits is forgotten, and a model still being loaded abandoned."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._guesser:
            self._thread.join()
            self._guesser.close()

    def _run(self) -> None:
        try:
            self._guesser = self._load()
        except Exception as error:
            what = str(error) if isinstance(error, WorkflowError) else f"{type(error).__name__}: {error}"
            with self._changed:
                self._failed = what
                self._changed.notify_all()
            self._say(f"no guesses: {what}")
            return
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ending)
                if self._ending:
                    return
                records = [self._queue.popitem(last=False)[1] for _ in range(min(BATCH, len(self._queue)))]
                self._busy = {record.id for record in records}
            self._keep(records, self._guess(self._guesser, records))

    def _guess(self, guesser: Guesser, records: Sequence[ImageRecord]) -> dict[str, Json]:
        try:
            known = {r.id: shown for r in records if (shown := guesser.known(r)) is not None}
            rest = [r for r in records if r.id not in known]
            return known | dict(guesser.guess(rest)) if rest else known
        # A model may fail on an image in any way; who asks for the next one must not pay for it.
        except Exception as error:
            self._say(f"no guesses on {len(records)} images: {type(error).__name__}: {error}")
            return {}

    def _keep(self, records: Sequence[ImageRecord], predictions: Mapping[str, Json]) -> None:
        with self._changed:
            self._busy, late = set(), {}
            for record in records:
                prediction = predictions.get(record.id, {})
                self._made[record.id] = prediction
                self._made.move_to_end(record.id)
                task = self._late.pop(record.id, None)
                if task is not None and prediction:
                    late[task] = prediction
            self._changed.notify_all()
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        if late and self._deliver:
            try:
                self._deliver(late)
            except WorkflowError as error:
                self._say(f"{len(late)} predictions wait for who asks again: {error}")

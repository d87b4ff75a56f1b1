"""Who asks a project's annotators: this process, one process a device, or actors of a Ray cluster (`on_ray`).

All of them ask by the same function, in the same runs of images, so that they give the same answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

from workflow.errors import ConfigError
from workflow.models.chain import Chain
from workflow.project.paths import Project
from workflow.records import ImageRecord
from workflow.running.worker import Worker

Run = Sequence[ImageRecord]


@dataclass(frozen=True)
class Job:
    """What another process needs to annotate as this one would; all of it can be pickled.

    `load` loads the annotators of a project for a device, and `ask` makes an answer of a run of its images:
    functions of a module, as other processes find them by their names.
    """

    project: Project
    load: Callable[[Project, str], Chain]
    ask: Callable[[Chain, Project, Run], Any]


class Crew(Protocol):
    def annotate(self, runs: Iterable[Run]) -> Iterator[Any]:
        """The answer to each run, in any order. What an annotator raises is raised here."""
        ...

    def close(self) -> None: ...


def crew_of(job: Job, device: str) -> Crew:
    """The crew for `device`: this process for one, and one each for several, separated by commas.

    ConfigError where one of them has no name.
    """
    devices = [name.strip() for name in device.split(",")]
    if not all(devices):
        raise ConfigError([f"--device {device!r}: a device is missing"], "--device cuda:0,cuda:1")
    return Here(job, devices[0]) if len(devices) == 1 else Processes(job, devices)


class Here:
    """One annotator in this process."""

    def __init__(self, job: Job, device: str) -> None:
        self._job = job
        self._annotator = job.load(job.project, device)

    def annotate(self, runs: Iterable[Run]) -> Iterator[Any]:
        return (self._job.ask(self._annotator, self._job.project, run) for run in runs)

    def close(self) -> None:
        self._annotator.close()


class Processes:
    """One annotator a device, each in a process of its own."""

    def __init__(self, job: Job, devices: Sequence[str]) -> None:
        logs = job.project.data / "logs"
        share = _threads(devices)
        self._workers: list[Worker] = []
        try:
            for number, device in enumerate(devices):
                environment = {"OMP_NUM_THREADS": str(share)} if device == "cpu" else {}
                log = logs / f"device-{number}.log"
                self._workers.append(Worker(log, environment, with_children=True))
                self._workers[-1].send(_load, job, device)
            for worker in self._workers:
                worker.receive()
        except BaseException:
            self.close()
            raise

    def annotate(self, runs: Iterable[Run]) -> Iterator[Any]:
        upcoming = iter(runs)
        busy: dict[Future[Any], Worker] = {}
        pool = ThreadPoolExecutor(len(self._workers))

        def give(worker: Worker) -> None:
            run = next(upcoming, None)
            if run is not None:
                busy[pool.submit(worker.call, _ask, run)] = worker

        try:
            for worker in self._workers:
                give(worker)
            while busy:
                done, _ = wait(busy, return_when=FIRST_COMPLETED)
                for future in done:
                    give(busy.pop(future))
                    yield future.result()
        finally:
            # Threads wait for their processes, which end with their pipes.
            if busy:
                self.close()
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


def _threads(devices: Sequence[str]) -> int:
    """The share of the cores that each of the workers on the CPU may use."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, devices.count("cpu")))


# A worker's own job and annotator.
_at_work: list[tuple[Job, Chain]] = []


def _load(job: Job, device: str) -> None:
    _at_work.append((job, job.load(job.project, device)))


def _ask(run: Run) -> Any:
    ((job, annotator),) = _at_work
    return job.ask(annotator, job.project, run)

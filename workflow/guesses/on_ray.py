"""A crew of Ray's actors, fed by Ray Data: one a GPU, on one machine or on many. Nothing else here knows Ray.

Actors get the project's own model files with the job; models that are named are fetched by their machine.
Images they read themselves, from an address or from a folder that their machine sees too. An actor that dies
is started anew by Ray, and the run of images that it was at is asked again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import secrets
import shutil
import socket
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from workflow import models
from workflow.errors import ConfigError, ModelError, ServiceError, WorkflowError
from workflow.guesses.crew import Cluster, Job
from workflow.guesses.engine import RUN, Limits, Source, ask_all, timed
from workflow.guesses.tally import Report, Tally
from workflow.models import Counted, Guesses, lines_of
from workflow.project.rows import digest
from workflow.running.ahead import ahead

Key = TypeVar("Key")
# So often a run is asked again whose actor died.
RETRIES = 2
# Cores an actor without a GPU gets, where it is not said how many actors there are.
CORES = 4
# What Ray reads: it tells nobody that it is used, and people only what its exceptions say.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
# A cluster of our own keeps to 127.0.0.1 (Ray's switch for that is named for the systems where it is the
# default), and answers nobody who lacks its token.
OURS = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}


@dataclass(frozen=True)
class Order:
    """What an actor needs: the job, the files its models are loaded from, and how images are asked about.

    `threads` is what OMP_NUM_THREADS is here: Ray sets it, and sums over another number of threads may differ
    in their last bits.
    """

    job: Job
    files: Mapping[str, bytes]
    device: str
    revision: str
    classes: Sequence[str]
    limits: Limits
    batch: int
    workers: int
    threads: str | None


@dataclass(frozen=True)
class Answer:
    """What the actor of that name says of a run: by the images' numbers, and what it counted.

    `anew` says that it was started in place of one that died.
    """

    guesses: Sequence[tuple[int, Guesses]]
    report: Report
    counts: Counted
    engines: tuple[str, ...]
    actor: str
    anew: bool


@dataclass(frozen=True)
class Problem:
    """An actor's error, for people."""

    problem: str
    fix: str


class OnRay:
    """A crew of actors. ServiceError without Ray or its cluster; ModelError as a model's loading raises."""

    def __init__(self, job: Job, device: str, cluster: Cluster) -> None:
        if device not in ("auto", "cpu"):
            what = f"--device {device} with --engine ray, which gives each actor its GPU"
            raise ConfigError([what], "--device auto, or cpu; and --actors for how many")
        self._job, self._device, self._cluster = job, device, cluster
        # What it says of itself does not depend on where it runs.
        with closing(job.load(job.folder, "cpu")) as model:
            self.name, self.revision, self.names = model.name, model.revision, model.names
            self.asked = model.asked
        self._counts: Counter[tuple[str, str]] = Counter()
        self._engines: dict[str, None] = {}
        self._actors: set[str] = set()
        self._logs = Path(tempfile.mkdtemp(prefix="workflow-ray-"))
        try:
            self._ray = _started(cluster.address, self._logs)
        except BaseException:
            shutil.rmtree(self._logs, ignore_errors=True)
            raise

    @property
    def engines(self) -> tuple[str, ...]:
        return tuple(self._engines)

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
    ) -> Generator[list[tuple[Key, Guesses]], None, None]:
        """As `engine.ask_all`; an actor has a thread that decodes for each of its cores, or its share of
        `workers`."""
        count, share = self._share()
        threads = max(1, workers // count) if workers else int(share["num_cpus"])
        files = packed(self._job)
        order = Order(
            self._job,
            files,
            self._device,
            self.revision,
            tuple(classes),
            limits,
            batch,
            threads,
            os.environ.get("OMP_NUM_THREADS"),
        )
        answers = self._answers(sources, order, count, share, tally)
        return timed(answers, ahead(answers), tally)

    def close(self) -> None:
        self._ray.shutdown()
        shutil.rmtree(self._logs, ignore_errors=True)

    def _share(self) -> tuple[int, dict[str, float]]:
        """How many actors there are, and what each takes of its machine."""
        has = self._ray.cluster_resources()
        gpus = 0 if self._device == "cpu" else int(has.get("GPU", 0))
        cpus = max(1, int(has.get("CPU", 1)))
        count = self._cluster.actors or gpus or max(1, cpus // CORES)
        if gpus:
            return count, {"num_cpus": max(1, cpus // count), "num_gpus": min(1.0, gpus / count)}
        return count, {"num_cpus": max(1, min(CORES, cpus // count))}

    def _answers(
        self, sources: Sequence[Source[Key]], order: Order, count: int, share: dict[str, float], tally: Tally
    ) -> Generator[list[tuple[Key, Guesses]], None, None]:
        for answer in self._answered(sources, order, count, share):
            tally.add(answer.report, count)
            self._counts.update(answer.counts)
            self._engines |= dict.fromkeys(answer.engines)
            self._met(answer)
            yield [(sources[number].key, guesses) for number, guesses in answer.guesses]

    def _answered(
        self, sources: Sequence[Source[Any]], order: Order, count: int, share: dict[str, float]
    ) -> Iterator[Answer]:
        """The answers of the actors, in the order of the runs."""
        rows = [{"run": pickle.dumps(run)} for run in _runs(sources, order.batch)]
        if not rows:
            return
        data = self._ray.data.from_items(rows, override_num_blocks=len(rows))
        compute = self._ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=2)
        with warnings.catch_warnings():
            # Until 2.64 Ray takes this in one way only, by which it warns; without, it retries for ever.
            warnings.simplefilter("ignore", self._ray.util.annotations.RayDeprecationWarning)
            data = data.map_batches(
                Asked,
                fn_constructor_args=(order,),
                batch_size=1,
                compute=compute,
                max_task_retries=RETRIES,
                **share,
            )
        try:
            for row in data.iter_rows():
                yield _opened(row["answer"])
        except self._ray.exceptions.RayError as error:
            what = str(error).strip().splitlines()[-1]
            fix = "ask them by two processes here, which names the image: --device auto,auto"
            raise ModelError(
                f"Ray: actors died {RETRIES + 1} times of the same images ({what})", fix
            ) from None

    def _met(self, answer: Answer) -> None:
        """Tell people once of an actor that was started in place of another."""
        if answer.anew and answer.actor not in self._actors:
            line = "an actor of Ray's died and was started anew; the images it was at were asked again"
            print(f"{answer.actor}: {line}", file=sys.stderr, flush=True)
        self._actors.add(answer.actor)


class Asked:
    """An actor: loads the models once, and answers a run of images at a time.

    What goes wrong as it may is an answer too; whatever else does is Ray's to tell.
    """

    def __init__(self, order: Order) -> None:
        os.environ.pop("OMP_NUM_THREADS", None)
        if order.threads is not None:
            os.environ["OMP_NUM_THREADS"] = order.threads
        self._order = order
        import ray

        self._anew = ray.get_runtime_context().was_current_actor_reconstructed
        self._name = f"{socket.gethostname()}, process {os.getpid()}"
        self._error: WorkflowError | None = None
        try:
            self._model = _loaded(order)
        except WorkflowError as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"answer": [self._pickled(pickle.loads(run)) for run in batch["run"]]}

    def _pickled(self, run: Sequence[Source[int]]) -> bytes:
        try:
            if self._error:
                raise self._error
            return pickle.dumps(self._answer(run))
        except WorkflowError as error:
            return pickle.dumps(Problem(f"on {self._name}: {error.problem}", error.fix))

    def _answer(self, run: Sequence[Source[int]]) -> Answer:
        _check_sees(run)
        order, tally, before = self._order, Tally(), Counter(self._model.counted)
        asked = ask_all(self._model, run, order.classes, order.limits, order.batch, order.workers, tally)
        guesses = [answer for some in asked for answer in some]
        counts = {line: count - before[line] for line, count in self._model.counted.items()}
        return Answer(guesses, tally.report(), counts, self._model.engines, self._name, self._anew)


def packed(job: Job) -> dict[str, bytes]:
    """The files in a project's folder that its models are loaded from, by their paths there."""
    paths: set[Path] = set()
    for spec in job.specs:
        family, checkpoint = models.resolve(spec, job.folder)
        if spec.startswith(models.RUN):
            paths.add(job.folder / "data" / "runs" / spec.removeprefix(models.RUN) / "run.json")
        if family == "own":
            # It may import and read what lies beside it.
            paths.update(job.folder.glob("*.py"))
        if isinstance(checkpoint, Path) and checkpoint.is_relative_to(job.folder):
            paths.update(p for p in (checkpoint, *checkpoint.rglob("*")) if p.is_file())
    return {path.relative_to(job.folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def _runs(sources: Sequence[Source[Any]], batch: int) -> Iterator[list[Source[int]]]:
    """The images, by their numbers, in the engine's runs."""
    numbered = [Source(number, s.path, s.size, s.levels) for number, s in enumerate(sources)]
    size = RUN * batch
    return (numbered[start : start + size] for start in range(0, len(numbered), size))


def _loaded(order: Order) -> Any:
    """The models, from the files that came with the order. ModelError where they are others than where it
    came from."""
    folder = _unpacked(order.files)
    for spec in order.job.specs:
        models.fetch(spec, folder)
    model = order.job.load(folder, order.device)
    if model.revision != order.revision:
        what = f"{model.name} is another version here ({model.revision}) than there ({order.revision})"
        raise ModelError(what, "have all machines fetch the same: remove the older from their caches")
    return model


def _unpacked(files: Mapping[str, bytes]) -> Path:
    """A folder of this machine's cache that holds the files and has their name, so that it is made once."""
    name = digest([[path, hashlib.sha256(content).hexdigest()] for path, content in files.items()])
    folder = models.fetched_folder().parent / "sent" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        for path, content in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(content)
        try:
            partial.rename(folder)
        except OSError:
            # Another actor was quicker.
            shutil.rmtree(partial)
    return folder


def _check_sees(run: Sequence[Source[int]]) -> None:
    """ModelError where this machine sees none of the images: each would pass for one that is gone."""
    if all(isinstance(source.path, Path) and not source.path.exists() for source in run):
        what = f"does not see {run[0].path}, nor the images after it"
        raise ModelError(what, "put the images where all machines see them: a shared disk, or s3://")


def _opened(content: bytes) -> Answer:
    """What an actor answered; the error that it met is raised."""
    value = pickle.loads(content)
    if isinstance(value, Problem):
        raise ModelError(value.problem, value.fix)
    return value


def _started(address: str | None, logs: Path) -> Any:
    """Ray, connected to a cluster, or to one of its own on this machine, which logs to a folder."""
    os.environ.update(QUIET if address else QUIET | OURS)
    ours: dict[str, Any] = {}
    if address is None:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ours = {"include_dashboard": False, "_temp_dir": str(logs)}
    try:
        import ray
        import ray.data
    except ImportError:
        what = "--engine ray needs Ray, which is not installed"
        raise ServiceError(what, 'pip install "workflow[ray]"') from None
    try:
        _reach(address)
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **ours)
    except (OSError, ValueError, RuntimeError) as error:
        what = f"no Ray cluster at {address}: {str(error).strip().splitlines()[0]}"
        raise ServiceError(what, "ray start --head there, or leave --address out") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    return ray


def _reach(address: str | None) -> None:
    """OSError where nothing listens at HOST:PORT: Ray itself tries for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and "/" not in host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=5).close()

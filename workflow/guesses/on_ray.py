"""The annotators as actors of a Ray cluster, fed by Ray Data; nothing else of the product knows Ray.

Actors get the project's own model files with the job. Images they read themselves, from an address or from a
folder that their machine sees too. An actor that dies is started anew, and its run of images is asked again.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workflow import models
from workflow.errors import ModelError, ServiceError, WorkflowError
from workflow.guesses.crew import Job, Run
from workflow.project.paths import Project
from workflow.project.promoted import preannotators

# How often a run of images is asked again whose actor died: an image that kills its model stops the stage.
RETRIES = 5
# Cores an actor without a GPU gets, where it is not said how many actors there are.
CORES = 4


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and how many actors; without an address one is started on this machine alone.

    `actors` None is one a GPU, or one for every four cores where there is no GPU or `device` is cpu.
    """

    address: str | None = None
    actors: int | None = None
    device: str = "auto"


@dataclass(frozen=True)
class _Problem:
    """An actor's error, for people."""

    problem: str
    fix: str


class OnRay:
    """A crew of actors."""

    def __init__(self, job: Job, cluster: Cluster) -> None:
        self._job = job
        self._cluster = cluster
        self._ray = _started(cluster.address)

    def annotate(self, runs: Iterable[Run]) -> Iterator[Any]:
        rows = [{"run": pickle.dumps(list(run))} for run in runs]
        if not rows:
            return
        data = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Annotating,
            fn_constructor_args=(self._job, packed(self._job.project), self._cluster.device),
            batch_size=1,
            compute=self._ray.data.ActorPoolStrategy(size=self._actors, max_tasks_in_flight_per_actor=2),
            max_restarts=-1,
            max_task_retries=RETRIES,
            **self._share,
        )
        try:
            for row in data.iter_rows():
                yield _opened(row["answer"])
        except self._ray.exceptions.RayError as error:
            what = str(error).strip().splitlines()[-1]
            raise ModelError(f"Ray: {what}", "read the logs of /tmp/ray/session_latest/logs there") from None

    def close(self) -> None:
        self._ray.shutdown()

    @property
    def _gpus(self) -> int:
        on_cpu = self._cluster.device == "cpu"
        return 0 if on_cpu else int(self._ray.cluster_resources().get("GPU", 0))

    @property
    def _cpus(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    @property
    def _actors(self) -> int:
        return self._cluster.actors or self._gpus or max(1, self._cpus // CORES)

    @property
    def _share(self) -> dict[str, float]:
        """What an actor takes of its machine."""
        if self._gpus:
            return {"num_cpus": 1, "num_gpus": min(1.0, self._gpus / self._actors)}
        return {"num_cpus": max(1, min(CORES, self._cpus // self._actors))}


class Annotating:
    """An actor: loads the project's annotators once, and answers a run of images at a time.

    What goes wrong as it may is an answer too; whatever else does is Ray's to tell.
    """

    def __init__(self, job: Job, files: dict[str, bytes], device: str) -> None:
        self._job = job
        self._error: WorkflowError | None = None
        try:
            _check_sees(job.project)
            self._annotator = _load(job, files, device)
        except WorkflowError as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"answer": [self._answer(pickle.loads(run)) for run in batch["run"]]}

    def _answer(self, run: Run) -> bytes:
        try:
            if self._error:
                raise self._error
            return pickle.dumps(self._job.ask(self._annotator, self._job.project, run))
        except WorkflowError as error:
            return pickle.dumps(_Problem(f"on {socket.gethostname()}: {error.problem}", error.fix))


def packed(project: Project) -> dict[str, bytes]:
    """The files in the project's folder that its annotators are loaded from, by their paths there."""
    paths: set[Path] = {project.promotions} if project.promotions.exists() else set()
    for spec in preannotators(project):
        family, checkpoint = models.resolve(spec, project.folder)
        if spec.startswith(models.RUN):
            paths.add(project.runs / spec.removeprefix(models.RUN) / "run.json")
        if family == "own":
            paths.update(project.folder.glob("*.py"))
        if isinstance(checkpoint, Path) and checkpoint.is_relative_to(project.folder):
            paths.update(p for p in (checkpoint, *checkpoint.rglob("*")) if p.is_file())
    return {path.relative_to(project.folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def _load(job: Job, files: dict[str, bytes], device: str) -> Any:
    """The annotators, from the files that came with the job; what is named is fetched by this machine."""
    folder = Path(tempfile.mkdtemp(prefix="workflow-"))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    project = replace(job.project, folder=folder)
    for spec in preannotators(project):
        models.fetch(spec, folder)
    return job.load(project, device)


def _check_sees(project: Project) -> None:
    """ModelError where this machine cannot see the images: each would pass for one that is gone."""
    root = project.image_root
    if isinstance(root, Path) and not root.is_dir():
        what = f"does not see {root}"
        raise ModelError(
            what, "put the images where all machines see them: a shared disk, or s3:// (docs/scale.md)"
        )


def _opened(content: bytes) -> Any:
    """What an actor answered; the error that it met is raised."""
    value = pickle.loads(content)
    if isinstance(value, _Problem):
        raise ModelError(value.problem, value.fix)
    return value


def _started(address: str | None) -> Any:
    """Ray, connected. It tells nobody that it is used, shows no page, and alone listens on this machine only.

    ServiceError where the extra is not installed, or no cluster answers.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        # Ray's own switch for keeping to 127.0.0.1, named for the systems where it is the default.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        what = "--engine ray needs Ray, which is not installed"
        raise ServiceError(what, 'pip install "workflow[ray]"') from None
    alone: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **alone)
    except (ConnectionError, ValueError, RuntimeError) as error:
        what = f"no Ray cluster at {address}: {str(error).strip().splitlines()[0]}"
        raise ServiceError(what, "ray start --head there, or leave --address out") from None
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray

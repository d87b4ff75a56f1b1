"""Who asks a model: this process, a process for each of several devices, or Ray's actors. All ask by the
same engine.

What they say of an image is the same, and comes in the same order, as long as the devices are of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from workflow.errors import ConfigError
from workflow.guesses.engine import BATCH, Asks, Limits, Said, Source, ask_all
from workflow.guesses.tally import Tally
from workflow.models.choice import Asked

Key = TypeVar("Key")


@dataclass(frozen=True)
class Job:
    """Which models are loaded, by their `specs`, and how: `load(folder, device)`, from a project's folder.

    Other processes find `load` by its name: a module's own function, or `functools.partial` of one. What it
    logs goes to `logs`.
    """

    specs: Sequence[str]
    folder: Path
    load: Callable[[Path, str], Any]
    logs: Path


@dataclass(frozen=True)
class Cluster:
    """A cluster of Ray's; without an `address` one of its own on this machine.

    `actors` None is one a GPU, or one for every four cores where there is no GPU or none is to be used.
    """

    address: str | None = None
    actors: int | None = None


@runtime_checkable
class Crew(Protocol):
    """Several processes that asked a model of images as one would; it is told of as an `Annotator` is."""

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    @property
    def asked(self) -> Asked: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def engines(self) -> tuple[str, ...]: ...

    @property
    def shortfalls(self) -> tuple[str, ...]: ...

    def ask(
        self,
        sources: Sequence[Source[Key]],
        classes: Sequence[str],
        limits: Limits,
        batch: int,
        workers: int | None,
        tally: Tally,
    ) -> Generator[list[tuple[Key, Any]], None, None]:
        """As `engine.ask_all`."""
        ...

    def close(self) -> None: ...


def crew_of(job: Job, device: str, cluster: Cluster | None = None) -> Any:
    """Who asks on `device`: the model in this process, a crew where several are named, by commas, or one of
    Ray's actors on a `cluster`.

    ConfigError where one of them has no name, ModelError where one is not there, ServiceError without Ray.
    """
    if cluster:
        from workflow.guesses.on_ray import OnRay

        return OnRay(job, device, cluster)
    devices = [name.strip() for name in device.split(",")]
    if not all(devices):
        raise ConfigError([f"--device {device!r}: a device is missing"], "--device cuda:0,cuda:1, say")
    if len(devices) == 1:
        return job.load(job.folder, devices[0])
    from workflow.guesses.devices import Devices

    return Devices(job, devices)


def ask(
    asked: Asks[Said] | Crew,
    sources: Sequence[Source[Key]],
    classes: Sequence[str],
    limits: Limits,
    batch: int = BATCH,
    workers: int | None = None,
    tally: Tally | None = None,
) -> Generator[list[tuple[Key, Said]], None, None]:
    """`engine.ask_all`, in this process or by a crew."""
    if isinstance(asked, Crew):
        return asked.ask(sources, classes, limits, batch, workers, tally or Tally())
    return ask_all(asked, sources, classes, limits, batch, workers, tally)

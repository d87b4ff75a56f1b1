"""`up`, `down` and `status` over all services."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from workflow.errors import ServiceError
from workflow.services import database, fiftyone_app, label_studio
from workflow.services.credentials import redact
from workflow.services.files import last_meaningful_line, locked, log_path, make_state, writing
from workflow.services.network import choose_port, is_free, read_ports, write_ports
from workflow.services.processes import differs, family, find, is_alive, listening_port, spawn, stop
from workflow.services.service import FIFTYONE_APP, MONGOD, SERVICES, Launch, Report, Service

State = Literal["running", "stopped", "unhealthy"]
_TABLE: dict[str, Service] = {
    module.SERVICE.name: module.SERVICE for module in (label_studio, database, fiftyone_app)
}
_POLL = 0.25
# A server that has answered before may be busy for a while; after this long it counts as hung.
_HANG = 20.0
_PORT_RACES = 2


class _PortTaken(ServiceError):
    """Someone took the port between our look and the server's: another `up` finds the next one."""


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now. A server of the user's own has no pid and no log."""

    name: str
    state: State
    url: str = ""
    pid: int | None = None
    log: Path | None = None


@dataclass(frozen=True)
class _Starting:
    service: Service
    process: psutil.Process
    since: float
    deadline: float
    found: bool = False

    @property
    def result(self) -> str:
        return "running" if self.found else f"ready after {time.monotonic() - self.since:.0f} s"


def preferred_ports() -> dict[str, int]:
    """The port each service takes where it is free; `up` takes the next one where it is not."""
    return {name: service.preferred_port for name, service in _TABLE.items()}


def up(
    state: Path,
    names: Sequence[str] = SERVICES,
    report: Report = print,
    document_root: Path | None = None,
    upgrade: bool = False,
    warn: Report | None = None,
) -> dict[str, str]:
    """Start what is not running and wait until all of it answers; name -> URL.

    `document_root` is the folder whose images Label Studio may serve, by default the one that holds
    the state folder. The App brings mongod along. With `upgrade` an older Label Studio's database is
    brought to the one installed, and a copy kept. What of people's data had to be changed or moved is said
    to `warn`, by default `report`.
    """
    wanted = _ordered(names, needs=True)
    with writing(state):
        state = make_state(state)
        root = (document_root or state.parent).resolve()
        launch = Launch(state, root, {}, upgrade, warn or report)
        with locked(state, report):
            for _ in range(_PORT_RACES):
                with suppress(_PortTaken):
                    return _up(launch, wanted, report)
            return _up(launch, wanted, report)


def _up(launch: Launch, wanted: Sequence[Service], report: Report) -> dict[str, str]:
    urls: dict[str, str] = {}
    starting: list[_Starting] = []
    to_start: list[Service] = []
    running = find(launch.state)
    launch = replace(launch, ports={**read_ports(launch.state), **_ports_in_use(running)})
    for service in wanted:
        processes = running.get(service.name, [])
        if own := service.external():
            report(f"{service.name}: using {own}")
            urls[service.name] = own
        elif processes and not _is_stale(service, launch, processes):
            starting.append(_found(service, processes[0]))
        else:
            if processes:
                report(f"{service.name}: does not answer or has other settings, restarting it")
                stop(service.name, processes)
            launch = _with_port(service, launch)
            to_start.append(service)
    starting += _start(to_start, launch, report)
    _wait(starting, launch, report, urls)
    return {service.name: urls[service.name] for service in wanted}


def _ordered(names: Sequence[str], needs: bool = False) -> list[Service]:
    """The services asked for, mongod before the App; with its needs, the App brings mongod."""
    for name in names:
        if name not in _TABLE:
            raise ServiceError(f"there is no service {name!r}", fix=f"choose from {', '.join(SERVICES)}")
    asked = {*names, MONGOD} if needs and FIFTYONE_APP in names else set(names)
    return [_TABLE[name] for name in SERVICES if name in asked]


def _ports_in_use(running: dict[str, list[psutil.Process]]) -> dict[str, int]:
    found = {name: listening_port(name, processes) for name, processes in running.items()}
    return {name: port for name, port in found.items() if port is not None}


def _is_stale(service: Service, launch: Launch, processes: Sequence[psutil.Process]) -> bool:
    """Whether a running server is to be replaced: it has other settings, or hangs."""
    try:
        if service.watched and differs(processes[0], service.environment(launch), service.watched):
            return True
        if _answering(service, launch.state, processes) or _age(processes[0]) < service.patience:
            return False
    except ServiceError:
        # It does not take our token, or that is lost: `prepare` mends this before it starts again.
        return True
    deadline = time.monotonic() + _HANG
    while not _answering(service, launch.state, processes):
        if time.monotonic() > deadline:
            return True
        time.sleep(_POLL)
    return False


def _age(process: psutil.Process) -> float:
    return time.time() - process.create_time()


def _answering(service: Service, state: Path, processes: Sequence[psutil.Process]) -> int | None:
    port = listening_port(service.name, processes)
    return port if port and service.healthy(state, port) else None


def _found(service: Service, process: psutil.Process) -> _Starting:
    """A server that runs already, perhaps started by an `up` that was killed before it answered."""
    now = time.monotonic()
    return _Starting(service, process, now, now + max(service.patience - _age(process), _HANG), found=True)


def _with_port(service: Service, launch: Launch) -> Launch:
    """The launch with a free port for the service: last time's if possible, noted before it is used."""
    others = [port for name, port in launch.ports.items() if name != service.name]
    last = launch.ports.get(service.name)
    port = last if last and is_free(last) else choose_port(service.preferred_port, others)
    ports = {**launch.ports, service.name: port}
    write_ports(launch.state, ports)
    return replace(launch, ports=ports)


def _start(services: Sequence[Service], launch: Launch, report: Report) -> list[_Starting]:
    """Launch servers side by side; if one of them is not installed, none is launched."""
    plans = []
    for service in services:
        service.prepare(launch)
        plans.append((service, service.command(launch), service.environment(launch)))
    started = []
    for service, command, environment in plans:
        process = spawn(launch.state, service.name, command, environment)
        report(f"{service.name}: starting on {service.url(launch.ports[service.name])}")
        now = time.monotonic()
        started.append(_Starting(service, process, now, now + service.patience))
    return started


def _wait(starting: Sequence[_Starting], launch: Launch, report: Report, urls: dict[str, str]) -> None:
    """Wait for every server; one that fails is stopped, and does not keep the others from starting."""
    failures: list[ServiceError] = []
    ports = dict(launch.ports)
    waiting = list(starting)
    while waiting:
        for item in tuple(waiting):
            name = item.service.name
            try:
                port = _poll(item, launch)
            except ServiceError as error:
                failures.append(error)
                stop(name, family(item.process))
                waiting.remove(item)
                continue
            if port is not None:
                if port != ports.get(name):
                    report(f"{name}: port {ports.get(name)} was taken meanwhile, so it moved")
                ports[name], urls[name] = port, item.service.url(port)
                report(f"{name}: {item.result} on {urls[name]}")
                waiting.remove(item)
        if waiting:
            time.sleep(_POLL)
    write_ports(launch.state, ports)
    if taken := [error for error in failures if isinstance(error, _PortTaken)]:
        report(taken[0].problem)
        raise taken[0]
    if failures:
        raise ServiceError("; ".join(error.problem for error in failures), fix=failures[0].fix)


def _poll(item: _Starting, launch: Launch) -> int | None:
    """The port once the server answers, None while it may yet; a ServiceError when it will not."""
    name, state = item.service.name, launch.state
    alive = is_alive(item.process)
    if alive and (port := _answering(item.service, state, family(item.process))):
        return port
    if alive and time.monotonic() < item.deadline:
        return None
    if not alive and not is_free(launch.ports[name]):
        raise _PortTaken(f"{name}: port {launch.ports[name]} was taken meanwhile", fix="make up")
    what = (
        f"does not answer after {time.monotonic() - item.since:.0f} s" if alive else "stopped while starting"
    )
    log = log_path(state, name)
    last_line = redact(state, last_meaningful_line(log))
    raise ServiceError(f"{name} {what}; the last of {log} is: {last_line}", fix="mend that, then make up")


def down(state: Path, names: Sequence[str] = SERVICES, report: Report = print) -> None:
    """Stop the servers of this state folder, also those left over from a crash."""
    chosen = _ordered(names)
    if not state.is_dir() and not find(state.resolve()):
        report("nothing is running")
        return
    with writing(state):
        state = make_state(state)
        with locked(state, report):
            running = find(state)
            # Backwards, so that the App is gone before its database.
            for service in reversed(chosen):
                processes = running.get(service.name, [])
                if processes:
                    stop(service.name, processes)
                report(f"{service.name}: {'stopped' if processes else 'not running'}")


def status(state: Path) -> list[ServiceStatus]:
    """How each service is, without changing anything."""
    state = state.resolve()
    running = find(state)
    return [_status(_TABLE[name], state, running.get(name, [])) for name in SERVICES]


def _status(service: Service, state: Path, processes: Sequence[psutil.Process]) -> ServiceStatus:
    if own := service.external():
        return ServiceStatus(service.name, "running" if service.external_healthy() else "unhealthy", own)
    log = log_path(state, service.name)
    shown_log = log if log.exists() else None
    if not processes:
        return ServiceStatus(service.name, "stopped", log=shown_log)
    try:
        port = listening_port(service.name, processes)
        healthy = port is not None and service.healthy(state, port)
    except ServiceError:
        port, healthy = None, False
    url = service.url(port) if port else ""
    state_now: State = "running" if healthy else "unhealthy"
    return ServiceStatus(service.name, state_now, url, processes[0].pid, shown_log)

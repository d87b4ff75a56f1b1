"""Check the machine a line a thing: ok, or the problem and what to type."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from workflow import models, services, wing
from workflow.errors import WorkflowError
from workflow.project.paths import Project
from workflow.project.promoted import preannotators
from workflow.services import state_folder

LEAST_FREE_GB = 5


def run(workspace: Path, project: Project | None) -> tuple[list[str], bool]:
    """The lines, and whether everything that is needed is there."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", _python),
        ("packages", _packages),
        ("torch", _torch),
        ("disk", lambda: _disk(workspace)),
        ("state folder", lambda: _writable(workspace)),
        ("ports", lambda: _ports(workspace)),
        ("label studio", lambda: _label_studio(workspace)),
        ("mongod, app", lambda: _local_services(workspace)),
        ("hub", _hub),
    ]
    if project is not None:
        checks.append(("weights", lambda: _weights(project)))
    lines, healthy = [], True
    for name, check in checks:
        try:
            lines.append(f"  ok       {name:<13} {check()}")
        except WorkflowError as error:
            healthy = False
            lines.append(f"  problem  {name:<13} {error}")
    return lines, healthy


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _packages() -> str:
    versions = list(_versions("label-studio-sdk", "fiftyone", "transformers", "datasets", "ultralytics"))
    missing = [name for name, number in versions if number is None]
    if missing:
        raise WorkflowError(f"not installed: {', '.join(missing)}", "make setup")
    return ", ".join(f"{name} {number}" for name, number in versions)


def _versions(*names: str) -> Iterator[tuple[str, str | None]]:
    for name in names:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, None


def _torch() -> str:
    if find_spec("torch") is None:
        raise WorkflowError("torch is not installed", "make setup")
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        device = f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
    else:
        device = "mps" if torch.backends.mps.is_available() else "no GPU: training runs on the CPU, slowly"
    return f"{torch.__version__}, {device}"


def _disk(workspace: Path) -> str:
    free = shutil.disk_usage(workspace).free / 1e9
    if free < LEAST_FREE_GB:
        raise WorkflowError(f"{free:.1f} GB free at {workspace}, under {LEAST_FREE_GB}", "free some space")
    return f"{free:.0f} GB free"


def _writable(workspace: Path) -> str:
    state = state_folder(workspace)
    place = state if state.exists() else state.parent
    if not os.access(place, os.W_OK):
        raise WorkflowError(f"{place} is not writable", "set WORKFLOW_STATE to a folder that is")
    return str(state)


def _ports(workspace: Path) -> str:
    """A port somebody else holds is no problem, but explains why a server is found elsewhere."""
    ours = {
        s.url.rpartition(":")[2] for s in services.status(state_folder(workspace)) if s.state == "running"
    }
    shown = []
    for name, port in services.preferred_ports().items():
        holder = None if str(port) in ours else services.probe_port(port)
        shown.append(f"{name} {port}" + (f" held by {holder}, the next free one will do" if holder else ""))
    return ", ".join(shown)


def _label_studio(workspace: Path) -> str:
    return wing.user(state_folder(workspace))


def _local_services(workspace: Path) -> str:
    states = {s.name: s for s in services.status(state_folder(workspace))}
    if "FIFTYONE_DATABASE_URI" in os.environ:
        states.pop("mongod", None)
    states.pop("label-studio", None)
    stopped = [name for name, s in states.items() if s.state != "running"]
    if stopped:
        raise WorkflowError(f"not running: {', '.join(stopped)}", "make up")
    return ", ".join(s.url or name for name, s in states.items())


def _hub() -> str:
    """No hub is no problem: the line says what will be used instead."""
    try:
        with socket.create_connection(("huggingface.co", 443), timeout=2):
            return "reachable: hub checkpoints can be fetched"
    except OSError:
        return "not reachable: only models on this machine will be used"


def _weights(project: Project) -> str:
    return ", ".join(_weight(project, spec) for spec in preannotators(project))


def _weight(project: Project, spec: str) -> str:
    family, checkpoint = models.resolve(spec, project.folder)
    if not isinstance(checkpoint, Path):
        if checkpoint in models.MODELS[family].annotator.on_this_machine():
            return f"{spec} (fetched)"
        raise WorkflowError(f"{spec}: {checkpoint} is not on this machine", f"put it into {project.folder}")
    size = sum(p.stat().st_size for p in (checkpoint, *checkpoint.rglob("*")) if p.is_file()) / 1e6
    return f"{spec} ({size:.1f} MB)"

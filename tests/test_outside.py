"""Nothing leaves this machine: every attempt to reach another address, or to look up a name, is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.samples import draw_project
from workflow import services, wing
from workflow.commands import reviewer
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.services import label_studio, processes, service
from workflow.stages import catalog, dataset, preannotate, pull, push

# In a process of its own, before all else: Python itself tells of each attempt, whatever library makes it.
HOOK = """
import os, sys
def _note(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else arguments[1]
        where = where[0] if isinstance(where, tuple) else where
        here = (None, "127.0.0.1", "::1", "localhost", "0.0.0.0", "")
        if where not in here and not str(where).startswith("/"):
            with open({log!r}, "a") as file:
                print(os.path.basename(sys.argv[0] if sys.argv else ""), event, where, file=file)
sys.addaudithook(_note)
"""


def write_hook(folder: Path, log: Path) -> None:
    """What Python imports first where PYTHONPATH names the folder: the hook, and the guard after it."""
    folder.mkdir()
    log.touch()
    guard = (label_studio._GUARD / "sitecustomize.py").read_text()
    (folder / "sitecustomize.py").write_text(HOOK.format(log=str(log)) + guard)


def test_the_hook_hears_of_an_attempt(tmp_path: Path) -> None:
    write_hook(tmp_path / "hook", tmp_path / "log")
    ask = "import socket\ntry: socket.getaddrinfo('outside.invalid', 80)\nexcept OSError: pass"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hook")}
    subprocess.run([sys.executable, "-c", ask], env=environment, check=True)
    assert (tmp_path / "log").read_text() == "-c socket.getaddrinfo outside.invalid\n"


@pytest.fixture
def attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file with a line an attempt, by the servers, started here, and their children."""
    log, folder = tmp_path / "attempts", tmp_path / "hook"
    write_hook(folder, log)
    monkeypatch.setattr(label_studio, "_GUARD", folder)
    monkeypatch.setattr(service, "_INHERITED", (*service._INHERITED, "PYTHONPATH"))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "FIFTYONE_DATABASE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORKFLOW_STATE", str(tmp_path / "state"))
    state = tmp_path / "state"
    services.up(state, services.SERVICES, lambda line: None, services.served_root(state))
    yield log
    services.down(state, services.SERVICES, lambda line: None)


@pytest.fixture
def here() -> Iterator[list[str]]:
    """The attempts of this process."""
    found: list[str] = []
    listening = True

    def note(event: str, arguments: tuple) -> None:
        if listening and event in ("socket.connect", "socket.getaddrinfo"):
            where = arguments[1] if event == "socket.connect" else arguments[0]
            where = where[0] if isinstance(where, tuple) else where
            if where not in ("127.0.0.1", "localhost", None) and not str(where).startswith("/"):
                found.append(f"{event} {where}")

    sys.addaudithook(note)
    yield found
    listening = False


def guess(project: Project) -> None:
    model = Provenance("model", "by hand", "1")
    found = (Annotation("disk", model, box=(10, 10, 30, 30), score=0.5, id="g"),)
    samples = [Sample(r.id, "predicted", found) for r in read_catalog(project.catalog)]
    write_rows(preannotate.predictions_path(project), map(sample_to_row, samples))


@pytest.mark.services
@pytest.mark.slow
def test_a_loop_reaches_nothing_outside(tmp_path: Path, attempts: Path, here: list[str]) -> None:
    project = draw_project(tmp_path, "detection", 6)
    catalog.run(project)
    guess(project)
    tool = wing.connect(project)
    push.run(project, tool)
    reviewer.run(project, tool)
    pull.run(project, tool)
    dataset.run(project)
    for name in ("label-studio", "fiftyone-app"):
        one = next(s for s in services.status(tmp_path / "state") if s.name == name)
        httpx.get(one.url, timeout=60, follow_redirects=True)
    running = processes.find(tmp_path / "state")
    hooked = {
        name: all("hook" in p.environ()["PYTHONPATH"] for p in found) for name, found in running.items()
    }
    assert hooked == dict.fromkeys(services.SERVICES, True)
    connected = {
        (process.name(), link.raddr.ip)
        for found in running.values()
        for process in found
        for link in process.net_connections(kind="inet")
        if link.raddr and link.raddr.ip != "127.0.0.1"
    }
    assert (attempts.read_text().splitlines(), here, connected) == ([], [], set())

"""Nothing leaves this machine: every attempt to reach another computer, or to look a name up, is counted."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CANVAS, launched, log_in, wait_until
from tests.conftest import REPOSITORY, copy_project
from tests.outside import STRACE, calls_outside, hosts_of_pages, write_hook
from tests.samples import pushed_tasks
from workflow import services
from workflow.labelstudio import project as link
from workflow.models import ultralytics
from workflow.project.paths import Project
from workflow.project.rows import read_json
from workflow.services import processes

ASK = "import socket\ntry: socket.getaddrinfo('outside.invalid', 80)\nexcept OSError: pass"
SEND = "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
OPENED = """<link rel=preload as=font crossorigin href="http://192.0.2.3:9/a.woff">
<img src="http://192.0.2.4:9/a.png"><script>fetch("http://asked.invalid/").catch(() => 0)</script>"""
# Label Studio's pages, those that docs/label-studio.md sends people to among them.
# A headless browser does not do what these ask for; people's do.
AHEAD = "() => [...document.querySelectorAll('[rel=preconnect], [rel=dns-prefetch]')].map(link => link.href)"
PAGES = (
    "",
    "projects/",
    "projects/{number}/data",
    *(
        f"projects/{{number}}/settings{page}"
        for page in ("", "/labeling", "/annotation", "/ml", "/storage", "/webhooks")
    ),
    "projects/{number}/settings/predictions",
    "organization",
    "user/account",
)
needs_strace = pytest.mark.skipif(
    not shutil.which("strace"),
    reason="there is no strace here (Debian has a package): system calls go uncounted",
)


def test_the_hook_hears_of_an_attempt(tmp_path: Path) -> None:
    write_hook(tmp_path / "hook", tmp_path / "log")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hook")}
    subprocess.run([sys.executable, "-c", ASK], env=environment, check=True)
    assert (tmp_path / "log").read_text() == "-c socket.getaddrinfo outside.invalid\n"


@needs_strace
def test_the_kernel_tells_of_an_attempt(tmp_path: Path) -> None:
    for code in (ASK, SEND):
        command = [*STRACE, "-A", "-o", str(tmp_path / "log"), sys.executable, "-c", code]
        subprocess.run(command, check=True)
    calls = calls_outside((tmp_path / "log").read_text().splitlines())
    assert calls[-1] == f"{Path(sys.executable).name} connect 192.0.2.1"
    # Whom it asks about the name depends on the machine.
    assert len(calls) > 1 or not Path("/etc/resolv.conf").exists()


def hosts_asked(log: Path, visit: Callable[[Any], None]) -> set[str]:
    """The hosts that pages asked for while `visit` led a browser, its page given, through them."""
    with launched(f"--log-net-log={log}") as browser:
        visit(browser.new_page(viewport={"width": 1400, "height": 860}))
    return hosts_of_pages(log)


@pytest.mark.services
def test_the_browser_tells_of_an_attempt(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(OPENED)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def visit(page: Any) -> None:
            page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
            page.wait_for_timeout(1500)

        hosts = hosts_asked(tmp_path / "log", visit)
        server.shutdown()
    assert hosts == {"192.0.2.3", "192.0.2.4", "asked.invalid"}


MISSING = """from pathlib import Path
from ultralytics.utils.checks import check_font
from workflow.training.yolo_worker import _read
assert _read(Path("run/weights/last.pt")) is None
check_font("Arial.ttf")
assert check_font("Arial.Unicode.ttf"), "for names of classes that are not ASCII"
"""


@pytest.mark.slow
def test_ultralytics_asks_nobody_for_what_is_not_there(tmp_path: Path) -> None:
    write_hook(tmp_path / "hook", tmp_path / "log")
    paths = os.pathsep.join([str(tmp_path / "hook"), str(REPOSITORY)])
    hooked = os.environ | ultralytics.environment() | {"PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", MISSING], env=hooked, cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text() == ""


@dataclass(frozen=True)
class Demo:
    """The demo as it ran in a process of its own, whose servers still run; `logs` has the attempts."""

    project: Project
    state: Path
    logs: Path
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        """Stop the servers; strace, which waits for them, then ends, and its log is whole."""
        services.down(self.state, services.SERVICES, lambda line: None)
        self.process.wait(60)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, envelopes: Path) -> Iterator[Demo]:
    root = tmp_path_factory.mktemp("outside")
    project = copy_project(root, envelopes, "alone", 24)
    write_hook(root / "hook", root / "attempts")
    trace = [*STRACE, "-o", str(root / "calls")] if shutil.which("strace") else []
    command = [*trace, sys.executable, "-m", "tests.outside", str(project.folder), str(root / "hook")]
    paths = [str(root / "hook"), str(REPOSITORY)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "WORKFLOW_STATE": str(root / "state")}
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "FIFTYONE_DATABASE_URI"):
        environment.pop(name, None)
    with (root / "said").open("w") as said:
        process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=said, stderr=said)
    made = Demo(project, root / "state", root, process)
    try:
        wait_until(lambda: "\nFINISHED" in (root / "said").read_text(), 900)
        yield made
    finally:
        made.close()
        print((root / "said").read_text())


@pytest.mark.services
@pytest.mark.slow
def test_the_demo_reaches_nothing_outside(demo: Demo) -> None:
    """What Python tells of: the demo itself, its children, and the servers."""
    running = processes.find(demo.state)
    hooked = {
        name: all("hook" in p.environ()["PYTHONPATH"] for p in found) for name, found in running.items()
    }
    connected = {
        (process.name(), link.raddr.ip)
        for found in running.values()
        for process in found
        for link in process.net_connections(kind="inet")
        if link.raddr and link.raddr.ip != "127.0.0.1"
    }
    assert hooked == dict.fromkeys(services.SERVICES, True)
    assert read_json(demo.project.data / "summary.json")["tuned"]
    assert ((demo.logs / "attempts").read_text().splitlines(), connected) == ([], set())
    # What it leaves on the screen calls nobody's work people's.
    table = (demo.logs / "said").read_text().partition("\nstage ")[2]
    assert "\nsimulated " in table
    assert " s of simulated reviewing against " in table
    assert "people" not in table


@pytest.mark.services
@pytest.mark.slow
def test_pages_ask_nobody_else(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page of Label Studio that docs/label-studio.md sends people to, and the FiftyOne App."""
    monkeypatch.setenv("WORKFLOW_STATE", str(demo.state))
    urls = read_json(demo.project.data / "summary.json")["urls"]
    number = link.remote(demo.project)["project"]
    root = services.label_studio_access(demo.state).url

    ahead: list[str] = []

    def visit(page: Any) -> None:
        log_in(page, demo.state)
        for path in PAGES:
            page.goto(f"{root}/{path.format(number=number)}")
            page.wait_for_timeout(1500)
            ahead.extend(page.evaluate(AHEAD))
        page.goto(f"{root}/projects/{number}/data?task={next(iter(pushed_tasks(demo.project).values()))}")
        page.wait_for_selector(CANVAS)
        page.goto(urls["fiftyone-app"])
        page.get_by_text(" samples").first.wait_for()
        page.wait_for_timeout(5000)
        ahead.extend(page.evaluate(AHEAD))

    assert (hosts_asked(demo.logs / "net.json", visit), ahead) == (set(), [])
    assert (demo.logs / "attempts").read_text().splitlines() == []


@needs_strace
@pytest.mark.services
@pytest.mark.slow
def test_the_kernel_saw_nothing_leave(demo: Demo) -> None:
    """What the demo and its servers, mongod among them, asked of it."""
    demo.close()
    lines = (demo.logs / "calls").read_text().splitlines()
    programs = {line.partition("<")[2].partition(">")[0] for line in lines}
    assert {"mongod", "label-studio"} <= programs
    assert calls_outside(lines) == []

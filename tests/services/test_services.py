"""Real servers, really killed. The ones marked `services` start Label Studio, mongod and the App."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from workflow import services
from workflow.errors import ServiceError
from workflow.services import mongod, network
from workflow.services.credentials import create_credentials, read_credentials, redact
from workflow.services.files import last_meaningful_line
from workflow.services.network import choose_port, get, is_free, listeners
from workflow.services.processes import find, is_alive

ROOT = Path(__file__).parents[2]
OWN_SERVERS = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "FIFTYONE_DATABASE_URI")
UP_MONGOD = "import sys, pathlib; from workflow.services import up; up(pathlib.Path(sys.argv[1]), ['mongod'])"


def silent(message: str) -> None:
    pass


@pytest.fixture(autouse=True)
def no_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN_SERVERS:
        monkeypatch.delenv(name, raising=False)


def with_mongod(state: Path) -> Path:
    """The state folder with the workspace's own mongod binary in it, so that none is downloaded."""
    fetched = ROOT / ".workflow" / "bin" / "mongod"
    if fetched.exists():
        (state / "bin").mkdir(parents=True)
        (state / "bin" / "mongod").symlink_to(fetched)
    else:
        mongod.fetch_mongod(state)
    return state


def listen(port: int = 0) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def pids(state: Path) -> dict[str, list[int]]:
    return {name: [process.pid for process in found] for name, found in find(state).items()}


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def kill(process: psutil.Process, port: int) -> None:
    process.kill()
    wait_for(lambda: not is_alive(process) and is_free(port))


@pytest.fixture(scope="module")
def held() -> Iterator[dict[str, socket.socket]]:
    """For each service a port that someone else listens on."""
    sockets = {name: listen() for name in services.SERVICES}
    yield sockets
    for server in sockets.values():
        server.close()


@pytest.fixture(scope="module")
def state(
    tmp_path_factory: pytest.TempPathFactory, held: dict[str, socket.socket], label_studio_database: Path
) -> Iterator[Path]:
    """All three services on a state folder whose ports are busy, and which has lost its credentials."""
    with pytest.MonkeyPatch.context() as patch:
        for name in OWN_SERVERS:
            patch.delenv(name, raising=False)
        if "LABEL_STUDIO_BIN" not in os.environ:
            installed = ROOT / ".venv-label-studio" / "bin" / "label-studio"
            patch.setenv("LABEL_STUDIO_BIN", str(installed))
        folder = with_mongod(tmp_path_factory.mktemp("workspace") / ".workflow")
        busy = {name: port_of(server) for name, server in held.items()}
        (folder / "ports.json").write_text(json.dumps(busy))
        (folder / "label-studio").mkdir()
        shutil.copy2(label_studio_database, folder / "label-studio")
        try:
            services.up(folder)
            yield folder
        finally:
            services.down(folder)


# --- all three together; the order matters, since each test finds what the one before left running


@pytest.mark.services
def test_all_services_run_beside_busy_ports(state: Path, held: dict[str, socket.socket]) -> None:
    found = services.status(state)
    assert [(item.name, item.state) for item in found] == [(name, "running") for name in services.SERVICES]
    remembered = json.loads((state / "ports.json").read_text())
    for item in found:
        port = int(item.url.rpartition(":")[2])
        assert port != port_of(held[item.name])
        assert remembered[item.name] == port
        assert item.pid == pids(state)[item.name][0]
        assert item.log is not None and item.log.stat().st_size


@pytest.mark.services
def test_services_listen_on_this_computer_only(state: Path) -> None:
    for name, processes in find(state).items():
        addresses = {address for process in processes for address, _ in listeners(process)}
        assert addresses == {"127.0.0.1"}, name


@pytest.mark.services
def test_label_studio_takes_the_key_and_the_database_is_ours(state: Path) -> None:
    access = services.label_studio_access(state)
    token = {"Authorization": f"Token {access.api_key}"}
    code, body = get(f"{access.url}/api/current-user/whoami", token)
    assert (code, json.loads(body)["email"], access.managed) == (200, access.email, True)
    assert get(f"{access.url}/api/current-user/whoami")[0] == 401
    made = httpx.post(f"{access.url}/api/projects", headers=token, json={"title": "kept"}, timeout=60)
    assert made.status_code == 201
    uri = services.database_uri(state)
    environment = services.fiftyone_environment(state)
    assert environment["FIFTYONE_DATABASE_URI"] == uri
    assert environment["FIFTYONE_DATABASE_NAME"] == "workflow"
    app = find(state)["fiftyone-app"][0].environ()
    assert {name: app[name] for name in environment} == environment


@pytest.mark.services
def test_secrets_stay_in_one_private_file(state: Path) -> None:
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "credentials.json").stat().st_mode) == 0o600
    assert (state / ".gitignore").read_text() == "*\n"
    access = services.label_studio_access(state)
    assert len(access.api_key) == 40
    commands = [" ".join(process.cmdline()) for found in find(state).values() for process in found]
    logs = [log.read_text(errors="replace") for log in (state / "logs").iterdir()]
    for secret in (access.api_key, access.password):
        assert not any(secret in text for text in [*commands, *logs, repr(access), str(access)])


@pytest.mark.services
def test_up_again_leaves_everything_alone(state: Path) -> None:
    before = pids(state)
    said: list[str] = []
    begun = time.monotonic()
    urls = services.up(state, report=said.append)
    assert time.monotonic() - begun < 10
    assert pids(state) == before
    assert said == [f"{name}: running on {urls[name]}" for name in services.SERVICES]


@pytest.mark.services
def test_an_app_without_its_database_is_replaced(state: Path) -> None:
    """mongod is killed and its port taken: it moves, and the App that asks at the old place goes."""
    old = find(state)
    old_port = json.loads((state / "ports.json").read_text())["mongod"]
    kill(old["mongod"][0], old_port)
    with listen(old_port):
        urls = services.up(state, report=silent)
    new = find(state)
    assert urls["mongod"] != f"mongodb://127.0.0.1:{old_port}"
    assert new["fiftyone-app"][0].pid != old["fiftyone-app"][0].pid
    assert new["fiftyone-app"][0].environ()["FIFTYONE_DATABASE_URI"] == services.database_uri(state)
    assert new["label-studio"] == old["label-studio"]


@pytest.mark.services
def test_label_studio_that_moves_by_itself_is_followed(state: Path) -> None:
    """It is killed, and its port is taken between our look and its own: it silently goes one up."""
    meant = json.loads((state / "ports.json").read_text())["label-studio"]
    kill(find(state)["label-studio"][0], meant)
    said: list[str] = []
    starter = threading.Thread(target=lambda: services.up(state, ["label-studio"], report=said.append))
    starter.start()
    wait_for(lambda: "label-studio" in find(state))
    with listen(meant):
        starter.join()
        now = services.label_studio_access(state).url
        assert f"label-studio: port {meant} was taken meanwhile, so it moved" in said
        assert said[-1].endswith(f"on {now}")
        assert now != f"http://127.0.0.1:{meant}"
        assert services.status(state)[0].url == now


@pytest.mark.services
def test_another_document_root_restarts_label_studio(state: Path, tmp_path: Path) -> None:
    before = pids(state)
    services.up(state, report=silent, document_root=tmp_path)
    after = find(state)
    assert after["label-studio"][0].pid != before["label-studio"][0]
    assert after["label-studio"][0].environ()["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] == str(tmp_path)
    assert after["mongod"][0].pid == before["mongod"][0]


@pytest.mark.services
def test_down_leaves_nothing_and_strangers_alone(state: Path) -> None:
    """A stranger with the same words on its command line and another workspace's mark survives."""
    mark = {"WORKFLOW_SERVICE": "mongod", "WORKFLOW_SERVICE_STATE": f"{state}-2"}
    stranger = subprocess.Popen(["sh", "-c", f"sleep 60 # mongod {state}"], env={**os.environ, **mark})
    ours = [process for found in find(state).values() for process in found]
    said: list[str] = []
    try:
        services.down(state, report=said.append)
        assert said == ["fiftyone-app: stopped", "mongod: stopped", "label-studio: stopped"]
        assert find(state) == {}
        assert not any(process.is_running() for process in ours)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert {item.state for item in services.status(state)} == {"stopped"}
    with pytest.raises(ServiceError, match="^Label Studio is not running -> make up$"):
        services.label_studio_access(state)
    with pytest.raises(ServiceError, match="^mongod is not running -> make up$"):
        services.database_uri(state)
    services.down(state, report=silent)


@pytest.mark.services
def test_up_lets_itself_in_after_a_token_was_rotated_or_its_file_lost(state: Path) -> None:
    """By the click of a button in Label Studio, while it runs; and all work is still there."""
    services.up(state, ["label-studio"], report=silent)
    access = services.label_studio_access(state)
    token = {"Authorization": f"Token {access.api_key}"}
    assert httpx.post(f"{access.url}/api/current-user/reset-token", headers=token).status_code == 201
    assert services.status(state)[0].state == "unhealthy"
    said: list[str] = []
    services.up(state, ["label-studio"], report=said.append)
    assert f"label-studio: {access.email}: its token was another: renewed" in said
    (state / "credentials.json").unlink()
    services.up(state, ["label-studio"], report=said.append)
    access = services.label_studio_access(state)
    for attempt in ({"Authorization": f"Token {access.api_key}"}, {}):
        with httpx.Client(base_url=access.url, headers=attempt, timeout=60) as client:
            if not attempt:
                login = {"email": access.email, "password": access.password}
                client.get("/user/login/")
                login["csrfmiddlewaretoken"] = client.cookies.get("csrftoken", "")
                assert client.post("/user/login/", data=login).status_code == 302
            titles = [project["title"] for project in client.get("/api/projects").json()["results"]]
            assert titles == ["kept"]
    services.down(state, ["label-studio"], report=silent)


# --- mongod alone, which starts in a second, for what is the same with all of them


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    folder = with_mongod(tmp_path / ".workflow")
    yield folder
    services.down(folder, report=silent)


@pytest.mark.services
def test_an_up_killed_at_any_moment_leaves_no_second_server(small: Path) -> None:
    command = [sys.executable, "-c", UP_MONGOD, str(small)]
    for pause in (0.0, 0.05, 0.3, 1.0):
        starter = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: (small / "ports.json").exists())
        time.sleep(pause)
        os.killpg(starter.pid, signal.SIGKILL)
        starter.wait()
        services.up(small, ["mongod"], report=silent)
        assert len(pids(small)["mongod"]) == 1
        services.down(small, report=silent)
        (small / "ports.json").unlink()


@pytest.mark.services
def test_two_ups_at_once_start_one_server(small: Path) -> None:
    command = [sys.executable, "-c", UP_MONGOD, str(small)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [starter.communicate()[0] for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0, 0]
    assert sum("mongod: starting on" in text for text in said) == 1
    assert len(pids(small)["mongod"]) == 1


@pytest.mark.services
def test_down_finds_a_server_whose_state_folder_was_deleted(small: Path) -> None:
    services.up(small, ["mongod"], report=silent)
    shutil.rmtree(small)
    assert len(pids(small)["mongod"]) == 1
    services.down(small, report=silent)
    assert find(small) == {}


@pytest.mark.services
def test_a_port_taken_while_a_server_starts_is_given_up(small: Path) -> None:
    said: list[str] = []
    starter = threading.Thread(target=lambda: services.up(small, ["mongod"], report=said.append))
    starter.start()
    wait_for(lambda: "mongod" in find(small))
    meant = json.loads((small / "ports.json").read_text())["mongod"]
    with listen(meant):
        starter.join()
    assert f"mongod: port {meant} was taken meanwhile" in said
    assert services.status(small)[1].state == "running"
    assert not services.database_uri(small).startswith(f"mongodb://127.0.0.1:{meant}/")


@pytest.mark.services
def test_a_hung_server_is_replaced(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services.up(small, ["mongod"], report=silent)
    process = find(small)["mongod"][0]
    process.suspend()
    assert services.status(small)[1].state == "unhealthy"
    monkeypatch.setattr("workflow.services.control._HANG", 0.5)
    monkeypatch.setattr("workflow.services.control._age", lambda process: 1e6)
    monkeypatch.setattr("workflow.services.control.stop", impatient_stop)
    services.up(small, ["mongod"], report=silent)
    assert not process.is_running()
    assert services.status(small)[1].state == "running"


def impatient_stop(name: str, processes: list[psutil.Process]) -> None:
    from workflow.services.processes import stop

    stop(name, processes, patience=0.5)


@pytest.mark.services
def test_a_server_that_cannot_start_says_why(small: Path, tmp_path: Path) -> None:
    services.up(small, ["mongod"], report=silent)
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "mongod").symlink_to(small / "bin" / "mongod")
    (other / "mongo").symlink_to(small / "mongo")
    with pytest.raises(ServiceError) as caught:
        services.up(other, ["mongod"], report=silent)
    text = str(caught.value)
    assert text.startswith(f"mongod stopped while starting; the last of {other / 'logs' / 'mongod.log'} is: ")
    assert "DBPathInUse" in text
    assert find(other) == {}


@pytest.mark.services
def test_a_database_of_the_users_own_is_used_as_it_is(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.up(small, ["mongod"], report=silent)
    own = services.database_uri(small)
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", own)
    other = tmp_path / "other"
    shown = own.split("?")[0]
    assert services.up(other, ["mongod"], report=silent) == {"mongod": shown}
    assert find(other) == {}
    assert services.status(other)[1] == services.ServiceStatus("mongod", "running", shown)
    assert services.database_uri(other) == own
    names = {services.fiftyone_environment(folder)["FIFTYONE_DATABASE_NAME"] for folder in (small, other)}
    assert len(names) == 2 and "fiftyone" not in names


# --- no server at all


def test_label_studio_of_the_users_own_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "https://labels.example/")
    with pytest.raises(ServiceError) as caught:
        services.label_studio_access(tmp_path)
    assert str(caught.value) == (
        "LABEL_STUDIO_URL is set, but LABEL_STUDIO_API_KEY is not"
        " -> export LABEL_STUDIO_API_KEY=..., or unset LABEL_STUDIO_URL"
    )
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "hush")
    access = services.label_studio_access(tmp_path)
    assert access == services.LabelStudioAccess("https://labels.example", "hush", managed=False)
    assert "hush" not in repr(access)
    assert services.up(tmp_path / "s", ["label-studio"], report=silent) == {"label-studio": access.url}
    monkeypatch.delenv("LABEL_STUDIO_URL")
    with pytest.raises(ServiceError, match="^LABEL_STUDIO_API_KEY is set, but LABEL_STUDIO_URL is not -> "):
        services.label_studio_access(tmp_path)


def test_a_password_in_the_database_address_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "mongodb://me:hush@127.0.0.1:1/?authSource=admin")
    said: list[str] = []
    assert services.up(tmp_path, ["mongod"], report=said.append) == {"mongod": "mongodb://127.0.0.1:1/"}
    assert said == ["mongod: using mongodb://127.0.0.1:1/"]


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="^Label Studio is not installed -> make setup$"):
        services.up(tmp_path / "state", ["label-studio"], report=silent)
    monkeypatch.setenv("LABEL_STUDIO_BIN", str(tmp_path / "nowhere"))
    with pytest.raises(ServiceError, match="^LABEL_STUDIO_BIN names no program: "):
        services.up(tmp_path / "state", ["label-studio"], report=silent)
    with pytest.raises(ServiceError, match="^there is no service 'mongo' -> choose from label-studio, "):
        services.up(tmp_path / "state", ["mongo"], report=silent)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="^cannot write the services' state in .*: Not a directory -> "):
        services.up(tmp_path / "file" / ".workflow", report=silent)
    services.down(tmp_path / "nowhere", report=silent)
    assert [item.state for item in services.status(tmp_path / "nowhere")] == ["stopped"] * 3


def test_credentials_are_born_private_and_checked(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = create_credentials(tmp_path)
    finally:
        os.umask(before)
    path = tmp_path / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_credentials(tmp_path) == made
    assert made.password not in repr(made) and made.api_key not in repr(made)
    assert redact(tmp_path, f"password={made.password}") == "password=***"
    path.chmod(0o644)
    read_credentials(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ServiceError, match="cannot be read as the Label Studio account") as caught:
        read_credentials(tmp_path)
    assert made.password not in str(caught.value) and caught.value.__cause__ is None


def test_the_line_that_matters(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_meaningful_line(log) == "(no log)"
    log.write_text("one\n\ntwo\n\n")
    assert last_meaningful_line(log) == "two"
    entries = [
        {"t": 1, "s": "I", "msg": "hello"},
        {"t": 2, "s": "E", "msg": "Failed", "attr": {"error": 28, "message": {"error_str": "disk full"}}},
        {"t": 3, "s": "F", "msg": "Writing fatal message"},
        {"t": 4, "s": "I", "msg": "bye"},
    ]
    log.write_text("".join(json.dumps(entry, separators=(",", ":")) + "\n" for entry in entries))
    assert last_meaningful_line(log) == "Failed: disk full"


def test_a_busy_port_is_passed_by_and_named() -> None:
    with listen() as server:
        port = port_of(server)
        assert not is_free(port)
        assert choose_port(port) > port
        assert f"(pid {os.getpid()})" in (services.probe_port(port) or "")
    assert is_free(port)
    assert services.probe_port(port) is None


def test_each_listener_has_a_port_of_its_own() -> None:
    """Of many that want one at once, as two processes may, each gets the next free one."""
    first = choose_port(20_000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: network.listen(first), range(16)))
    assert len({listener.getsockname() for listener in found}) == 16
    assert {listener.getsockname()[0] for listener in found} == {"127.0.0.1"}
    port = found[0].getsockname()[1]
    with pytest.raises(ServiceError, match=f"port {port} is taken -> leave --port out"):
        network.listen(port, only=True)
    for listener in found:
        listener.close()
    network.listen(port, only=True).close()

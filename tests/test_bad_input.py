"""What can be wrong is one clear line, exit code 1, no traceback, and nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from tests.conftest import EVERYTHING, ZIPCODES
from workflow import services
from workflow.labelstudio import connection, regions
from workflow.labelstudio.client import Client
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import preannotate, pull, push

TOML = """name = "letters"
title = "Letters"
classes = ["a", "b"]

[preannotate]
model = "ultralytics:base/weights.pt"
"""
ELSEWHERE = '\n[push]\nimage_url = "https://images.example/{path}"\n'
OWN = {"LABEL_STUDIO_API_KEY": "nonsense"}
MODEL, ME = Provenance("model", "ultralytics:base/weights.pt", "12345678"), Provenance("person", "me")


def workflow(here: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a workspace, with servers of its own: none, unless the environment says so."""
    environment = os.environ | {"WORKFLOW_STATE": str(here / "state")} | environment
    command = [sys.executable, "-m", "workflow", *arguments]
    return subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def refused(here: Path, *arguments: str, **environment: str) -> str:
    """What it says on stderr where it refuses, with paths as in the workspace."""
    done = workflow(here, *arguments, **environment)
    assert (done.returncode, done.stdout) == (1, ""), done
    return done.stderr.replace(str(here.resolve()), "HERE")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A workspace with one project, which has no images yet."""
    return _workspace(tmp_path)


def _workspace(folder: Path) -> Path:
    images = folder / "projects" / "letters" / "data" / "images"
    images.mkdir(parents=True)
    (folder / "projects" / "letters" / "project.toml").write_text(TOML)
    return folder


@pytest.fixture
def letters(here: Path) -> Project:
    """Its project, with three images, catalogued and guessed at: one letter each."""
    return _letters(here)


def _letters(here: Path, count: int = 3) -> Project:
    project = load_project(here / "projects" / "letters")
    _draw(project, range(count))
    assert workflow(here, "catalog").returncode == 0
    rows = [
        Sample(r.id, "predicted", (Annotation("a", MODEL, box=(1, 2, 30, 40), score=0.5, id=f"r{r.id}"),))
        for r in read_catalog(project.catalog)
    ]
    write_rows(preannotate.predictions_path(project), map(sample_to_row, rows))
    return project


def _draw(project: Project, numbers: Iterable[int]) -> None:
    for number in numbers:
        Image.new("RGB", (64 + number, 48), "white").save(project.images / f"{number}.png")


def _label(project: Project, label: str = "a") -> None:
    """As if a person had put one box into each image, and it had been pulled."""
    box = Annotation(label, ME, box=(1, 2, 30, 40), id="r")
    rows = [Sample(r.id, "reviewed", (box,), {"task": 1}) for r in read_catalog(project.catalog)]
    write_rows(project.labels, map(sample_to_row, rows))


def _set(project: Project, old: str, new: str) -> None:
    path = project.folder / "project.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def _files(folder: Path) -> dict[str, bytes]:
    """Every file but the lock, which says who was here last."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            "catalog letters",
            "HERE/projects/letters/data/images holds no images (.avif .bmp .gif .heic .heif .jfif .jp2"
            " .jpe .jpeg .jpg .mpo .png .tif .tiff .webp) -> put images there, or set images.folder",
        ),
        (
            "catalog leters",
            "no project 'leters': neither projects/leters nor leters has a project.toml"
            " -> did you mean 'letters'?",
        ),
        (
            "catalog street",
            "no project 'street': neither projects/street nor street has a project.toml"
            " -> workflow new street",
        ),
        (
            "preannotate",
            "HERE/projects/letters/data/catalog.jsonl does not exist: the images are not catalogued"
            " -> workflow catalog",
        ),
        (
            "dataset",
            "HERE/projects/letters/data/labels.jsonl does not exist: no labels were pulled -> workflow pull",
        ),
        ("train", "HERE/projects/letters/data/dataset holds no dataset -> workflow dataset"),
        ("evaluate", "HERE/projects/letters/data/dataset holds no dataset -> workflow dataset"),
        ("push", "Label Studio is not running -> make up"),
        ("review", "Label Studio is not running -> make up"),
        ("pull", "Label Studio is not running -> make up"),
        (
            "demo letters --reviewer nobody",
            "reviewer 'nobody' is neither simulated nor me -> make demo REVIEWER=me",
        ),
    ],
)
def test_nothing_is_there_yet(here: Path, command: str, problem: str) -> None:
    assert refused(here, *command.split()) == f"error: {problem}\n"


@pytest.mark.parametrize(
    ("toml", "problems"),
    [
        (
            TOML.replace("classes", "clases").replace("model", "modle")
            + "threshold = 2\n\n[train]\nepochs = 0\n\n[pushh]\nblind = []\n",
            [
                "project.toml:1: classes: is missing",
                "project.toml:6: preannotate.modle: unknown key; did you mean 'model'?",
                "project.toml:7: preannotate.threshold: Input should be less than or equal to 1, got 2",
                "project.toml:10: train.epochs: Input should be greater than or equal to 1, got 0",
                "project.toml:3: clases: unknown key; did you mean 'classes'?",
                "project.toml:12: pushh: unknown key; did you mean 'push'?",
            ],
        ),
        (
            TOML + '\n[preannotate.class_map]\ncat = "c"\n',
            ["project.toml:8: preannotate.class_map: 'cat' leads to 'c', which is no class"],
        ),
    ],
)
def test_mistakes_in_project_toml(here: Path, toml: str, problems: list[str]) -> None:
    (here / "projects" / "letters" / "project.toml").write_text(toml)
    said = refused(here, "status").splitlines()
    said[-1] = said[-1].removesuffix(" -> edit HERE/projects/letters/project.toml")
    assert sorted(said) == sorted(f"error: {p}" for p in problems)


def test_project_toml_that_is_no_toml(here: Path) -> None:
    (here / "projects" / "letters" / "project.toml").write_text("name = ")
    problem = "HERE/projects/letters/project.toml: not TOML: Invalid value (at end of document)"
    assert refused(here, "status") == f"error: {problem}\n"


def test_unreadable_images_are_set_aside(here: Path) -> None:
    project = load_project(here / "projects" / "letters")
    (project.images / "a.jpg").write_text("no image")
    (project.images / "b.jpg").touch()
    assert refused(here, "catalog") == (
        "error: none of 2 images can be read -> see HERE/projects/letters/data/quarantine.jsonl\n"
    )
    Image.new("RGB", (64, 48), "white").save(project.images / "c.png")
    done = workflow(here, "catalog")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("catalog: 1 images (")
    first, *rest = done.stdout.splitlines()
    assert ", 2 quarantined [" in first
    assert rest == ["  quarantined a.jpg: not-an-image", "  quarantined b.jpg: empty-file"]
    assert [row["path"] for row in read_rows(project.catalog)] == ["c.png"]


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            "ultralytics:base/weights.pt",
            "base/weights.pt is not on this machine, and no name of ultralytics' either -> put a .pt file"
            " into the project folder and name it, as in ultralytics:base/weights.pt",
        ),
        (
            "ultralitics:base.pt",
            "model 'ultralitics:base.pt': no family 'ultralitics' -> did you mean ultralytics:...?",
        ),
        ("ultralytics", "model 'ultralytics': names no checkpoint -> write ultralytics:CHECKPOINT"),
        ("run:best", "no finished run 'best' -> runs: none; workflow train"),
    ],
)
def test_a_model_that_is_not_there(letters: Project, here: Path, model: str, problem: str) -> None:
    _set(letters, "ultralytics:base/weights.pt", model)
    before = _files(letters.data)
    assert refused(here, "preannotate") == f"error: {problem}\n"
    assert _files(letters.data) == before


@pytest.mark.slow
def test_a_model_without_any_class_of_the_project(letters: Project, here: Path) -> None:
    (letters.folder / "base").mkdir()
    shutil.copy(ZIPCODES / "base" / "printed-digits.pt", letters.folder / "base" / "weights.pt")
    assert refused(here, "preannotate", "--device", "cpu") == (
        "error: model 'ultralytics:base/weights.pt': none of its classes (0, 1, 2, 3, 4, 5, 6, 7, ...) is one"
        " of the project's -> set preannotate.class_map\n"
    )


@pytest.mark.slow
def test_changed_classes_while_labels_use_them(letters: Project, here: Path) -> None:
    _label(letters)
    assert workflow(here, "dataset").returncode == 0
    before = _files(letters.data)
    _set(letters, '["a", "b"]', '["b"]')
    assert refused(here, "dataset") == (
        "error: classes: labels in use would lose their class: 'a' (3) -> put them back, rename them"
        ' (renamed_from = {NEW = "OLD"}), or relabel them in Label Studio\n'
    )
    assert refused(here, "train") == (
        "error: HERE/projects/letters/data/dataset was built with other classes -> workflow dataset\n"
    )
    assert _files(letters.data) == before
    _set(letters, '["b"]', '["c", "b", "a"]')
    assert workflow(here, "dataset").returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _fill(disk: Path, but: int) -> None:
    """Leave no more than so many bytes."""
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - but))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "room", "problem"),
    [
        ("catalog", 0, "HERE/projects/letters/data/.stages/measured.jsonl: the disk is full"),
        ("catalog", 40960, "HERE/projects/letters/data/measures.jsonl: the disk is full"),
        ("dataset", 0, "HERE/projects/letters/data/.stages/known-labels.json: the disk is full"),
        ("dataset", 12288, "the disk is full"),
    ],
)
def test_a_full_disk_loses_nothing(small_disk: Path, command: str, room: int, problem: str) -> None:
    here = _workspace(small_disk)
    project = _letters(here, 100)
    _label(project)
    assert workflow(here, "dataset").returncode == 0
    _draw(project, range(100, 200))
    _label(project, "b")
    lasting = [project.catalog, project.labels, *(p for p in project.dataset.rglob("*") if p.is_file())]
    before = [path.read_bytes() for path in lasting]
    _fill(small_disk, room)
    said = refused(here, command)
    assert said == f"error: {problem}; nothing is lost -> free some space and run it again\n"
    assert [path.read_bytes() for path in lasting] == before
    (small_disk / "filler").unlink()
    assert workflow(here, command).returncode == 0
    assert not list(small_disk.rglob("*.partial"))


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        (
            {"LABEL_STUDIO_URL": "https://labels.example"},
            "LABEL_STUDIO_URL is set, but LABEL_STUDIO_API_KEY is not"
            " -> export LABEL_STUDIO_API_KEY=..., or unset LABEL_STUDIO_URL",
        ),
        (
            OWN,
            "LABEL_STUDIO_API_KEY is set, but LABEL_STUDIO_URL is not"
            " -> export LABEL_STUDIO_URL=..., or unset LABEL_STUDIO_API_KEY",
        ),
        (
            OWN | {"LABEL_STUDIO_URL": "labels.example"},
            "LABEL_STUDIO_URL does not begin with http:// or https:// -> export it again",
        ),
    ],
)
@pytest.mark.parametrize("command", ["push", "pull"])
def test_half_of_an_address(here: Path, command: str, environment: dict[str, str], problem: str) -> None:
    assert refused(here, command, **environment) == f"error: {problem}\n"


@pytest.mark.slow
def test_no_server_at_the_address(letters: Project, here: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        before = _files(letters.data)
        said = refused(here, "push", **OWN, LABEL_STUDIO_URL=url)
    assert said == (
        f"error: no Label Studio answers at {url} ([Errno 111] Connection refused)"
        " -> make up, or check LABEL_STUDIO_URL\n"
    )
    assert _files(letters.data) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "content"),
    [(200, b"<p>hello</p>"), (200, b'{"hello": 1}'), (404, b"")],
    ids=["page", "json", "404"],
)
def test_a_server_that_is_not_label_studio(letters: Project, here: Path, status: int, content: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    _set(letters, TOML, TOML + ELSEWHERE)
    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        said = refused(here, "push", **OWN, LABEL_STUDIO_URL=url)
        server.shutdown()
    assert said == f"error: {url} answers, but not as Label Studio does -> check LABEL_STUDIO_URL\n"


@pytest.mark.services
def test_a_wrong_token_and_a_server_that_cannot_see_the_images(
    letters: Project, here: Path, servers: Path
) -> None:
    access = services.label_studio_access(servers)
    before = _files(letters.data)
    right = {"LABEL_STUDIO_URL": access.url, "LABEL_STUDIO_API_KEY": access.api_key}
    assert refused(here, "push", **right) == (
        f"error: {access.url} cannot see this machine's images"
        " -> set push.image_url to where it finds them: https://images.example/{path}\n"
    )
    _set(letters, TOML, TOML + ELSEWHERE)
    assert refused(here, "push", **right | OWN) == (
        f"error: {access.url} refuses the token (HTTP 401) -> check LABEL_STUDIO_API_KEY, or make down up\n"
    )
    assert _files(letters.data) == before


@pytest.mark.services
def test_review_and_pull_before_push(letters: Project, here: Path, servers: Path, client: Client) -> None:
    state = {"WORKFLOW_STATE": str(servers)}
    problem = f"error: {client.url} has no project of letters -> workflow push\n"
    assert refused(here, "pull", **state) == problem
    truth = letters.data / "truth.jsonl"
    truth.touch()
    _set(letters, TOML, TOML + '\n[review]\ntruth = "data/truth.jsonl"\n')
    assert refused(here, "review", **state) == problem


@pytest.mark.services
def test_a_label_that_is_no_class_is_listed(
    letters: Project, here: Path, servers: Path, client: Client
) -> None:
    push.run(letters, LabelStudio(client, str(connection.serve(letters))))
    pull.run(letters, LabelStudio(client))
    number = find_project(letters, client) or 0
    task = next(client.tasks(number, EVERYTHING))
    zebra = regions.to_result([Annotation("zebra", ME, box=(0, 0, 9, 9))], 64, 48)
    client.annotate(task["id"], {"result": zebra, "was_cancelled": False, "lead_time": 1})
    before = letters.labels.read_bytes()
    for options in ([], ["--full"]):
        done = workflow(here, "pull", *options, WORKFLOW_STATE=str(servers))
        assert f"task {task['id']} ({task['data']['file']}), person " in done.stdout
        assert ": 'zebra' is no class -> add it to project.toml, or relabel it there\n" in done.stdout
    assert letters.labels.read_bytes() == before
    assert [len(t["annotations"]) for t in client.tasks(number, EVERYTHING)].count(1) == 1


@pytest.mark.services
def test_a_dry_run_sends_nothing(letters: Project, here: Path, servers: Path, client: Client) -> None:
    def on_server() -> list[tuple]:
        projects = client.get("api/projects/", page_size=1000)["results"]
        counts = ("id", "task_number", "total_annotations_number", "total_predictions_number")
        return sorted(tuple(project[count] for count in counts) for project in projects)

    def dry_run() -> str:
        before, files = on_server(), _files(letters.data)
        done = workflow(here, "push", "--dry-run", WORKFLOW_STATE=str(servers))
        assert (done.returncode, done.stderr) == (0, "")
        assert (on_server(), _files(letters.data)) == (before, files)
        return done.stdout.partition(" [")[0]

    blind = sum(r.split == "test" for r in read_catalog(letters.catalog))
    assert dry_run() == f"push: would send: 3 new tasks, 0 unchanged, {3 - blind} new predictions"
    push.run(letters, LabelStudio(client, str(connection.serve(letters))))
    assert dry_run() == "push: would send: 0 new tasks, 3 unchanged, 0 new predictions"
    _draw(letters, [3])
    assert workflow(here, "catalog").returncode == 0
    assert dry_run() == "push: would send: 1 new tasks, 3 unchanged, 0 new predictions"

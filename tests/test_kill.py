"""Killed with kill -9 at ten random moments, and run again each time: it ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import EVERYTHING, ZIPCODES, MakeProject
from tests.training_jobs import make_job, write_dataset
from workflow import services
from workflow.labelstudio import connection
from workflow.labelstudio.client import Client
from workflow.labelstudio.project import ensure_project, find_project, mark_path
from workflow.labelstudio.tool import LabelStudio
from workflow.models.ultralytics import environment
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_json, read_rows
from workflow.records import Annotation, Provenance
from workflow.services import processes
from workflow.services.service import LABEL_STUDIO
from workflow.stages import catalog, preannotate, push
from workflow.training import Job, yolo

SEED = 20
STAGES = ("catalog", "preannotate", "push", "review", "pull", "dataset", "train")
# What `workflow demo` does with a project up to its training; it says which stage begins.
DRIVER = """
import sys
from pathlib import Path
from workflow import wing
from workflow.commands import reviewer
from workflow.project.paths import load_project
from workflow.stages import catalog, dataset, preannotate, pull, push, train

def begin(stage):
    print(stage, flush=True)

project = load_project(Path(sys.argv[1]))
begin("catalog")
catalog.run(project)
begin("preannotate")
preannotate.run(project, device="cpu")
tool = wing.connect(project)
begin("push")
push.run(project, tool)
begin("review")
reviewer.run(project, tool)
begin("pull")
pull.run(project, tool)
begin("dataset")
dataset.run(project)
begin("train")
train.run(project, device="cpu")
begin("end")
"""


@dataclass(frozen=True)
class Moment:
    """Once `stage` has begun and written `file`, and then some share of that stage's time, at most `most`."""

    stage: str
    file: str = ""
    most: float = 0.8


MOMENTS = (
    Moment("catalog", ".stages/measured.jsonl", most=0.1),
    Moment("preannotate", "raw/*/asked.json", most=0.3),
    Moment("push", "label-studio.json", most=0.2),
    Moment("push", ".stages/sending.json", most=0.2),
    Moment("push", ".stages/sending.json", most=0.2),
    Moment("review"),
    Moment("review"),
    Moment("pull"),
    Moment("dataset"),
    Moment("train"),
)


@dataclass
class Run:
    """The driver in a session of its own, and when each stage began."""

    project: Project
    began: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        command = [sys.executable, "-c", DRIVER, str(self.project.folder)]
        self.problems = self.project.folder / "stderr"
        self.start = time.time()
        with self.problems.open("w") as file:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True
            )
        self._listener = Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.began[line.strip()] = time.time()

    def end(self) -> dict[str, float]:
        """Wait for the end; the seconds each stage took."""
        self._listener.join(timeout=180)
        assert self.process.wait(timeout=10) == 0, self.problems.read_text()
        times = [*self.began.values()]
        return dict(zip(STAGES, (b - a for a, b in zip(times, times[1:], strict=False)), strict=True))

    def kill_at(self, moment: Moment, delay: float) -> str:
        """Kill the whole session; the stage it was in."""
        while not self._reached(moment):
            assert self.process.poll() is None, self.problems.read_text()
            time.sleep(0.002)
        time.sleep(delay)
        os.killpg(self.process.pid, signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL
        self._listener.join()
        _wait_until(lambda: not _session(self.process.pid))
        return [*self.began][-1]

    def _reached(self, moment: Moment) -> bool:
        if any(later in self.began for later in STAGES[STAGES.index(moment.stage) + 1 :]):
            return True
        return moment.stage in self.began and (
            not moment.file or any(map(self._is_new, self.project.data.glob(moment.file)))
        )

    def _is_new(self, path: Path) -> bool:
        """Whether this run wrote it: a run killed before may have left one, too."""
        try:
            return path.stat().st_mtime >= self.start
        except FileNotFoundError:
            return False


def _session(number: int) -> list[psutil.Process]:
    """The processes of a session that still do something."""

    def belongs(process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False

    return [p for p in psutil.process_iter() if belongs(p)]


def _wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.services
def test_killed_at_ten_moments_it_ends_as_if_it_had_not_been(
    make_project: MakeProject, client: Client
) -> None:
    before = len(_server_projects(client))
    reference, project = make_project("reference", 24), make_project("letters", 24)
    seconds = Run(reference).end()
    chance = random.Random(SEED)
    hit = []
    for moment in MOMENTS:
        delay = chance.uniform(0, moment.most) * seconds[moment.stage]
        hit.append(f"{Run(project).kill_at(moment, delay)}, {delay:.2f} s after {moment}")
    last = Run(project)
    last.end()
    told = "\n".join([f"seed {SEED}, killed in:", *hit])
    assert {line.split(",")[0] for line in hit} >= {"preannotate", "push", "review", "train"}, told
    assert _on_disk(project) == _on_disk(reference), told
    assert _on_server(project, client) == _on_server(reference, client), told
    assert len(_server_projects(client)) == before + 2, told
    assert _session(last.process.pid) == [], told


def _on_disk(project: Project) -> dict[str, Any]:
    """Every file a run leaves; the content of those that say something."""
    runs = [read_json(folder / "run.json") for folder in project.runs.iterdir()]
    dataset = {p.name: p.read_bytes() for p in project.dataset.rglob("*") if p.is_file()}
    return {
        "files": sorted(_names(project)),
        "catalog": project.catalog.read_bytes(),
        "predictions": preannotate.predictions_path(project).read_bytes(),
        "labels": [_lasting(row) for row in read_rows(project.labels)],
        "ledger": [_lasting(row) for row in read_rows(project.ledger)],
        "pushed": [(row["image"], len(row["versions"])) for row in read_rows(project.pushed)],
        "dataset": dataset,
        "runs": [(r["dataset"], r["images"], [e["epoch"] for e in r["curves"]]) for r in runs],
    }


def _names(project: Project) -> Iterator[str]:
    """What `status` remembers is left out: of a file too young for the clock to tell it remembers nothing."""
    for path in [*project.data.rglob("*"), *connection.serve(project).parent.glob(f"*{project.name}*")]:
        if not path.match(".stages/known-*.json"):
            yield str(path).replace(project.name, "NAME")


def _lasting(value: Any) -> Any:
    """Without what the server numbers, and when: two projects never share that."""
    if isinstance(value, dict):
        numbered = ("task", "annotation", "at", "revision")
        return {k: _lasting(v) for k, v in value.items() if k not in numbered}
    return [_lasting(v) for v in value] if isinstance(value, list) else value


def _on_server(project: Project, client: Client) -> list[tuple]:
    """What the server holds of each image, having checked that nothing is there twice."""
    number = find_project(project, client)
    assert number is not None
    tasks = list(client.tasks(number, EVERYTHING))
    assert sorted(t["data"]["image_id"] for t in tasks) == sorted(r.id for r in read_catalog(project.catalog))
    for task in tasks:
        versions = Counter(p["model_version"] for p in task["predictions"])
        assert set(versions.values()) <= {1}
        assert len(task["annotations"]) == 1
    return sorted(
        (
            t["data"]["image_id"],
            [p["model_version"] for p in t["predictions"]],
            [(a["was_cancelled"], a["lead_time"], len(a["result"])) for a in t["annotations"]],
        )
        for t in tasks
    )


def _server_projects(client: Client) -> list[dict[str, Any]]:
    return client.get("api/projects/", page_size=1000)["results"]


@pytest.mark.services
def test_a_server_killed_in_the_middle_of_a_push(
    make_project: MakeProject, client: Client, servers: Path
) -> None:
    project = make_project("interrupted", 24)
    catalog.run(project)
    preannotate.run(project, device="cpu")
    served = str(connection.serve(project))
    ensure_project(project, client, served)
    sender = subprocess.Popen(
        [sys.executable, "-m", "workflow", "push", str(project.folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until(mark_path(project).exists, 60)
    for process in processes.find(servers)[LABEL_STUDIO]:
        process.kill()
    _, problem = sender.communicate(timeout=60)
    assert sender.returncode == 1
    assert problem.startswith(f"error: no Label Studio answers at {client.url} (")
    assert problem.endswith(") -> make up, or check LABEL_STUDIO_URL\n")
    assert problem.count("\n") == 1
    services.up(servers, [LABEL_STUDIO], lambda line: None, services.served_root(servers))
    assert connection.connect(project)[0].url == client.url
    push.run(project, LabelStudio(client, served))
    tasks = list(client.tasks(find_project(project, client) or 0, EVERYTHING))
    assert sorted(t["data"]["image_id"] for t in tasks) == sorted(r.id for r in read_catalog(project.catalog))
    guessed = {r["image"] for r in read_rows(preannotate.predictions_path(project)) if r["annotations"]}
    blind = {r.id for r in read_catalog(project.catalog) if r.split == "test"}
    assert {t["data"]["image_id"]: len(t["predictions"]) for t in tasks} == {
        r.id: int(r.id in guessed - blind) for r in read_catalog(project.catalog)
    }


# Where ultralytics' training is killed, which kill -9 from outside hardly ever hits.
BEFORE_STRIPPING = "trainer.strip_optimizer = die"
HALF_OF_THE_BEST = """
def half(path, strip=trainer.strip_optimizer, **updates):
    if path.name == "best.pt":
        os.truncate(path, 1000)
        die()
    return strip(path)

trainer.strip_optimizer = half
"""
BEFORE_SAVING_THE_SECOND_EPOCH = """
def save(self, save=trainer.BaseTrainer.save_model):
    return die() if self.epoch else save(self)

trainer.BaseTrainer.save_model = save
"""
TRAINING = """
import json, os, signal, sys
from ultralytics.engine import trainer
from workflow.training import yolo_worker

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
{killer}
yolo_worker.fit(yolo_worker.Asked(**json.loads(sys.argv[1])), lambda event: None)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killer", "epochs_after"),
    [(BEFORE_STRIPPING, []), (HALF_OF_THE_BEST, []), (BEFORE_SAVING_THE_SECOND_EPOCH, [2])],
    ids=["before-stripping", "half-of-the-best", "before-saving"],
)
def test_training_killed_in_its_narrow_places(tmp_path: Path, killer: str, epochs_after: list[int]) -> None:
    base = ZIPCODES / "base" / "printed-digits.pt"
    job = _dots(tmp_path, base)
    asked, _ = yolo.ask(job)
    command = [sys.executable, "-c", TRAINING.format(killer=killer), json.dumps(asdict(asked))]
    with job.log.open("w") as file:
        killed = subprocess.run(
            command, env=os.environ | environment(), stdout=file, stderr=file, timeout=120, check=False
        )
    assert killed.returncode == -signal.SIGKILL, job.log.read_text()
    epochs: list[float] = []
    result = yolo.train(job, lambda e: epochs.append(e["epoch"]))
    assert epochs == epochs_after
    assert [e["epoch"] for e in result.curves] == [1, 2]
    assert result.arguments["epochs"] == 2
    size = (result.files / result.checkpoint).stat().st_size
    assert size == pytest.approx(base.stat().st_size, rel=0.05)


def _dots(folder: Path, base: Path) -> Job:
    """A job of two epochs on four drawn images with a box each."""
    dot = Annotation("3", Provenance("person", "me"), box=(16, 16, 48, 48))
    drawn = [(np.full((64, 64, 3), 255, np.uint8), [dot])] * 4
    digits = tuple("0123456789")
    write_dataset(folder / "dataset", "detection", {"train": drawn, "validation": drawn}, digits)
    recipe = {"method": "head", "epochs": 2, "batch": 4, "image_size": 64}
    return make_job(folder, "detection", "ultralytics", base, classes=digits, **recipe)

"""What push and pull cost beside the server's own bulk import and export of the same tasks.

Claims: push at 0.9 or more of the rate of the raw bulk import of the same payload, pull at 0.9 or more of the
raw export's, both at flat memory, and nothing like one POST a task.
Run: python benchmarks/exchange.py [TASKS]     (10000 by default; half an hour at most on two cores)
     python benchmarks/exchange.py --quick     (50)

Starts a Label Studio of its own in a temporary folder and makes a project of TASKS images with seven boxes
each; the images need not exist. Prints tasks a second of each way in one run, and the ratios:
  raw import   everything in one request, predictions embedded (which a second writer makes the server drop)
  raw in two   tasks in one request, predictions in another
  push         workflow push, which also compares, keeps what it sends, and counts back
  one a task   POST a task, POST its prediction (on the first 200)
  raw export   GET export?exportType=JSON, read as JSON
  pull         workflow pull, into labels.jsonl and ledger.jsonl
  nothing new  workflow push and pull again
and the peak memory of push and pull in processes of their own, at a tenth of the tasks and at all.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson

from workflow import services
from workflow.labelstudio.client import Client
from workflow.labelstudio.project import find_project, remote_path
from workflow.labelstudio.push.upload import Upload
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import sample_to_row, write_rows
from workflow.records import Annotation, ImageRecord, Provenance, Sample
from workflow.stages import preannotate, pull, push

REPOSITORY = Path(__file__).parents[1]
BOXES = 7
ONE_BY_ONE = 200
WIDTH, HEIGHT = 1920, 1080
SETTINGS = """name = "{name}"
title = "Exchange {name}"
classes = {classes}
[push]
control = 0
blind = []
"""
QUICK = 50


def main() -> None:
    if sys.argv[1:2] == ["--memory"]:
        return peak(*sys.argv[2:])
    count = QUICK if "--quick" in sys.argv else int([*sys.argv[1:], "10000"][0])
    # What `make setup` installed; the server's state lies elsewhere.
    os.environ.setdefault("LABEL_STUDIO_BIN", str(REPOSITORY / ".venv-label-studio/bin/label-studio"))
    with tempfile.TemporaryDirectory() as folder:
        if running := os.environ.get("WORKFLOW_STATE"):
            # A server that is there, as the tests have one; a first start takes most of a quick run.
            return measure(Path(folder), Path(running), count)
        state = Path(folder) / "state"
        services.up(state, ["label-studio"], print, services.served_root(state))
        try:
            measure(Path(folder), state, count)
        finally:
            services.down(state, ["label-studio"], print)


def measure(folder: Path, state: Path, count: int) -> None:
    access = services.label_studio_access(state)
    client = Client(access.url, access.api_key)
    large, small = make(folder, "large", count), make(folder, "small", count // 10)
    served = serve(state, large)
    bodies = payload(large, served, client, folder)
    rates = {"push": rate("push", count, lambda: push.run(large, LabelStudio(client, served)))}
    rates |= raw_imports(client, large, bodies)
    number = find_project(large, client) or 0
    print("  a person submits every guess as it is")
    accept = {"selectedItems": {"all": True, "excluded": []}}
    client.post(f"api/dm/actions?id=predictions_to_annotations&project={number}", accept)
    rates["raw export"] = rate("raw export", count, lambda: export(access, number))
    # What changed shortly before a pull is asked for once more by the next.
    time.sleep(pull.OVERLAP.total_seconds() if count > QUICK else 0)
    rates["pull"] = rate("pull", count, lambda: pull.run(large, LabelStudio(client)))
    rates["push again"] = rate("push again", count, lambda: push.run(large, LabelStudio(client, served)))
    rates["pull again"] = rate("pull again", count, lambda: pull.run(large, LabelStudio(client)))
    print(f"push: {rates['push'] / rates['raw import']:.2f} of the raw import in one request")
    print(f"      {rates['push'] / rates['raw in two']:.2f} of the raw import in two requests")
    print(f"      {rates['push'] / rates['one a task']:.0f} times one POST a task")
    print(f"pull: {rates['pull'] / rates['raw export']:.2f} of the raw export")
    memory(state, client, large, small)


def rate(what: str, count: int, work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    found = count / (time.perf_counter() - start)
    print(f"  {what:<12} {found:7.0f} tasks/s", flush=True)
    return found


def make(folder: Path, name: str, count: int) -> Project:
    """A project of `count` images, catalogued and pre-annotated, whose files are nowhere."""
    classes = [f"class {n}" for n in range(10)]
    place = folder / "projects" / name
    (place / "data" / "images").mkdir(parents=True)
    (place / "project.toml").write_text(SETTINGS.format(name=name, classes=classes))
    project = load_project(place)
    model = Provenance("model", "random", "1")
    chance = random.Random(0)

    def guesses() -> tuple[Annotation, ...]:
        found = []
        for n in range(BOXES):
            x, y = chance.uniform(0, WIDTH / 2), chance.uniform(0, HEIGHT / 2)
            box = (x, y, x + chance.uniform(9, WIDTH / 2), y + chance.uniform(9, HEIGHT / 2))
            found.append(
                Annotation(chance.choice(classes), model, box=box, score=chance.random(), id=f"g{n}")
            )
        return tuple(found)

    images = [f"{n:016x}" for n in range(count)]
    records = [ImageRecord(i, f"{i}.jpg", WIDTH, HEIGHT, "train") for i in images]
    write_rows(project.catalog, ({k: getattr(r, k) for k in r.__slots__} for r in records))
    samples = (sample_to_row(Sample(i, "predicted", guesses())) for i in images)
    write_rows(preannotate.predictions_path(project), samples)
    return project


def serve(state: Path, project: Project) -> str:
    place = services.served_root(state) / project.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(project.images)
    return str(place)


def payload(project: Project, served: str, client: Client, folder: Path) -> list[Any]:
    """What a push sends of each image, as bodies of tasks with their predictions embedded."""
    sender = Upload(project, client, 0, push.guesses_path(project))
    bodies = []
    for image, record in sender.records.items():
        row = sender._row(image)
        prediction = {"model_version": row["version"], "score": row["score"]}
        prediction["result"] = orjson.loads(row["result"])
        bodies.append({"data": sender._data(record), "predictions": [prediction]})
    print(f"{len(bodies)} tasks of {BOXES} boxes, {len(orjson.dumps(bodies)) / 1e6:.0f} MB")
    return bodies


def raw_imports(client: Client, project: Project, bodies: list[Any]) -> dict[str, float]:
    config = (client.project(find_project(project, client) or 0) or {})["label_config"]
    new = [client.create_project(f"Raw {n}", "raw", {"label_config": config})["id"] for n in range(3)]

    def in_two() -> None:
        path = f"api/projects/{new[1]}/import?return_task_ids=true"
        numbers = client.post(path, [{"data": b["data"]} for b in bodies])["task_ids"]
        predictions = [{"task": n} | b["predictions"][0] for n, b in zip(numbers, bodies, strict=True)]
        client.post(f"api/projects/{new[1]}/import/predictions", predictions)

    def one_by_one() -> None:
        for body in bodies[:ONE_BY_ONE]:
            task = client.post("api/tasks/", {"data": body["data"], "project": new[2]})["id"]
            client.post("api/predictions/", {"task": task} | body["predictions"][0])

    return {
        "raw import": rate(
            "raw import", len(bodies), lambda: client.post(f"api/projects/{new[0]}/import", bodies)
        ),
        "raw in two": rate("raw in two", len(bodies), in_two),
        "one a task": rate("one a task", min(ONE_BY_ONE, len(bodies)), one_by_one),
    }


def export(access: services.LabelStudioAccess, number: int) -> None:
    url = f"{access.url}/api/projects/{number}/export?exportType=JSON"
    orjson.loads(httpx.get(url, headers={"Authorization": f"Token {access.api_key}"}, timeout=600).content)


def memory(state: Path, client: Client, large: Project, small: Project) -> None:
    """Peak memory of a first push (into a new project) and of a full pull, a process each."""
    push.run(small, LabelStudio(client, serve(state, small)))
    number = find_project(small, client) or 0
    accept = {"selectedItems": {"all": True, "excluded": []}}
    client.post(f"api/dm/actions?id=predictions_to_annotations&project={number}", accept)
    for what in ("pull", "push"):
        for project in (small, large):
            if what == "push":
                remote_path(project).unlink()
            command = [sys.executable, __file__, "--memory", what, str(project.folder), str(state)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"  {what} of {project.name} peaks at {int(done.stdout.split()[-1]) / 1024:.0f} MiB")


def peak(what: str, folder: str, state: str) -> None:
    access = services.label_studio_access(Path(state))
    client, project = Client(access.url, access.api_key), load_project(Path(folder))
    if what == "push":
        served = str(services.served_root(Path(state)) / project.name)
        push.run(project, LabelStudio(client, served))
    else:
        pull.run(project, LabelStudio(client), full=True)
    # Not getrusage's figure: a child process begins with its parent's peak.
    status = Path("/proc/self/status").read_text()
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


if __name__ == "__main__":
    main()

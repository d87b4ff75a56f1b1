"""What goes wrong between here and the server: nothing lost, nothing twice, and every test counts."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.conftest import EVERYTHING
from tests.proxy import losing
from tests.samples import draw_project
from workflow import services
from workflow.errors import LabelStudioError, LostAnswer
from workflow.labelstudio import project as link
from workflow.labelstudio import regions
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_rows, sample_to_row, write_rows
from workflow.records import Annotation, ImageRecord, Provenance, Sample
from workflow.services import processes
from workflow.services.service import LABEL_STUDIO
from workflow.stages import catalog, preannotate, pull, push

pytestmark = [pytest.mark.services, pytest.mark.slow]
ALL_TRAIN = "[split]\nvalidation = 0\ntest = 0\n"
BOX = (10.0, 10.0, 30.0, 30.0)
Json = dict[str, Any]
Lost = Literal["request", "answer"]


def guess(project: Project) -> None:
    model = Provenance("model", "by hand", "1")
    found = (Annotation("disk", model, box=BOX, score=0.5, id="g"),)
    samples = [Sample(r.id, "predicted", found) for r in read_catalog(project.catalog)]
    write_rows(preannotate.predictions_path(project), map(sample_to_row, samples))


def make(tmp_path: Path, count: int) -> Project:
    """A project of `count` images, only the first ten of which exist: a push looks at none of them."""
    project = draw_project(tmp_path, "detection", min(count, 10), ALL_TRAIN)
    catalog.run(project)
    records = read_catalog(project.catalog)
    more = [ImageRecord(f"{n:016x}", f"more-{n}.png", 96, 72, "train") for n in range(count - len(records))]
    write_rows(project.catalog, ({k: getattr(r, k) for k in r.__slots__} for r in [*records, *more]))
    guess(project)
    return project


def on_server(project: Project, client: Client) -> list[Json]:
    found = client.find_project(link.remote(project)["key"])
    return list(client.tasks(found["id"], EVERYTHING)) if found else []


def check(project: Project, client: Client) -> list[Json]:
    """One task an image, one prediction a task."""
    tasks = on_server(project, client)
    images = Counter(t["data"]["image_id"] for t in tasks)
    assert images == Counter(r.id for r in read_catalog(project.catalog))
    assert {len(t["predictions"]) for t in tasks} == {1}
    return tasks


def answer(client: Client, task: int, who: int, label: str = "disk") -> int:
    person = Annotation(label, Provenance("person", "me"), box=BOX, id="g")
    body = {"result": regions.to_result([person], 96, 72), "lead_time": 1.0, "was_cancelled": False}
    return client.post(f"api/tasks/{task}/annotations/", body | {"completed_by": who})["id"]


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("what", ["/import?", "/import/predictions", "/api/projects/"])
def test_a_push_through_a_network_that_loses_things_ends_by_itself(
    what: str, lost: Lost, tmp_path: Path, client: Client, servers: Path
) -> None:
    project = make(tmp_path, 30)
    times = Counter[str]()

    def lose(method: str, path: str) -> Lost | None:
        hit = method == "POST" and (path.endswith(what) if what == "/api/projects/" else what in path)
        times[what] += hit
        return lost if hit and times[what] <= 2 else None

    access = services.label_studio_access(servers)
    with losing(client.url, lose) as url:
        through = Client(url, access.api_key)
        if what == "/api/projects/":
            # The making of a project is not tried again by itself: its key finds it in the next push.
            for _ in range(2 if lost == "request" else 1):
                with pytest.raises(LostAnswer):
                    push.run(project, LabelStudio(through, str(serve(project))))
        push.run(project, LabelStudio(through, str(serve(project))))
        # What arrived is found there, and not sent again.
        assert times[what] == (3 if lost == "request" else 1)
        check(project, client)
        assert push.run(project, LabelStudio(through, str(serve(project)))).skipped
    numbers = [p["id"] for p in client.get("api/projects/", page_size=1000)["results"]]
    key = link.remote(project)["key"]
    assert sum(key in (client.project(n) or {})["description"] for n in numbers) == 1


def test_a_network_that_loses_every_answer_ends_all_the_same(
    tmp_path: Path, client: Client, servers: Path
) -> None:
    """Every task and prediction arrives, but nobody is told: each try finds more of it there."""
    project = make(tmp_path, 30)
    access = services.label_studio_access(servers)
    with losing(client.url, lambda method, path: "answer" if "/import" in path else None) as url:
        push.run(project, LabelStudio(Client(url, access.api_key), str(serve(project))))
    check(project, client)


def test_a_network_that_loses_every_request_is_given_up(
    tmp_path: Path, client: Client, servers: Path
) -> None:
    project = make(tmp_path, 30)
    access = services.label_studio_access(servers)
    with (
        losing(client.url, lambda method, path: "request" if "/import" in path else None) as url,
        pytest.raises(LostAnswer),
    ):
        push.run(project, LabelStudio(Client(url, access.api_key), str(serve(project))))
    assert on_server(project, client) == []


def test_reads_are_tried_again(tmp_path: Path, client: Client, servers: Path) -> None:
    project = make(tmp_path, 10)
    push.run(project, LabelStudio(client, str(serve(project))))
    for task in on_server(project, client):
        answer(client, task["id"], client.user["id"])
    access = services.label_studio_access(servers)
    seen = Counter[str]()

    def lose(method: str, path: str) -> Lost | None:
        seen[path] += 1
        return "answer" if seen[path] <= 2 else None

    with losing(client.url, lose) as url:
        link_file = link.remote_path(project)
        link_file.write_text(link_file.read_text().replace(client.url, url))
        pull.run(project, LabelStudio(Client(url, access.api_key)))
    assert Counter(row["state"] for row in read_rows(project.labels)) == {"reviewed": 10}
    assert len(list(read_rows(project.ledger))) == 10


def test_three_annotators_post_while_a_push_runs(tmp_path: Path, client: Client, servers: Path) -> None:
    """On SQLite, where predictions embedded in an import vanish in just this case."""
    project = make(tmp_path, 100)
    push.run(project, LabelStudio(client, str(serve(project))))
    first = check(project, client)
    names = ("anna", "ben", "cleo")
    bodies = [{"email": f"{n}@example.com", "username": n, "first_name": n, "last_name": n} for n in names]
    people = [client.post("api/users/", body)["id"] for body in bodies]
    access = services.label_studio_access(servers)
    done, posted = threading.Event(), Counter[int]()

    def annotate(who: int) -> None:
        mine = Client(access.url, access.api_key)
        for task in first:
            if done.is_set():
                return
            answer(mine, task["id"], who)
            posted[who] += 1
            time.sleep(0.1)

    records = read_catalog(project.catalog)
    more = [ImageRecord(f"{n:016x}", f"late-{n}.png", 96, 72, "train") for n in range(10_000, 11_500)]
    write_rows(project.catalog, ({k: getattr(r, k) for k in r.__slots__} for r in [*records, *more]))
    guess(project)
    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(annotate, who) for who in people]
        push.run(project, LabelStudio(client, str(serve(project))))
        done.set()
        for one in working:
            one.result()
    assert min(posted.values()) >= 1
    tasks = check(project, client)
    assert len(tasks) == 1600
    there = Counter(a["completed_by"] for t in tasks for a in t["annotations"])
    assert there == posted
    pull.run(project, LabelStudio(client))
    reviewed = [row for row in read_rows(project.labels) if row["state"] == "reviewed"]
    assert len(reviewed) == len({t["id"] for t in tasks if t["annotations"]})
    assert Counter(int(row["person"]) for row in read_rows(project.ledger)) == posted
    assert push.run(project, LabelStudio(client, str(serve(project)))).skipped


def test_a_server_that_dies_in_the_middle_of_a_pull(
    tmp_path: Path, client: Client, servers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow.labelstudio.client.PAGE", 3)
    monkeypatch.setattr("workflow.labelstudio.client.READ_TRIES", 1)
    project = make(tmp_path, 10)
    push.run(project, LabelStudio(client, str(serve(project))))
    tasks = on_server(project, client)
    answer(client, tasks[0]["id"], client.user["id"])
    pull.run(project, LabelStudio(client))
    files = [project.labels, project.ledger, pull.state_path(project)]
    before = [path.read_bytes() for path in files]
    for task in tasks[1:]:
        answer(client, task["id"], client.user["id"])
    pages = iter(range(100))
    weigh = client._weigh

    def die(path: str, query: Json) -> Any:
        if path == "api/tasks/" and next(pages) == 2:
            for process in processes.find(servers)[LABEL_STUDIO]:
                process.kill()
        return weigh(path, query)

    monkeypatch.setattr(client, "_weigh", die)
    with pytest.raises(LabelStudioError):
        pull.run(project, LabelStudio(client))
    assert [path.read_bytes() for path in files] == before
    services.up(servers, [LABEL_STUDIO], lambda line: None, services.served_root(servers))
    monkeypatch.setattr(client, "_weigh", weigh)
    pull.run(project, LabelStudio(client))
    assert Counter(row["state"] for row in read_rows(project.labels)) == {"reviewed": 10}
    assert sorted(row["task"] for row in read_rows(project.ledger)) == [t["id"] for t in tasks]

"""Push and pull against the real server: order, versions, control share, several people, deleted tasks."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EVERYTHING
from tests.samples import CLASSES, draw_project
from workflow.errors import LabelStudioError, StageError
from workflow.labels import blind, history
from workflow.labelstudio import regions
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.project import find_project
from workflow.labelstudio.pushed import PushedGuesses
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, read_samples, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import catalog, preannotate, pull, push

pytestmark = pytest.mark.services
ALL_TRAIN = "[split]\nvalidation = 0\ntest = 0\n"
BOX = (10.0, 10.0, 30.0, 30.0)
Json = dict[str, Any]


def guess(project: Project, revision: str = "1", name: str = "by hand", file: Path | None = None) -> None:
    """A box in every image, the surer the later the image; more sure with every revision."""
    records = read_catalog(project.catalog)
    model = Provenance("model", name, revision)
    samples = [
        Sample(r.id, "predicted", (Annotation("disk", model, box=BOX, score=(n + 1) / 50, id=f"g{n}"),))
        for n, r in enumerate(records)
    ]
    write_rows(file or preannotate.predictions_path(project), map(sample_to_row, samples))


def make(tmp_path: Path, more: str = "", count: int = 10) -> Project:
    project = draw_project(tmp_path, "detection", count, ALL_TRAIN + more)
    catalog.run(project)
    guess(project)
    return project


def send(project: Project, client: Client) -> str:
    return push.run(project, LabelStudio(client, str(serve(project)))).did


def on_server(project: Project, client: Client) -> list[Json]:
    return list(client.tasks(find_project(project, client) or 0, EVERYTHING))


def answer(client: Client, task: int, *boxes: Annotation, who: int | None = None, **more: Any) -> int:
    """Submit boxes for a 96 x 72 image; the annotation's number."""
    result = regions.to_result(boxes, 96, 72)
    body = {"result": result, "lead_time": 2.0, "was_cancelled": False} | more
    return client.post(f"api/tasks/{task}/annotations/", body | ({"completed_by": who} if who else {}))["id"]


def box(label: str = "disk", place: tuple[float, float, float, float] = BOX, name: str = "g0") -> Annotation:
    return Annotation(label, Provenance("person", "me"), box=place, id=name)


@pytest.fixture(scope="module")
def others(state: Path) -> list[int]:
    """Two more accounts on the server."""
    from workflow import services

    access = services.label_studio_access(state)
    client = Client(access.url, access.api_key)
    names = ("second", "third")
    bodies = [{"email": f"{n}@example.com", "username": n, "first_name": n, "last_name": n} for n in names]
    return [client.post("api/users/", body)["id"] for body in bodies]


def test_a_control_share_is_pushed_without_guesses(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, "[push]\n", 40)
    text = (project.folder / "project.toml").read_text().replace("control = 0\n", "control = 0.2\n")
    (project.folder / "project.toml").write_text(text)
    project = load_project(project.folder)
    send(project, client)
    expected = {r.id for r in read_catalog(project.catalog) if blind.chance(r.id, "control") < 0.2}
    assert 2 <= len(expected) <= 16
    tasks = on_server(project, client)
    assert {t["data"]["image_id"] for t in tasks if not t["predictions"]} == expected
    assert {row["image"] for row in read_rows(project.pushed) if row.get("blind") == "control"} == expected
    for task in tasks[:12]:
        answer(client, task["id"], box())
    pull.run(project, LabelStudio(client))
    entries = {row["image"]: row for row in read_rows(project.ledger)}
    assert len(entries) == 12
    for image, entry in entries.items():
        assert (entry["control"], entry["blind"]) == ((image in expected,) * 2)
        assert entry["model"] == ("" if image in expected else "by-hand@1")
    assert "0 new tasks, 40 unchanged, 0 new predictions" in send(project, client)


@pytest.mark.parametrize("versions", ["join", "replace"])
def test_a_new_version_joins_or_replaces_where_nobody_worked(
    versions: str, tmp_path: Path, client: Client
) -> None:
    project = make(tmp_path, f'[push]\nversions = "{versions}"\n')
    send(project, client)
    worked, drafted, *rest = on_server(project, client)
    parent = worked["predictions"][0]["id"]
    answer(client, worked["id"], box(), parent_prediction=parent)
    client.post(f"api/tasks/{drafted['id']}/drafts", {"result": [], "lead_time": 1})
    guess(project, "2")
    assert "0 new predictions, 10 re-predicted by another model" in send(project, client)
    kept = {worked["id"], drafted["id"]}
    for task in on_server(project, client):
        old = ["by-hand@1"] if versions == "join" or task["id"] in kept else []
        assert sorted(p["model_version"] for p in task["predictions"]) == [*old, "by-hand@2"]
    assert (client.project(find_project(project, client) or 0) or {})["model_version"] == "by-hand@2"
    # What people started from is known of either.
    answer(client, rest[0]["id"], box(name="g2"))
    pull.run(project, LabelStudio(client))
    models = {row["task"]: row["model"] for row in read_rows(project.ledger)}
    assert models == {worked["id"]: "by-hand@1", rest[0]["id"]: "by-hand@2"}
    assert [a["action"] for row in read_rows(project.ledger) for a in row["actions"]] == ["accepted"] * 2
    assert "0 re-predicted" not in send(project, client)


def test_guesses_of_others_are_never_replaced(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, '[push]\nversions = "replace"\n')
    send(project, client)
    number = find_project(project, client) or 0
    task = on_server(project, client)[0]
    client.import_predictions(number, [{"task": task["id"], "model_version": "theirs", "result": []}])
    guess(project, "2")
    send(project, client)
    there = next(t for t in on_server(project, client) if t["id"] == task["id"])
    names = sorted(p["model_version"] for p in there["predictions"])
    assert names == ["by-hand@1", "by-hand@2", "theirs"]


def test_the_unsure_come_first_and_the_blind_in_between(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, '[push]\norder = "uncertain"\n', 20)
    records = read_catalog(project.catalog)
    rows = list(read_rows(preannotate.predictions_path(project)))
    # The model saw nothing in two images; one is blind by its split.
    for row in rows[5:7]:
        row["annotations"] = []
    write_rows(preannotate.predictions_path(project), reversed(rows))
    text = project.catalog.read_text().splitlines()
    text[0] = text[0].replace('"train"', '"test"')
    project.catalog.write_text("\n".join(text) + "\n")
    send(project, client)
    number = find_project(project, client) or 0
    tasks = on_server(project, client)
    scores = [t["predictions"][0]["score"] for t in tasks]
    assert scores == sorted(scores)
    assert [t["data"]["priority"] for t in tasks] == [pytest.approx(1 - s, abs=1e-4) for s in scores]
    empty = {t["data"]["image_id"] for t in tasks if not t["predictions"][0]["result"]}
    assert empty == {records[0].id, records[5].id, records[6].id}
    served = []
    while task := client.next_task(number):
        served.append(task["id"])
        answer(client, task["id"])
    assert [scores[[t["id"] for t in tasks].index(n)] for n in served] == sorted(scores)
    pull.run(project, LabelStudio(client))
    blinded = {row["image"] for row in read_rows(project.ledger) if row["blind"]}
    assert blinded == {records[0].id}


def test_probes_tell_who_looks_and_never_become_labels(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, "[push]\nprobes = 0.99\n")
    send(project, client)
    tasks = on_server(project, client)
    planted = [t for t in tasks if any(r["id"] == "probe-0" for r in t["predictions"][0]["result"])]
    assert len(planted) >= 8
    careless, careful, mover, *_ = planted

    def submit(task: Json, change: Any) -> None:
        prediction = task["predictions"][0]
        result = change(copy.deepcopy(prediction["result"]))
        body = {"result": result, "parent_prediction": prediction["id"], "was_cancelled": False}
        client.annotate(task["id"], body | {"lead_time": 1.0})

    def move(result: list[Json]) -> list[Json]:
        next(r for r in result if r["id"] == "probe-0")["value"]["width"] /= 2
        return result

    submit(careless, lambda result: result)
    submit(careful, lambda result: [r for r in result if r["id"] != "probe-0"])
    submit(mover, move)
    pull.run(project, LabelStudio(client))
    rows = {row["task"]: row for row in read_rows(project.ledger)}
    caught = {n: row["probes"] for n, row in rows.items()}
    assert caught == {
        t["id"]: [{"id": "probe-0", "caught": t is not careless}] for t in (careless, careful, mover)
    }
    labels = read_samples(project.labels)
    counts = {n: len(labels[rows[n]["image"]].annotations) for n in rows}
    assert counts == {careless["id"]: 1, careful["id"]: 1, mover["id"]: 2}
    actions = {n: [a["action"] for a in row["actions"]] for n, row in rows.items()}
    assert actions == {
        careless["id"]: ["accepted"],
        careful["id"]: ["accepted"],
        mover["id"]: ["accepted", "added"],
    }
    # A guess nobody has looked at is no label either, and the probe is no guess.
    rest = [s for s in labels.values() if s.state == "predicted"]
    assert {len(s.annotations) for s in rest} == {1}


def test_other_guesses_can_be_pushed_by_name(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, '[push]\npredictions = "import-coco-old"\n')
    with pytest.raises(StageError, match=r"import-coco-old.jsonl does not exist; there is yolo11n"):
        send(project, client)
    guess(project, "7", "old", project.data / "predictions" / "import-coco-old.jsonl")
    send(project, client)
    assert {p["model_version"] for t in on_server(project, client) for p in t["predictions"]} == {"old@7"}


def test_where_a_model_saw_nothing_its_silence_is_judged(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    rows = list(read_rows(preannotate.predictions_path(project)))
    rows[0]["annotations"] = []
    write_rows(preannotate.predictions_path(project), rows)
    send(project, client)
    silent = next(t for t in on_server(project, client) if not t["predictions"])
    answer(client, silent["id"], box())
    pull.run(project, LabelStudio(client))
    (entry,) = read_rows(project.ledger)
    assert (entry["model"], entry["blind"], entry["control"]) == ("by-hand@1", False, False)
    assert [a["action"] for a in entry["actions"]] == ["added"]


def test_a_moved_image_is_told_to_its_task(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    before = {t["data"]["image_id"]: t["id"] for t in on_server(project, client)}
    record = read_catalog(project.catalog)[0]
    (project.images / record.path).rename(project.images / "elsewhere.png")
    catalog.run(project)
    assert "9 unchanged, 1 whose image moved" in send(project, client)
    tasks = on_server(project, client)
    assert {t["data"]["image_id"]: t["id"] for t in tasks} == before
    (moved,) = (t for t in tasks if t["data"]["image_id"] == record.id)
    assert (moved["data"]["file"], moved["data"]["image"][-13:]) == ("elsewhere.png", "elsewhere.png")
    assert "10 unchanged" in send(project, client)


def test_what_was_doubled_is_found_by_the_servers_own_count(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    number = find_project(project, client) or 0
    before = on_server(project, client)
    again = before[3]["predictions"][0]
    keys = ("task", "model_version", "score", "result")
    client.import_predictions(number, [{key: again[key] for key in keys}])
    assert "1 left twice by a killed push (removed)" in send(project, client)
    assert [p["id"] for t in on_server(project, client) for p in t["predictions"]] == [
        p["id"] for t in before for p in t["predictions"]
    ]


def test_three_people_agree_or_are_listed(tmp_path: Path, client: Client, others: list[int]) -> None:
    project = make(tmp_path, '[pull]\nannotators = "agreement"\n', 4)
    send(project, client)
    agreed, named, alone, absent = on_server(project, client)
    me = client.user["id"]
    for who in (me, *others):
        answer(client, agreed["id"], box(), who=who)
        answer(client, named["id"], box("disk" if who == me else "tile"), who=who)
    answer(client, alone["id"], box(), who=me)
    answer(client, absent["id"], box(), who=me)
    answer(client, absent["id"], box("bar"), who=others[0])
    outcome = pull.run(project, LabelStudio(client))
    assert "2 reviewed (2 boxes, 0 empty)" in outcome.did
    assert "people disagree on 1 (see disagreements.jsonl)" in outcome.did
    assert "2 images people have not agreed on" in outcome.did
    labels = {row["task"]: row for row in read_rows(project.labels)}
    assert {n: row["state"] for n, row in labels.items()} == {
        agreed["id"]: "reviewed",
        named["id"]: "reviewed",
        alone["id"]: "predicted",
        absent["id"]: "predicted",
    }
    assert [a["label"] for a in labels[named["id"]]["annotations"]] == ["tile"]
    assert labels[agreed["id"]]["person"] == ", ".join(sorted(map(str, (me, *others))))
    (row,) = read_rows(project.disagreements)
    assert (row["task"], row["file"]) == (absent["id"], absent["data"]["file"])
    assert row["on"] == [
        {
            "what": "label",
            "labels": {"bar": [str(others[0])], "disk": [str(me)]},
            "box": pytest.approx(BOX, abs=1e-6),
        }
    ]
    # Everybody's work is in the ledger, whoever won.
    assert Counter(row["task"] for row in read_rows(project.ledger)) == {
        agreed["id"]: 3,
        named["id"]: 3,
        alone["id"]: 1,
        absent["id"]: 2,
    }
    # The third settles it.
    answer(client, absent["id"], box("bar"), who=others[1])
    assert "people disagree" not in pull.run(project, LabelStudio(client)).did
    assert list(read_rows(project.disagreements)) == []


def test_ground_truth_counts_where_it_is_asked_for(tmp_path: Path, client: Client, others: list[int]) -> None:
    project = make(tmp_path, '[pull]\nannotators = "ground-truth"\n', 4)
    send(project, client)
    marked, plain, *_ = on_server(project, client)
    answer(client, marked["id"], box("tile"), who=others[0], ground_truth=True)
    answer(client, marked["id"], box("bar"))
    answer(client, plain["id"], box("bar"))
    pull.run(project, LabelStudio(client))
    labels = {row["task"]: row for row in read_rows(project.labels)}
    assert [a["label"] for a in labels[marked["id"]]["annotations"]] == ["tile"]
    assert labels[plain["id"]]["state"] == "predicted"


def test_labels_of_deleted_tasks_are_kept_until_they_are_dropped(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    first, second, *_ = on_server(project, client)
    answer(client, first["id"], box())
    answer(client, second["id"], box())
    pull.run(project, LabelStudio(client))
    client.delete(f"api/tasks/{first['id']}/")
    assert pull.run(project, LabelStudio(client)).skipped
    outcome = pull.run(project, LabelStudio(client), full=True)
    assert "1 labels kept whose tasks were deleted (--drop-deleted forgets them)" in outcome.did
    state = read_samples(project.labels)[first["data"]["image_id"]].state
    assert state == "reviewed"
    outcome = pull.run(project, LabelStudio(client), drop_deleted=True)
    assert "1 labels dropped, as their tasks were deleted" in outcome.did
    assert read_samples(project.labels)[first["data"]["image_id"]].state == "unlabeled"
    assert read_samples(project.labels)[second["data"]["image_id"]].state == "reviewed"
    assert [row["task"] for row in read_rows(project.ledger)] == [second["id"]]
    history.restore(project, 1)
    assert read_samples(project.labels)[first["data"]["image_id"]].state == "reviewed"


def test_labels_of_an_image_that_is_away_are_there_when_it_is_back(tmp_path: Path, client: Client) -> None:
    """Labeled before it left, and labeled anew, or for the first time, while it was away."""
    project = make(tmp_path)
    send(project, client)
    kept, anew, late, waits, *_ = on_server(project, client)
    for task in (kept, anew):
        answer(client, task["id"], box())
    pull.run(project, LabelStudio(client))
    away = [task["data"]["file"] for task in (kept, anew, late, waits)]
    for name in away:
        (project.images / name).rename(tmp_path / name)
    catalog.run(project)
    before = {row["image"]: row for row in read_rows(project.labels)}
    answer(client, anew["id"], box("bar"))
    answer(client, late["id"], box("tile"))
    assert "2 labels kept whose images are not in the catalog" in pull.run(project, LabelStudio(client)).did
    assert "deleted" not in pull.run(project, LabelStudio(client), full=True).did
    found = {row["image"]: row for row in read_rows(project.labels)}
    assert found == {
        image: row
        for image, row in before.items()
        if image not in (late["data"]["image_id"], waits["data"]["image_id"])
    }
    pull.run(project, LabelStudio(client))
    for name in away:
        (tmp_path / name).rename(project.images / name)
    catalog.run(project)
    pull.run(project, LabelStudio(client))
    labels = read_samples(project.labels)
    said = [labels[task["data"]["image_id"]] for task in (kept, anew, late, waits)]
    assert [(s.state, [a.label for a in s.annotations]) for s in said] == [
        ("reviewed", ["disk"]),
        ("reviewed", ["bar"]),
        ("reviewed", ["tile"]),
        ("predicted", ["disk"]),
    ]
    assert pull.run(project, LabelStudio(client), full=True).skipped


def test_what_another_machine_pushed_is_fetched(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    for task in on_server(project, client):
        answer(client, task["id"], box(name=task["predictions"][0]["result"][0]["id"]))
    pull.run(project, LabelStudio(client))
    known = (project.labels.read_bytes(), project.ledger.read_bytes())
    assert PushedGuesses(project).last("by-hand@1", read_catalog(project.catalog)[0].id)
    for path in [*(project.data / "pushed").iterdir(), project.labels, project.ledger]:
        path.unlink()
    pull.run(project, LabelStudio(client))
    assert (project.labels.read_bytes(), project.ledger.read_bytes()) == known


def test_a_bucket_without_a_storage_is_refused_with_what_to_do(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, '[push]\nimage_url = "s3://photos/raw/{path}"\n')
    with pytest.raises(LabelStudioError) as error:
        push.run(project, LabelStudio(client, None))
    number = find_project(project, client)
    assert f"project {number} has no storage for s3://photos" in error.value.problem
    assert (
        f"/projects/{number}/settings/storage add a source storage (AWS S3, bucket photos" in error.value.fix
    )
    assert on_server(project, client) == []


def test_a_task_deleted_while_pages_are_read_makes_none_be_passed_over(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow.labelstudio.client.PAGE", 3)
    project = make(tmp_path)
    send(project, client)
    tasks = on_server(project, client)
    assert len(tasks) == 10
    number = find_project(project, client) or 0
    seen = []
    for task in client.tasks(number, "id"):
        seen.append(task["id"])
        if len(seen) == 2:
            client.delete(f"api/tasks/{tasks[0]['id']}/")
    assert seen == [t["id"] for t in tasks]


def test_two_pulls_at_once_do_not_corrupt(tmp_path: Path, client: Client, servers: Path) -> None:
    project = make(tmp_path)
    send(project, client)
    for task in on_server(project, client):
        answer(client, task["id"], box())
    command = [sys.executable, "-m", "workflow", "pull", str(project.folder)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    ends = [(p.communicate(), p.returncode) for p in both]
    refused = [err for (_, err), code in ends if code]
    assert len(refused) <= 1
    assert all("another workflow command works on detection" in err for err in refused)
    rows = [json.loads(line) for line in project.labels.read_text().splitlines()]
    assert Counter(row["state"] for row in rows) == {"reviewed": 10}
    assert len(list(read_rows(project.ledger))) == 10


def test_large_masks_come_in_smaller_pages(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow.labelstudio.client.PAGE", 4)
    monkeypatch.setattr("workflow.labelstudio.client.PAGE_BYTES", 2_000)
    project = make(tmp_path)
    send(project, client)
    asked: list[int] = []
    weigh = client._weigh

    def spy(path: str, query: Json) -> Any:
        asked.extend([query["page_size"]] if "page_size" in query else [])
        return weigh(path, query)

    monkeypatch.setattr(client, "_weigh", spy)
    assert len(on_server(project, client)) == 10
    assert asked[0] == 4
    assert max(asked[1:]) < 4


def test_a_person_who_changed_their_mind_has_one_entry(
    tmp_path: Path, client: Client, others: list[int]
) -> None:
    project = make(tmp_path)
    send(project, client)
    task = on_server(project, client)[0]
    answer(client, task["id"], box("bar"), who=others[0])
    answer(client, task["id"], box("tile"), who=others[0])
    pull.run(project, LabelStudio(client))
    (entry,) = read_rows(project.ledger)
    assert [a["label"] for a in entry["actions"]] == ["tile"]
    sample = read_samples(project.labels)[task["data"]["image_id"]]
    assert sample.annotations == (replace(sample.annotations[0], label="tile"),)
    assert set(CLASSES) >= {"tile", "bar"}


def test_what_a_person_relates_stays_related(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    first, second, *_ = on_server(project, client)
    far = box("bar", (50.0, 40.0, 70.0, 60.0), "new")
    relation = {"type": "relation", "from_id": "new", "to_id": "g0", "direction": "left", "labels": ["on"]}
    result = [*regions.to_result([box(), far], 96, 72), relation, relation | {"to_id": "gone"}]
    body = {"result": result, "lead_time": 2.0, "was_cancelled": False}
    client.post(f"api/tasks/{first['id']}/annotations/", body)
    answer(client, second["id"], box())
    assert "1 relation of a region that is not carried" in pull.run(project, LabelStudio(client)).did
    rows = {row["task"]: row for row in read_rows(project.labels)}
    assert rows[first["id"]]["relations"] == [relation]
    assert "relations" not in rows[second["id"]]
    assert pull.run(project, LabelStudio(client), full=True).skipped

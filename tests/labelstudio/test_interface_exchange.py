"""Labeling interfaces and renamed classes through the real server, and as a person sees them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.labelstudio.test_exchange import ALL_TRAIN, BOX, answer, box, guess, make, on_server, send
from tests.samples import draw_project
from workflow.commands import reviewer
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.project import find_project
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, read_samples, write_rows
from workflow.stages import catalog, preannotate, pull, push

pytestmark = pytest.mark.services
OWN = """<View>
  <Choices name="quality" toName="photo"><Choice value="sharp"/></Choices>
  <Image name="photo" value="$url"/>
  <RectangleLabels name="box" toName="photo">
    <Label value="disk" alias="d"/><Label value="bar"/><Label value="tile"/>
  </RectangleLabels>
</View>
"""


def test_a_users_own_interface_is_sent_and_read_back(tmp_path: Path, client: Client) -> None:
    project = draw_project(tmp_path, "detection", 10, f'{ALL_TRAIN}[push]\nlabel_config = "own.xml"\n')
    (project.folder / "own.xml").write_text(OWN)
    catalog.run(project)
    guess(project)
    send(project, client)
    number = find_project(project, client) or 0
    assert (client.project(number) or {})["label_config"] == OWN.strip()
    tasks = on_server(project, client)
    assert all(t["data"]["url"].endswith(t["data"]["file"]) for t in tasks)
    (region,) = tasks[0]["predictions"][0]["result"]
    assert (region["from_name"], region["to_name"]) == ("box", "photo")
    assert region["value"]["rectanglelabels"] == ["d"]
    sharp = {"type": "choices", "from_name": "quality", "to_name": "photo", "value": {"choices": ["sharp"]}}
    body = {"result": [region, sharp], "lead_time": 1.0, "was_cancelled": False}
    client.annotate(tasks[0]["id"], body)
    outcome = pull.run(project, LabelStudio(client))
    assert "1 choices region" in outcome.did
    sample = read_samples(project.labels)[tasks[0]["data"]["image_id"]]
    assert [(a.label, a.box) for a in sample.annotations] == [("disk", pytest.approx(BOX, abs=1e-6))]
    (entry,) = read_rows(project.ledger)
    assert [a["action"] for a in entry["actions"]] == ["accepted"]
    assert push.run(project, LabelStudio(client, str(serve(project)))).skipped
    assert "9 tasks reviewed" in reviewer.run(project, LabelStudio(client)).did
    pull.run(project, LabelStudio(client))
    found = Counter(a.label for s in read_samples(project.labels).values() for a in s.annotations)
    assert set(found) <= {"disk", "bar", "tile"}


def renamed(project: Project) -> Project:
    toml = project.folder / "project.toml"
    text = toml.read_text().replace("['disk', 'bar', 'tile']", "['ring', 'bar', 'tile']")
    toml.write_text('renamed_from = {ring = "disk"}\n' + text)
    return load_project(project.folder)


def test_a_renamed_class_is_shown_by_its_new_name_and_kept_under_the_old(
    tmp_path: Path, client: Client
) -> None:
    project = make(tmp_path)
    send(project, client)
    first, second, *_ = on_server(project, client)
    answer(client, first["id"], box())
    pull.run(project, LabelStudio(client))
    before = client.get(f"api/tasks/{first['id']}/")["annotations"]
    project = renamed(project)
    outcome = push.run(project, LabelStudio(client, str(serve(project))))
    assert "10 labels renamed: disk to ring" in outcome.did
    # What people made is not touched, and nothing is sent again.
    assert client.get(f"api/tasks/{first['id']}/")["annotations"] == before
    assert "0 new tasks, 10 unchanged, 0 new predictions" in outcome.did
    assert 'value="ring"' in (client.project(find_project(project, client) or 0) or {})["label_config"]
    answer(client, second["id"], box())
    pull.run(project, LabelStudio(client), full=True)
    labels = read_samples(project.labels)
    for task in (first, second):
        assert [a.label for a in labels[task["data"]["image_id"]].annotations] == ["ring"]
    assert {a["label"] for row in read_rows(project.ledger) for a in row["actions"]} == {"ring"}
    # A new model that says the new name is pushed under the one the server knows.
    rows = list(read_rows(preannotate.predictions_path(project)))
    for row in rows:
        for a in row["annotations"]:
            a["label"] = "ring"
            a["provenance"]["revision"] = "2"
    write_rows(preannotate.predictions_path(project), rows)
    assert "re-predicted" in push.run(project, LabelStudio(client, str(serve(project)))).did
    said = {tuple(r["value"]["rectanglelabels"]) for t in on_server(project, client)
            for p in t["predictions"] for r in p["result"]}  # fmt: skip
    assert said == {("disk",)}


def test_guesses_of_no_class_are_counted_and_not_pushed(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    rows = list(read_rows(preannotate.predictions_path(project)))
    rows[0]["annotations"].append(rows[0]["annotations"][0] | {"label": "zebra", "id": "z"})
    write_rows(preannotate.predictions_path(project), rows)
    assert "1 guesses of what is no class of the project" in send(project, client)
    image = read_catalog(project.catalog)[0].id
    (task,) = (t for t in on_server(project, client) if t["data"]["image_id"] == image)
    assert len(task["predictions"][0]["result"]) == 1
    assert interface_of(project).stored == {}

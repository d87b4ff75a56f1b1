"""What other people and other folders change on the server: told, asked about, and never lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.labelstudio.test_exchange import answer, box, make, on_server
from workflow.errors import LabelStudioError
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.project import find_project
from workflow.labelstudio.push.difference import ServerTask
from workflow.labelstudio.push.moves import Change, changes
from workflow.labelstudio.tool import LabelStudio
from workflow.labelstudio.where import remote
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_rows
from workflow.review import Whose
from workflow.running.runner import Outcome
from workflow.stages import pull, push


def send(project: Project, client: Client, whose: Whose = "", dry_run: bool = False) -> Outcome:
    return push.run(project, LabelStudio(client, str(serve(project))), dry_run, whose)


def config(project: Project, client: Client) -> str:
    return (client.project(find_project(project, client) or 0) or {})["label_config"]


@pytest.mark.services
def test_a_label_added_on_the_server_is_nobodys_to_lose(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    number, ours = find_project(project, client), config(project, client)
    theirs = ours.replace("</RectangleLabels>", '<Label value="zebra"/></RectangleLabels>')
    client.patch(f"api/projects/{number}/", {"label_config": theirs})
    difference = "label 'zebra' of 'label' is only there"
    with pytest.raises(LabelStudioError) as error:
        send(project, client)
    assert error.value.problem == (
        f"project {number} was changed in Label Studio (labeling interface: {difference})"
    )
    assert error.value.fix == (
        "workflow push --keep-theirs leaves it as it is there, --ours puts the project's back"
    )
    assert config(project, client) == theirs
    line = f"labeling interface, changed in Label Studio: {difference}"
    assert line in send(project, client, dry_run=True).lines
    assert line in send(project, client, "theirs").lines
    assert config(project, client) == theirs
    # That was an answer: it is not asked again, until either side changes.
    assert send(project, client).skipped
    assert config(project, client) == theirs
    assert line in send(project, client, "ours").lines
    assert config(project, client) == ours
    assert send(project, client).lines == ()


@pytest.mark.services
def test_an_order_set_on_the_server_is_asked_about_too(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    client.patch(f"api/projects/{find_project(project, client)}/", {"sampling": "Uniform sampling"})
    with pytest.raises(LabelStudioError, match="order of tasks: 'Uniform sampling' there, 'Sequential"):
        send(project, client)


@pytest.mark.services
def test_a_change_of_our_own_classes_is_sent_as_ever(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace("'disk'", "'ring', 'disk'", 1))
    assert send(load_project(project.folder), client).lines == ()
    assert 'value="ring"' in config(project, client)


@pytest.mark.services
def test_a_pull_takes_all_but_what_it_cannot_tell(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    first, second, *_ = on_server(project, client)
    me = client.user["id"]
    answer(client, first["id"], box())
    answer(client, second["id"], box(), box("zebra", (40.0, 40.0, 60.0, 60.0), "z"))
    outcome = pull.run(project, LabelStudio(client))
    line = (
        f"task {second['id']} ({second['data']['file']}), person {me}: 'zebra' is no class"
        " -> add it to project.toml, or relabel it there"
    )
    assert outcome.lines == (line,)
    assert "1 images left as they were, for labels that are no class" in outcome.did
    states = {row.get("task"): row["state"] for row in read_rows(project.labels)}
    assert states[first["id"]] == "reviewed"
    assert second["id"] not in states
    # It is asked for again, and said again, although nothing changed on the server.
    assert pull.run(project, LabelStudio(client)).lines == (line,)
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace("'disk'", "'zebra', 'disk'", 1))
    wider = load_project(project.folder)
    assert pull.run(wider, LabelStudio(client)).lines == ()
    (row,) = (row for row in read_rows(project.labels) if row.get("task") == second["id"])
    assert sorted(a["label"] for a in row["annotations"]) == ["disk", "zebra"]


@pytest.mark.services
def test_after_a_change_of_policy_everything_is_judged_anew(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    send(project, client)
    first, second, *_ = on_server(project, client)
    answer(client, first["id"], box())
    answer(client, second["id"], box(), ground_truth=True)
    pull.run(project, LabelStudio(client))
    assert pull.state(project)[0] == "done"
    # So old that an incremental pull would pass both over.
    state = pull.state_path(project)
    state.write_text(state.read_text().replace('"until": "20', '"until": "29'))
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text() + '[pull]\nannotators = "ground-truth"\n')
    strict = load_project(project.folder)
    assert pull.state(strict)[0] == "stale"
    outcome = pull.run(strict, LabelStudio(client))
    assert outcome.did.startswith("1 reviewed")
    labels = project.labels.read_bytes()
    assert pull.run(strict, LabelStudio(client), full=True).skipped
    assert project.labels.read_bytes() == labels
    assert pull.state(strict)[0] == "done"


@pytest.mark.services
def test_a_push_that_fails_leaves_no_empty_project(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path)
    with pytest.raises(LabelStudioError, match="refused POST api/storages/localfiles/"):
        push.run(project, LabelStudio(client, "/no/such/folder"))
    assert client.find_project(remote(project)["key"]) is None
    assert "10 new tasks" in send(project, client).did


@pytest.mark.services
def test_addresses_are_moved_in_bulk_and_two_folders_are_told(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(tmp_path, count=30)
    send(project, client)
    answer(client, on_server(project, client)[0]["id"], box())
    pull.run(project, LabelStudio(client))
    other = tmp_path / "other" / "projects" / "twin"
    shutil.copytree(project.folder, other)
    toml = other / "project.toml"
    toml.write_text(toml.read_text().replace('name = "detection"', 'name = "twin"'))
    twin = load_project(other)
    posts: list[str] = []
    once = client._once

    def count(method: str, path: str, body: object = None) -> object:
        posts.append(path)
        return once(method, path, body)

    monkeypatch.setattr(client, "_once", count)
    outcome = send(twin, client)
    assert "30 whose image moved" in outcome.did
    assert "30 images have another address: /data/local-files/?d=" in outcome.lines[0]
    assert len([path for path in posts if "add_data_field" in path]) == 1
    assert all("?d=twin/" in task["data"]["image"] for task in on_server(twin, client))
    assert [len(t["annotations"]) for t in on_server(twin, client)].count(1) == 1
    # The first folder has not changed anything, and yet its addresses are gone.
    outcome = send(project, client)
    assert outcome.lines[1] == (
        "another folder pushes to this project too, and each rewrites the other's addresses"
        " -> push from one folder, or set one push.image_url in both"
    )
    # Pull sees no work in it.
    assert pull.run(project, LabelStudio(client)).skipped


def test_images_that_move_alike_are_one_change() -> None:
    def task(number: int, address: str) -> ServerTask:
        return ServerTask(number, (), False, (address, f"{number}.png", "train"))

    tasks = [task(1, "/d=a/x/1.png"), task(2, "/d=a/x/2.png"), task(3, "/d=a/q'/3.png")]
    now = [("/d=b/x/1.png", "1.png", "train"), ("/d=b/x/2.png", "2.png", "test")]
    now.append(("/d=a/q(/3.png", "3.png", "train"))
    # What the action's syntax cannot hold is set as a whole.
    assert changes(tasks, now, ("image", "file", "split")) == {
        Change("image", "/d=b", "/d=a"): [1, 2],
        Change("split", "test", "train"): [2],
        Change("image", "/d=a/q(/3.png"): [3],
    }


def test_what_differs_of_a_split_is_replaced_whole() -> None:
    one = ServerTask(1, (), False, ("a", "a", "train"))
    found = changes([one], [("a", "a", "validation")], ("image", "file", "split"))
    assert [change.of("train") for change in found] == ["validation"]

"""A team on the real server: what it is told, what it sees first, who said what, and what is settled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.labelstudio.test_exchange import answer, box, make, on_server
from workflow.commands import disagreements, history, reviewer
from workflow.errors import LabelStudioError, StageError
from workflow.labels.people import called
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_json, read_rows
from workflow.stages import pull, push

TEAM = '[pull]\nannotators = "agreement"\n'


def send(project: Project, client: Client, whose: str = "") -> tuple[str, ...]:
    return push.run(project, LabelStudio(client, str(serve(project))), False, whose).lines  # type: ignore[arg-type]


def changed(project: Project, old: str, new: str) -> Project:
    path = project.folder / "project.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return load_project(project.folder)


@pytest.fixture(scope="module")
def colleagues(state: Path) -> list[int]:
    """Ada Bell twice, who are two people."""
    from workflow import services

    access = services.label_studio_access(state)
    client = Client(access.url, access.api_key)
    names = {"first_name": "Ada", "last_name": "Bell"}
    return [
        client.post("api/users/", {"email": f"{n}@team.example", "username": n} | names)["id"]
        for n in ("ada-one", "ada-two")
    ]


def shown(client: Client, number: int) -> dict[str, int]:
    """The project's tabs, and how many tasks each shows."""
    return {
        view["data"]["title"]: client.get("api/tasks/", view=view["id"], project=number)["total"]
        for view in client.get("api/dm/views/", project=number)
    }


@pytest.mark.services
def test_a_team_is_told_what_to_do_and_what_it_disagrees_on(
    tmp_path: Path, client: Client, colleagues: list[int]
) -> None:
    project = changed(make(tmp_path, TEAM, 4), "[push]\n", "[push]\nannotations_per_task = 2\n")
    project.instructions.write_text("# Disks\n\nBox *every* disk & no <b>tile</b>.\n")
    assert send(project, client) == ()
    number = find_project(project, client) or 0
    there = client.project(number) or {}
    assert there["maximum_annotations"] == 2
    assert {task["overlap"] for task in client.tasks(number, "id,overlap")} == {2}
    assert there["show_instruction"]
    assert there["expert_instruction"] == (
        "<h1>Disks</h1>\n<p>Box <em>every</em> disk &amp; no &lt;b&gt;tile&lt;/b&gt;.</p>"
    )
    assert there["description"].startswith("Detection: disk, bar, tile. Pushed by workflow from ")
    assert shown(client, number) == {"All": 4, "To do": 4, "Skipped": 0}

    one, two = colleagues
    agreed, disputed, skipped, _ = on_server(project, client)
    for who in colleagues:
        answer(client, agreed["id"], box(), who=who)
        answer(client, disputed["id"], box("disk" if who == one else "tile", name="g1"), who=who)
        answer(client, skipped["id"], who=who, was_cancelled=True)
    tool = LabelStudio(client)
    assert "people disagree on 1" in pull.run(project, tool).did
    assert shown(client, number) == {"All": 4, "To do": 1, "Skipped": 1, "Disputed": 1}
    names = {str(one): f"Ada Bell ({one})", str(two): f"Ada Bell ({two})"}
    assert read_json(project.people) == {n: {"name": "Ada Bell"} for n in names}
    assert disagreements.describe(project).splitlines() == [
        f"{project.name}: people disagree on 1 images",
        f"task {disputed['id']}  {disputed['data']['file']}  ({names[str(one)]}, {names[str(two)]})",
        f"  label at 10, 10, 30, 30: disk: {names[str(one)]}; tile: {names[str(two)]}",
    ]

    # Whoever settles it marks what is true.
    with pytest.raises(LabelStudioError, match=f"task {disputed['id']} has no annotation of 99"):
        reviewer.mark_truth(project, tool, f"{disputed['id']}:99")
    with pytest.raises(StageError, match="no task, or task:person"):
        reviewer.mark_truth(project, tool, "some")
    said = reviewer.mark_truth(project, tool, f"{disputed['id']}:{two}")
    assert said == (
        f"task {disputed['id']}: what {names[str(two)]} submitted is the ground truth; workflow pull takes it"
    )
    truth = changed(project, 'annotators = "agreement"', 'annotators = "ground-truth"')
    pull.run(truth, tool)
    labels = {row.get("task"): row for row in read_rows(project.labels)}
    assert [a["label"] for a in labels[disputed["id"]]["annotations"]] == ["tile"]
    lines = history.describe_image(truth, disputed["data"]["file"]).splitlines()
    assert lines[0] == f"{disputed['data']['file']}  ({disputed['data']['image_id']})"
    assert lines[1].split()[3:] == ["predicted,", "1", "by", "pull"]
    assert lines[2].strip() == "+ disk at 10, 10, 30, 30"
    assert lines[3].endswith(f"reviewed, 1  by pull, {names[str(two)]}")
    assert lines[4].strip() == "~ disk at 10, 10, 30, 30 -> tile at 10, 10, 30, 30"
    with pytest.raises(StageError, match="no image of"):
        history.describe_image(truth, "nothing.jpg")

    # What has been settled leaves its tab, and the tab goes.
    LabelStudio(client).point_out(project, "Disputed", [])
    assert shown(client, number) == {"All": 4, "To do": 1, "Skipped": 1}
    # People's own changes of the tabs stay.
    view = next(v for v in client.get("api/dm/views/", project=number) if v["data"]["title"] == "Skipped")
    client.delete(f"api/dm/views/{view['id']}/")
    send(truth, client)
    assert shown(client, number) == {"All": 4, "To do": 1}


@pytest.mark.services
def test_instructions_written_on_the_server_are_asked_about(tmp_path: Path, client: Client) -> None:
    project = make(tmp_path, count=2)
    send(project, client)
    number = find_project(project, client)
    client.patch(f"api/projects/{number}/", {"expert_instruction": "Theirs.", "maximum_annotations": 3})
    # Nothing of ours says anything about them.
    assert send(project, client) == ()
    project.instructions.write_text("Ours.")
    with pytest.raises(LabelStudioError, match="instructions: other words there than in instructions.md"):
        send(project, client)
    send(project, client, "theirs")
    assert (client.project(number or 0) or {})["expert_instruction"] == "Theirs."
    send(project, client, "ours")
    there = client.project(number or 0) or {}
    assert (there["expert_instruction"], there["maximum_annotations"]) == ("<p>Ours.</p>", 3)
    project.instructions.unlink()
    send(project, client)
    there = client.project(number or 0) or {}
    assert (there["expert_instruction"], there["show_instruction"]) == ("", False)


@pytest.mark.parametrize(
    ("style", "file", "names"),
    [
        (
            "names",
            {"1": {"name": "Ann"}, "2": {"name": "B"}, "3": {"name": "B"}},
            "Ann, B (2), B (3), 9",
        ),
        ("initials", {"1": {"initials": "AL"}, "2": {"initials": "B"}}, "AL, B, 3, 9"),
        ("numbers", {"1": {"name": "Ann Lee"}}, "1, 2, 3, 9"),
        ("names", {}, "1, 2, 3, 9"),
    ],
)
def test_people_are_called_as_they_wish(tmp_path: Path, style: str, file: dict, names: str) -> None:
    from tests.samples import draw_project
    from workflow.labels import people
    from workflow.project.rows import write_json

    project = draw_project(tmp_path, "detection", 1, f'[pull]\npeople = "{style}"\n')
    if file:
        write_json(project.people, file)
    assert called(project)("1, 2, 3, 9") == names
    # Of a style that shows less, no more is kept.
    everybody = {"1": ("Ann Lee", "AL"), "2": ("B", "B"), "3": ("B", "B"), "9": ("", "")}
    people.keep(project, lambda: everybody, {"1"})
    word = {"names": "name", "initials": "initials"}.get(style)
    kept = read_json(project.people, {})
    assert all(set(entry) == {word} for entry in kept.values())
    assert bool(kept) == (style != "numbers")

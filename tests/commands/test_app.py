"""What people do in the FiftyOne App comes back, by the App's own routes: real mongod and Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.labelstudio.test_exchange import answer, guess
from tests.samples import draw_project, pushed_tasks
from workflow import services
from workflow.commands import app, status
from workflow.labels import history
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.project import find_project
from workflow.labelstudio.suspects import FIELD, TAB
from workflow.labelstudio.tabs import TABS
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_rows
from workflow.records import Annotation, Provenance
from workflow.shown.app import TRUTH, dataset_url, publish, reading
from workflow.shown.app.back import Returns
from workflow.stages import catalog, dataset, evaluate, pull, push

pytestmark = pytest.mark.services

SPLIT = "[split]\nvalidation = 0\ntest = 0\n"
PERSON = Provenance("person", "ann")
# In eighths of a 96 x 72 image, which percents and fractions hold to the last bit.
FIRST, SECOND = (12.0, 9.0, 36.0, 36.0), (48.0, 18.0, 72.0, 54.0)
Json = dict[str, Any]


@dataclass
class Street:
    """A labeled project in the App: each image has a disk and a bar, and a model that calls both tile."""

    project: Project
    client: Client
    tasks: dict[str, int]
    images: list[str]
    app: str
    environment: dict[str, str]

    @property
    def tool(self) -> LabelStudio:
        return LabelStudio(self.client, str(serve(self.project)))

    def publish(self, digest: str = "") -> None:
        records = read_catalog(self.project.catalog)
        truth = evaluate._truth(self.project, ("train",))
        model = Provenance("model", "tiny", "r1")
        tile = {i: [Annotation("tile", model, box=FIRST, score=0.9)] for i in self.images}
        bar = {i: [Annotation("bar", model, box=SECOND, score=0.9)] for i in self.images[:4]}
        fields = {TRUTH: truth, "base": bar, "tuned": tile}
        digest = digest or dataset.version(self.project)
        schema, root = self.project.settings.schema, self.project.images
        publish(
            self.project.name,
            records,
            fields,
            schema,
            self.environment,
            digest,
            root=root,
            returns=Returns(self.project),
        )

    def pull(self, take: bool = True) -> list[str]:
        return list(app.pull(self.project, lambda: self.tool, take).lines)

    def line(self, n: int) -> Json:
        return next(row for row in read_rows(self.project.labels) if row["image"] == self.images[n])

    def reason(self, n: int) -> str:
        return self.client.get(f"api/tasks/{self.tasks[self.images[n]]}/")["data"].get(FIELD, "")

    def document(self, n: int) -> tuple[str, Json]:
        """The id of the dataset, and what its database holds of an image."""
        with reading(self.project.name, self.environment) as shown:
            return str(shown._doc.id), shown._sample_collection.find_one({"image_id": self.images[n]})

    def edit(self, n: int, *patches: Json) -> None:
        """What the App's page sends when somebody edits labels."""
        number, sample = self.document(n)
        modified = sample["last_modified_at"].isoformat()
        kind = "application/json-patch+json"
        headers = {"Content-Type": kind, "If-Match": f'"{modified}"'}
        url = f"{self.app}/dataset/{number}/sample/{sample['_id']}"
        answer = httpx.patch(url, json=list(patches), headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text

    def press(self, operator: str, *images: int, **params: str) -> str:
        """What the App's page sends when somebody presses a button of ours, and what it is answered."""
        selected = [str(self.document(n)[1]["_id"]) for n in images]
        body = {"operator_uri": f"@workflow/back/{operator}", "dataset_name": self.project.name}
        body |= {"params": params, "selected": selected, "view": [], "filters": {}}
        answer = httpx.post(f"{self.app}/operators/execute", json=body, timeout=120).json()
        assert not answer["error"], answer["error_message"]
        return answer["result"]["message"]

    def tag(self, n: int, tag: str, field: str = "", on: bool = True) -> None:
        """What the App's page sends when somebody tags an image, or its labels."""
        _, sample = self.document(n)
        body: Json = {"dataset": self.project.name, "view": [], "sample_ids": [str(sample["_id"])]}
        body |= {"changes": {tag: on}, "filters": {}, "target_labels": bool(field)}
        body |= {"label_fields": [field]} if field else {}
        assert httpx.post(f"{self.app}/tag", json=body, timeout=60).status_code == 200


@pytest.fixture
def street(tmp_path: Path, client: Client, servers: Path) -> Iterator[Street]:
    project = draw_project(tmp_path, "detection", 6, SPLIT)
    catalog.run(project)
    guess(project)
    push.run(project, LabelStudio(client, str(serve(project))))
    tasks = pushed_tasks(project)
    for task in tasks.values():
        boxes = [
            Annotation("disk", PERSON, box=FIRST, id="g0"),
            Annotation("bar", PERSON, box=SECOND, id="b"),
        ]
        answer(client, task, *boxes)
    url = next(s.url for s in services.status(servers) if s.name == "fiftyone-app")
    images = [r.id for r in read_catalog(project.catalog)]
    made = Street(project, client, tasks, images, url, services.fiftyone_environment(servers))
    pull.run(project, made.tool)
    dataset.run(project)
    made.publish()
    yield made
    with reading(project.name, made.environment) as shown:
        shown.delete()


def _add(label: str) -> Json:
    box = {"_cls": "Detection", "label": label, "bounding_box": [0.5, 0.5, 0.25, 0.5], "tags": []}
    return {"op": "add", "path": "/ground_truth/detections/0", "value": box | {"attributes": {}}}


def _set(path: str, value: Any) -> Json:
    return {"op": "replace", "path": f"/ground_truth/detections/{path}", "value": value}


def test_what_is_done_in_the_app_comes_back_once_and_is_undone_by_nobody(street: Street) -> None:
    labels, ledger = street.project.labels.read_bytes(), street.project.ledger.read_bytes()
    assert street.pull() == []
    street.tag(0, "wrong")
    street.tag(1, "wrong", "tuned")
    street.tag(2, "night")
    # Moved in the App, which gives the height back with its rounding; another class; one more; one less.
    street.edit(3, _set("0/bounding_box/0", 0.25), _set("0/bounding_box/3", 0.375 - 1e-16), _add("tile"))
    street.edit(4, _set("0/label", "tile"), {"op": "remove", "path": "/ground_truth/detections/1"})
    files = {row.id: row.path for row in read_catalog(street.project.catalog)}
    three, four = (files[street.images[n]] for n in (3, 4))
    told = street.pull(take=False)
    assert told == [
        "tag 'night': set on 1 image",
        "tag 'wrong': set on 1 image and 1 label",
        f"edited: {three}: disk moved, tile added",
        f"edited: {four}: disk -> tile, bar deleted",
        "to look at again, in Label Studio: 1 image: wrong",
        "to look at again, in Label Studio: 1 image: wrong (tuned: tile)",
    ]
    assert street.project.labels.read_bytes() == labels
    assert not street.project.tags.exists()
    assert [street.reason(n) for n in range(3)] == ["", "", ""]
    assert street.pull()[:4] == told[:4]
    # Label Studio says why, in a tab of its own, and nothing of what people did there was touched.
    assert [street.reason(n) for n in range(4)] == ["wrong", "wrong (tuned: tile)", "", ""]
    number = find_project(street.project, street.client)
    tabs = street.client.get("api/dm/views/", project=number)
    assert [tab["data"]["title"] for tab in tabs] == [*TABS, TAB]
    listed = street.client.get("api/tasks/", project=number, view=tabs[-1]["id"])
    assert {task["id"] for task in listed["tasks"]} == {street.tasks[street.images[n]] for n in (0, 1)}
    rows = [(r["image"], r["tag"], r.get("field"), "sent" in r) for r in read_rows(street.project.tags)]
    expected = [("wrong", None, True), ("wrong", "tuned", True), ("night", None, False)]
    assert rows == sorted((street.images[n], *row) for n, row in enumerate(expected))
    # Edited labels are a person's, in pixels, and what nobody touched is as it was.
    line = street.line(3)
    boxes = [(a["label"], a["box"], a["provenance"]["name"]) for a in line["annotations"]]
    ann = street.line(0)["annotations"][1]["provenance"]["name"]
    assert boxes == [
        ("disk", [24.0, 9.0, 48.0, 36.0], "fiftyone"),
        ("bar", list(SECOND), ann),
        ("tile", [48.0, 36.0, 72.0, 72.0], "fiftyone"),
    ]
    assert [(a["label"], a["box"]) for a in street.line(4)["annotations"]] == [("tile", list(FIRST))]
    assert history.changes(street.project)[-1].by == "app pull"
    assert street.project.ledger.read_bytes() == ledger
    # Twice takes and sends nothing twice. A pull from Label Studio, which says what it said, undoes nothing.
    assert street.pull() == []
    assert len(street.client.get("api/dm/views/", project=number)) == len(TABS) + 1
    labels = street.project.labels.read_bytes()
    assert pull.run(street.project, street.tool, full=True).skipped
    assert street.project.labels.read_bytes() == labels
    # What somebody submits there since then counts, and is told; the reason is answered.
    answer(street.client, street.tasks[street.images[3]], Annotation("bar", PERSON, box=FIRST, id="b"))
    answer(street.client, street.tasks[street.images[0]], Annotation("bar", PERSON, box=FIRST, id="b"))
    did = pull.run(street.project, street.tool).did
    assert "1 images edited in fiftyone that were labeled anew since, which counts" in did
    assert [a["label"] for a in street.line(3)["annotations"]] == ["bar"]
    assert street.pull() == ["1 task needs no second look any more"]
    assert [street.reason(n) for n in (0, 1)] == ["", "wrong (tuned: tile)"]


def test_a_new_dataset_in_the_app_keeps_tags_and_edits_that_nobody_has_taken(street: Street) -> None:
    street.tag(0, "wrong")
    street.tag(1, "wrong", "tuned")
    street.edit(2, _set("0/label", "bar"))
    street.edit(3, _set("0/label", "zebra"))
    answer(street.client, street.tasks[street.images[4]], Annotation("tile", PERSON, box=FIRST, id="g0"))
    street.edit(4, _set("0/label", "bar"))
    pull.run(street.project, street.tool)
    street.publish("another")
    assert street.document(0)[1]["tags"] == ["train", "evaluated", "wrong"]
    assert street.document(1)[1]["tuned"]["detections"][0]["tags"] == ["wrong"]
    assert len(list((street.project.data / "app").glob("[0-9a-f]*.jsonl"))) == 2
    files = {row.id: row.path for row in read_catalog(street.project.catalog)}
    two, three, four = (files[street.images[n]] for n in (2, 3, 4))
    told = street.pull()
    assert told[:5] == [
        f"edited: {two}: disk -> bar",
        f"conflict: {four}: 1 label changed",
        f"not taken: {three}: 'zebra' is no class of the project",
        "conflict: the labels have changed since the App showed them, and count; the edits are kept",
        "not taken: mend it in the App, and pull again",
    ]
    assert [a["label"] for a in street.line(4)["annotations"]] == ["tile"]
    assert [row["image"] for row in read_rows(street.project.data / "app" / "conflicts.jsonl")] == [
        street.images[4]
    ]
    assert [street.reason(n) for n in (0, 1, 4)] == ["wrong", "wrong (tuned: tile)", "edited elsewhere"]
    # What could not be taken is found again, the rest is not.
    assert [line.split(":")[0] for line in street.pull()] == ["not taken", "not taken"]
    # A tag that is taken away in the App is taken back in Label Studio.
    street.tag(0, "wrong", on=False)
    assert "1 task needs no second look any more" in street.pull()
    assert street.reason(0) == ""
    assert street.images[0] not in {row["image"] for row in read_rows(street.project.tags)}


def test_the_buttons_in_the_app(page: Any, street: Street, state: Path) -> None:
    """In the browser: an image is ticked, the button pressed, a reason typed; it arrives in Label Studio."""
    page.goto(dataset_url(street.app, street.project.name, workspace=None))
    page.locator("canvas[canvas-loaded=true]").first.wait_for()
    page.locator("[data-cy=looker] input[type=checkbox]").first.dispatch_event("click")
    page.locator("[data-item-id=selected]").wait_for()
    page.locator("[data-item-id='@workflow/back/send_to_label_studio']").click()
    page.get_by_text("Send 1 image to Label Studio").wait_for()
    page.locator("input[value=relabel]").fill("two on one")
    page.get_by_role("button", name="Execute").click()
    # The page's requests go on only while it is asked for something.
    page.get_by_text("1 image tagged 'two on one'").first.wait_for(timeout=90_000)
    sent = [street.reason(n) for n in range(6)].index("two on one")
    assert "two on one" in street.document(sent)[1]["tags"]
    # It is known already, so a pull takes nothing, and the image comes back with its tag.
    assert street.pull() == []
    assert [(row["image"], row["tag"]) for row in read_rows(street.project.tags)] == [
        (street.images[sent], "two on one")
    ]
    # The other buttons, as the page sends them.
    said = street.press("compare_with", first="tuned", second="base")
    assert said == "tuned is better on 0 images, base on 4"
    assert "image left out, 1 in all" in street.press("exclude", 5, reason="blurred")
    row = next(read_rows(street.project.excluded))
    assert (row["image"], row["reason"], row["by"]) == (street.images[5], "blurred", "fiftyone")
    assert "excluded" in street.document(5)[1]["tags"]
    assert street.pull() == []
    assert dataset.run(street.project).did.endswith("1 excluded")
    assert "excluded     " in status.describe(street.project)
    assert "1 image taken back in, 0 in all" in street.press("take_back_in", 5)
    assert "excluded" not in street.document(5)[1]["tags"]

"""Live help through the real Label Studio, and for a person in a real browser: guesses, masks, pulls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import CANVAS, IMAGE, REGIONS, canvas_box, wait_until
from tests.conftest import EVERYTHING
from tests.labelstudio.test_live import click, drawn, frame, make
from tests.samples import HEIGHT, WIDTH
from workflow import models
from workflow.commands import serve
from workflow.errors import LabelStudioError
from workflow.images import decode
from workflow.labels.blind import blindness
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import connect
from workflow.labelstudio.live import connected
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.models import Options
from workflow.models.sam import Sam
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_rows, read_samples
from workflow.records import ImageRecord
from workflow.shapes import masks
from workflow.stages import preannotate, pull, push

pytestmark = [pytest.mark.services, pytest.mark.slow]
Json = dict[str, Any]
SMART = "[push]\nsmart = true\n"


@dataclass
class Helped:
    """A project on the server, pushed without guesses, with live help for who labels it."""

    project: Project
    client: Client
    number: int
    said: list[str]
    records: list[ImageRecord] = field(default_factory=list)

    def tasks(self) -> dict[str, Json]:
        found = self.client.tasks(self.number, EVERYTHING)
        return {task["data"]["image_id"]: task for task in found}

    def segment(self, record: ImageRecord, *prompt: Any) -> np.ndarray:
        """What the model says of a prompt, asked by ourselves."""
        sam = models.load("sam:tiny/sam2", self.project.folder, Options(device="cpu"))
        assert isinstance(sam, Sam)
        return sam.mask(sam.embed(decode.from_file(self.project.image_path(record.path))), *prompt)


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory, state: Path) -> Iterator[Helped]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKFLOW_STATE", str(state))
        project = make(tmp_path_factory.mktemp("helped"), SMART)
        client, served = connect(project)
        push.run(project, LabelStudio(client, served))
        number = find_project(project, client)
        assert number is not None
        said: list[str] = []
        with serve.serving(
            project, serve.Wishes(interactive="sam:tiny/sam2"), LabelStudio(client), said.append
        ):
            yield Helped(project, client, number, said, read_catalog(project.catalog))
        assert client.get("api/ml/", project=number) == []
        assert client.get("api/webhooks/", project=number) == []


def test_the_project_knows_of_one_backend_that_may_be_asked(helped: Helped) -> None:
    client, number = helped.client, helped.number
    (backend,) = client.get("api/ml/", project=number)
    assert (backend["readable_state"], backend["is_interactive"]) == ("Connected", True)
    assert backend["url"].startswith("http://127.0.0.1:")
    assert "basic_auth_pass" not in backend
    (webhook,) = client.get("api/webhooks/", project=number)
    assert sorted(webhook["actions"]) == sorted(connected.ACTIONS)
    # The label stream shows what was pushed, not what a backend is called.
    assert client.project(number)["model_version"] != connected.TITLE
    # A second one, as after a kill, takes its place.
    from workflow.labelstudio.live.credentials import credentials
    from workflow.services import state_folder

    known = credentials(state_folder(helped.project.workspace))
    connected.connect(client, number, backend["url"], known, True)
    assert [b["id"] for b in client.get("api/ml/", project=number)] == [backend["id"]]
    assert [w["id"] for w in client.get("api/webhooks/", project=number)] == [webhook["id"]]


def test_a_server_that_gets_no_answer_is_said_so(helped: Helped) -> None:
    from workflow.labelstudio.live.credentials import BackendAccess

    other = helped.client.create_project("Unanswered", "", {})["id"]
    with pytest.raises(LabelStudioError):
        connected.connect(helped.client, other, "http://127.0.0.1:9", BackendAccess("a", "b", "c"), True)
    with pytest.raises(LabelStudioError, match=r"may not call http://10\.0\.0\.1:9 -> see Live help in docs"):
        connected.connect(helped.client, other, "http://10.0.0.1:9", BackendAccess("a", "b", "c"), True)


def test_guesses_are_made_where_they_are_asked_for_and_once(helped: Helped) -> None:
    """By the table's action "Retrieve Predictions"; a later push finds its own guesses there."""
    assert not any(task["predictions"] for task in helped.tasks().values())
    action = f"api/dm/actions?id=retrieve_tasks_predictions&project={helped.number}"

    def ask() -> bool:
        helped.client.post(action, {"selectedItems": {"all": True, "excluded": []}})
        return sum(len(t["predictions"]) for t in helped.tasks().values()) == len(seen)

    preannotate.run(helped.project)
    blind = {r.id for r in helped.records if blindness(r, helped.project.settings.push)}
    samples = read_samples(preannotate.predictions_path(helped.project))
    seen = {i for i, s in samples.items() if s.annotations and i not in blind}
    assert len(seen) >= 5 and blind
    # The first answer may come before the model is loaded; what is late is delivered by itself.
    wait_until(ask, 60)
    tasks = helped.tasks()
    assert {image for image, task in tasks.items() if task["predictions"]} == seen
    for image in seen:
        (prediction,) = tasks[image]["predictions"]
        assert len(prediction["result"]) == len(samples[image].annotations)
    ask()
    assert sum(len(t["predictions"]) for t in helped.tasks().values()) == len(seen)
    done = push.run(helped.project, LabelStudio(helped.client, None))
    assert done.skipped, done.did
    assert "0 new predictions" in done.did


@pytest.mark.parametrize(
    ("context", "prompt", "label"),
    [
        ([click(25, 50)], ([(24, 36)], [True], None), "disk"),
        ([frame(25, 25, 50, 50)], ([], [], (24, 18, 72, 54)), "bar"),
    ],
    ids=["click", "frame"],
)
def test_the_server_passes_clicks_on(helped: Helped, context: Any, prompt: Any, label: str) -> None:
    record = helped.records[0]
    (backend,) = helped.client.get("api/ml/", project=helped.number)
    body = {"task": helped.tasks()[record.id]["id"], "context": {"result": context}}
    answer = helped.client.post(f"api/ml/{backend['id']}/interactive-annotating", body)
    (region,) = answer["data"]["result"]
    assert region["value"]["brushlabels"] == [label]
    assert np.array_equal(drawn(region), helped.segment(record, *prompt))


def test_what_is_submitted_is_pulled_by_itself(helped: Helped) -> None:
    record = helped.records[1]
    task = helped.tasks()[record.id]["id"]
    start = time.monotonic()
    helped.client.annotate(task, {"result": [], "lead_time": 1.0, "was_cancelled": False})
    # The hook runs within the person's request, which must not wait for the pull.
    assert time.monotonic() - start < 5
    wait_until(lambda: _states(helped.project).get(record.id) == "reviewed", 30)
    assert any(line.startswith("pull: ") for line in helped.said)


def _states(project: Project) -> dict[str, str]:
    return {row["image"]: row["state"] for row in read_rows(project.labels)}


def test_a_person_clicks_and_a_mask_appears(page: Any, person: None, helped: Helped) -> None:
    """Auto-Annotation on, a label, the key M, a click; the mask is taken, submitted, and pulled by itself."""
    record = next(r for r in helped.records if r.split == "test" and r is not helped.records[1])
    task = helped.tasks()[record.id]["id"]
    page.goto(f"{helped.client.url}/projects/{helped.number}/data?task={task}")
    page.wait_for_selector(CANVAS)
    page.wait_for_function(f"() => window.Htx?.annotationStore?.selected && {IMAGE}.imageIsLoaded")
    page.wait_for_timeout(500)
    page.evaluate(f"() => {IMAGE}.sizeToFit()")
    assert page.evaluate(REGIONS) == []
    page.get_by_text("Auto-Annotation").click()
    page.get_by_text("disk (click)", exact=True).click()
    page.keyboard.press("m")
    selected = f"() => {IMAGE}.getToolsManager().findSelectedTool()?.fullName === 'KeyPointTool-dynamic'"
    page.wait_for_function(selected)
    canvas = canvas_box(page)
    with page.expect_response(lambda r: "interactive-annotating" in r.url) as asked:
        page.mouse.click(canvas["x"] + 0.4 * canvas["width"], canvas["y"] + 0.4 * canvas["height"])
    assert asked.value.status == 200
    page.get_by_text("1 suggestions").wait_for()
    (sent,) = asked.value.request.post_data_json["context"]["result"]
    assert sent["value"]["keypointlabels"] == ["disk"]
    point = (sent["value"]["x"] / 100 * WIDTH, sent["value"]["y"] / 100 * HEIGHT)
    assert point == pytest.approx((0.4 * WIDTH, 0.4 * HEIGHT), abs=1)
    page.get_by_text("1 suggestions").locator("xpath=..").get_by_role("button").last.click()
    wait_until(lambda: [r["type"] for r in page.evaluate(REGIONS)] == ["brushlabels"])
    with page.expect_response(lambda r: r.request.method == "POST" and "/annotations" in r.url) as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.status == 201

    wait_until(lambda: _states(helped.project).get(record.id) == "reviewed", 30)
    sample = read_samples(helped.project.labels)[record.id]
    (found,) = sample.annotations
    assert (found.label, found.provenance.kind) == ("disk", "person")
    assert found.mask is not None
    wanted = helped.segment(record, [point], [True])
    assert np.array_equal(masks.decode(found.mask), wanted)
    assert pull.run(helped.project, LabelStudio(helped.client), full=True).skipped

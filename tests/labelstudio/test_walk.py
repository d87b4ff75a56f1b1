"""The steps of docs/label-studio.md, walked in a real browser: what it names is there, under that name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import CANVAS
from tests.samples import draw_project, pushed_tasks
from workflow import services, wing
from workflow.labelstudio import project as link
from workflow.labelstudio.client import Client
from workflow.stages import catalog, push

pytestmark = pytest.mark.services
GUIDE = (Path(__file__).parents[2] / "docs" / "label-studio.md").read_text()
# A page, what to press there, one after the other, and what must be there then.
WALK = [
    ("projects/", (), ("Shapes: detection",)),
    ("projects/{number}/data", (), ("Label All Tasks", "Actions")),
    ("projects/{number}/data", ("Select all rows", "4 Tasks"), ("Retrieve Predictions",)),
    ("projects/{number}/data?labeling=1", (), ("Skip", "Submit")),
    ("projects/{number}/data?task={task}", (), ("Compare All", "Submit")),
    ("projects/{number}/settings/labeling", (), ("Labeling Interface",)),
    ("projects/{number}/settings/storage", (), ("Add Source Storage",)),
    ("organization", (), ("Add Members",)),
    ("projects/", ("WO",), ("Account & Settings",)),
    ("user/account", (), ("Personal Access Token", "Legacy Token")),
]


def test_each_step_of_the_guide_is_there(
    tmp_path: Path, servers: Path, client: Client, page: Any, person: None
) -> None:
    project = draw_project(tmp_path, "detection", 4)
    catalog.run(project)
    push.run(project, wing.connect(project))
    number = link.remote(project)["project"]
    task = next(iter(pushed_tasks(project).values()))
    for path, presses, texts in WALK:
        page.goto(f"{client.url}/{path.format(number=number, task=task)}")
        for press in presses:
            named = page.get_by_label(press, exact=True).or_(page.get_by_text(press, exact=True))
            named.first.wait_for(state="attached")
            named.first.click(force=True)
        for text in texts:
            page.get_by_text(text, exact=True).first.wait_for()
    # What a task opened from the table has not.
    page.goto(f"{client.url}/projects/{number}/data?task={task}")
    page.wait_for_selector(CANVAS)
    assert page.get_by_role("button", name="Skip").count() == 0
    page.goto(f"{client.url}/projects/{number}/settings")
    page.get_by_text("Danger Zone").wait_for()
    assert page.get_by_text("Quality", exact=True).count() == 0
    for name in (
        "Label All Tasks",
        "Retrieve Predictions",
        "Add Members",
        "Compare All",
        "Add Source Storage",
    ):
        assert f"{name}**" in GUIDE


def test_what_the_guide_says_by_the_api(tmp_path: Path, servers: Path, client: Client) -> None:
    project = draw_project(tmp_path, "detection", 2)
    catalog.run(project)
    push.run(project, wing.connect(project))
    number = link.remote(project)["project"]
    task = next(iter(pushed_tasks(project).values()))
    client.annotate(task, {"result": [], "lead_time": 1.0, "was_cancelled": False})
    headers = {"Authorization": f"Token {services.label_studio_access(servers).api_key}"}

    def change(path: str, **data: Any) -> Any:
        answer = httpx.patch(f"{client.url}/api/{path}/", headers=headers, data=data, timeout=60)
        return answer.raise_for_status().json()

    assert change(f"projects/{number}", maximum_annotations=2)["maximum_annotations"] == 2
    known = httpx.get(f"{client.url}/api/tasks/{task}/", headers=headers, timeout=60).json()
    # One person has labeled it, and it waits for another.
    assert (known["overlap"], known["is_labeled"]) == (2, False)
    (annotation,) = known["annotations"]
    assert change(f"annotations/{annotation['id']}", ground_truth="true")["ground_truth"] is True

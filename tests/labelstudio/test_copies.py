"""What browsers do not show as it is, through a real Label Studio: people see a copy of the same geometry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import IMAGE, chromium, context, page, person  # noqa: F401
from tests.images.awkward import CASES, COPIED
from tests.images.test_browser import SHOWN
from tests.samples import pushed_tasks
from workflow.images import decode
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import connect
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, write_rows
from workflow.stages import catalog, preannotate, push

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::UserWarning")]
TOML = 'name = "awkward"\ntitle = "Awkward"\ntask = "detection"\nclasses = ["cat"]\n'
Pushed = tuple[Project, Client, dict[str, int]]


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory, state: Path) -> Iterator[Pushed]:
    folder = tmp_path_factory.mktemp("awkward")
    (folder / "project.toml").write_text(TOML)
    (folder / "data" / "images").mkdir(parents=True)
    for name, content in COPIED.items() | {(name, content) for name, (content, _) in CASES.items()}:
        (folder / "data" / "images" / name).write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKFLOW_STATE", str(state))
        project = load_project(folder)
        catalog.run(project)
        write_rows(preannotate.predictions_path(project), [])
        client, served = connect(project)
        push.run(project, LabelStudio(client, served))
        yield project, client, pushed_tasks(project)


def test_people_see_every_image_as_the_catalog_has_it(page: Any, person: None, pushed: Pushed) -> None:  # noqa: F811
    project, client, tasks = pushed
    page.goto(f"{client.url}/projects/")
    addresses = {
        task["data"]["image_id"]: task["data"]["image"] for task in client.tasks(find(pushed), "id,data")
    }
    records = read_catalog(project.catalog)
    assert addresses.keys() == tasks.keys() == {record.id for record in records}
    for record in records:
        found = page.evaluate(SHOWN, client.url + addresses[record.id])
        assert found is not None, record.path
        width, height, pixels = found
        assert (width, height) == (record.width, record.height), record.path
        seen = np.array(pixels, np.uint8).reshape(height, width, 4)[:, :, :3]
        given = decode.from_file(project.shown_path(record))
        assert np.abs(seen.astype(int) - given).max() <= 2, record.path


@pytest.mark.parametrize("name", ["turned.tif", "exif6.webp", "plain.jp2"])
def test_the_editor_opens_it(page: Any, person: None, pushed: Pushed, name: str) -> None:  # noqa: F811
    project, client, tasks = pushed
    record = next(r for r in read_catalog(project.catalog) if r.path == name)
    page.goto(f"{client.url}/projects/{find(pushed)}/data?task={tasks[record.id]}")
    page.wait_for_function(f"() => window.Htx?.annotationStore?.selected && {IMAGE}.imageIsLoaded")
    size = page.evaluate(f"() => [{IMAGE}.naturalWidth, {IMAGE}.naturalHeight]")
    assert size == [record.width, record.height]
    assert client.get(f"api/tasks/{tasks[record.id]}/")["data"]["file"] == name


def test_a_team_server_is_told_what_it_cannot_show(pushed: Pushed) -> None:
    project, client, _ = pushed
    toml = TOML + '[push]\nimage_url = "https://images.example/{path}"\n'
    (project.folder / "project.toml").write_text(toml)
    elsewhere = load_project(project.folder)
    count = sum(bool(r.png) for r in read_catalog(project.catalog))
    did = push.run(elsewhere, LabelStudio(client)).did
    assert f", {count} images that browsers do not show as they are: see {project.copied}" in did


def find(pushed: Pushed) -> int:
    number = find_project(pushed[0], pushed[1])
    assert number is not None
    return number

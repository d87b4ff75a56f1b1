"""What is ignored, through the real server and the real editor, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import REGIONS, canvas_box, open_guesses, wait_until
from tests.foreign import labels
from tests.labelstudio.test_exchange import ALL_TRAIN, BOX, answer, box, make, on_server, send
from tests.labelstudio.test_team import changed
from tests.samples import draw_project, pushed_tasks
from workflow.dataset import parquet
from workflow.labelstudio.client import Client
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_rows, read_samples, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.shapes import masks
from workflow.stages import catalog, dataset, preannotate, pull

pytestmark = pytest.mark.services
FAR = (50.0, 40.0, 80.0, 60.0)


def make_with_crowds(root: Path) -> Project:
    """Three images, each with a guess and with an ignored one further right."""
    project = make(root, count=3)
    path = preannotate.predictions_path(project)
    samples = read_samples(path).values()
    crowd = Annotation("disk", Provenance("model", "by hand", "1"), box=FAR, id="crowd", ignored=True)
    write_rows(path, [sample_to_row(replace(s, annotations=(*s.annotations, crowd))) for s in samples])
    return project


def pulled(project: Project, client: Client) -> str:
    return pull.run(project, LabelStudio(client)).did


def test_it_is_shown_kept_and_taken_back(tmp_path: Path, client: Client) -> None:
    project = make_with_crowds(tmp_path)
    send(project, client)
    tasks = on_server(project, client)
    for task in tasks:
        (prediction,) = task["predictions"]
        assert [r.get("meta") for r in prediction["result"]] == [None, {"text": ["ignored"]}]
    ignored = replace(box(place=FAR, name="crowd"), ignored=True)
    answer(client, tasks[0]["id"], box(), ignored)
    answer(client, tasks[1]["id"], replace(box(), ignored=True), box(place=FAR, name="crowd"))
    answer(client, tasks[2]["id"], box())
    pulled(project, client)
    by_task = {task["id"]: task["data"]["image_id"] for task in tasks}
    people = labels(project)
    files = {r.id: r.path for r in read_catalog(project.catalog)}
    marks = [[a.ignored for a in people[files[by_task[t["id"]]]].annotations] for t in tasks]
    assert marks == [[False, True], [True, False], [False]]
    # The guess that was made ignored is no error; what was ignored as a guess and is none now, was added.
    rows = {row["task"]: [a["action"] for a in row["actions"]] for row in read_rows(project.ledger)}
    assert [rows[t["id"]] for t in tasks] == [["accepted"], ["added"], ["accepted"]]


def test_what_nobody_was_shown_stays_and_what_was_shown_is_theirs_to_undo(
    tmp_path: Path, client: Client
) -> None:
    """Of two ignored objects that came by an import, one is among the guesses too."""
    project = make_with_crowds(tmp_path)
    send(project, client)
    unseen = Annotation("disk", Provenance("import", "coco"), box=(1.0, 50.0, 9.0, 60.0), ignored=True)
    seen = replace(unseen, box=FAR)
    rows = []
    for record in read_catalog(project.catalog):
        sample = replace(read_samples(preannotate.predictions_path(project))[record.id], state="reviewed")
        rows.append(sample_to_row(replace(sample, annotations=(unseen, seen))) | {"imported": "coco"})
    write_rows(project.labels, rows)
    task = on_server(project, client)[0]
    answer(client, task["id"], box())
    for _ in range(2):
        pull.run(project, LabelStudio(client), full=True)
        file = next(r.path for r in read_catalog(project.catalog) if r.id == task["data"]["image_id"])
        now = labels(project)[file].annotations
        assert [(a.box, a.ignored) for a in now] == [
            (unseen.box, True),
            (pytest.approx(BOX), False),
        ]


def open_task(page: Any, client: Client, project: Project, image: str) -> None:
    number, task = find_project(project, client), pushed_tasks(project)[image]
    open_guesses(page, f"{client.url}/projects/{number}/data?task={task}")
    page.wait_for_function("() => Htx.annotationStore.selected.objects[0].imageIsLoaded")
    page.wait_for_timeout(500)


def click(page: Any, place: tuple[float, ...]) -> None:
    """Click into the middle of a box of a 96 x 72 image."""
    canvas = canvas_box(page)
    x, y = (place[0] + place[2]) / 2 / 96, (place[1] + place[3]) / 2 / 72
    page.mouse.click(canvas["x"] + x * canvas["width"], canvas["y"] + y * canvas["height"])


def test_what_is_painted_to_be_ignored_is_void_in_the_dataset(tmp_path: Path, client: Client) -> None:
    """`ignore = ["void"]`: a label like any other to whoever paints, and no class to anything else."""
    drawn = draw_project(tmp_path, "semantic-segmentation", 2, ALL_TRAIN)
    project = changed(drawn, "classes = ", 'ignore = ["void"]\nclasses = ')
    catalog.run(project)
    layers = np.zeros((2, 72, 96), bool)
    layers[0, 10:40, 10:40], layers[1, 20:60, 30:80] = True, True
    disk, void = (
        Annotation(name, Provenance("model", "by hand", "1"), mask=masks.encode(layer), id=name, score=0.9)
        for name, layer in zip(("disk", "void"), layers, strict=True)
    )
    samples = [
        Sample(r.id, "predicted", (disk, replace(void, ignored=True))) for r in read_catalog(project.catalog)
    ]
    write_rows(preannotate.predictions_path(project), map(sample_to_row, samples))
    assert "no label" not in send(project, client)
    first, second = on_server(project, client)
    shown = [(r["value"]["brushlabels"], r.get("meta")) for r in first["predictions"][0]["result"]]
    assert shown == [(["disk"], None), (["void"], None)]
    # The one task as it is; on the other somebody paints void alone.
    answer(client, first["id"], result=first["predictions"][0]["result"])
    answer(client, second["id"], result=first["predictions"][0]["result"][1:])
    assert "2 reviewed" in pulled(project, client)
    files = {r.id: r.path for r in read_catalog(project.catalog)}
    people = labels(project)
    said = [
        [(a.label, a.ignored) for a in people[files[task["data"]["image_id"]]].annotations]
        for task in (first, second)
    ]
    assert said == [[("disk", False), ("void", True)], [("void", True)]]
    rows = {row["task"]: [a["action"] for a in row["actions"]] for row in read_rows(project.ledger)}
    assert rows == {first["id"]: ["accepted"], second["id"]: ["deleted"]}
    dataset.run(project)
    read = parquet.read(project.dataset, "train", project.settings.schema)
    taken = [{(a.label, a.ignored): masks.area(a.mask) for a in row if a.mask} for _, row in read]
    # Where they overlap, what is void counts.
    assert sorted(taken, key=len) == [{("void", True): 2000}, {("disk", False): 700, ("void", True): 2000}]


def test_people_see_it_and_set_it_in_the_editor(
    page: Any, person: None, tmp_path: Path, client: Client
) -> None:
    """Click on a region, press Alt+M, type ignored: as docs/label-studio.md says."""
    project = make_with_crowds(tmp_path)
    send(project, client)
    record = read_catalog(project.catalog)[0]
    open_task(page, client, project, record.id)
    click(page, FAR)
    page.get_by_text("ignored", exact=True).wait_for()
    page.keyboard.press("Escape")
    click(page, BOX)
    page.get_by_text("g0", exact=True).wait_for()
    page.keyboard.press("Alt+m")
    page.wait_for_function("() => document.activeElement.tagName === 'TEXTAREA'")
    page.keyboard.type("ignored")
    page.keyboard.press("Enter")
    wait_until(lambda: all(r.get("meta") == {"text": ["ignored"]} for r in page.evaluate(REGIONS)))
    with page.expect_response(lambda r: r.request.method == "POST" and "/annotations" in r.url) as sent:
        page.get_by_role("button", name="Submit").click()
    assert sent.value.status == 201
    pulled(project, client)
    assert [a.ignored for a in labels(project)[record.path].annotations] == [True, True]

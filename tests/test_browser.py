"""What a person sees, in a real headless Chromium: Label Studio, the FiftyOne App, report.html.

The tests run in the order of the file: the first two look at tasks nobody has reviewed, the third
corrects one of them by hand, and what comes after it is made from that correction.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageColor

from tests.browser import IMAGE, REGIONS, canvas_box, open_guesses, wait_until
from tests.conftest import copy_project
from tests.samples import pushed_tasks
from workflow import services
from workflow.colours import WHO
from workflow.commands import reviewer
from workflow.images.decode import from_file
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import connect
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_rows, read_samples, write_rows
from workflow.records import ImageRecord
from workflow.shown.app import dataset_url
from workflow.stages import catalog, dataset, evaluate, preannotate, pull, push, train

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.services

Json = dict[str, Any]


@dataclass
class Loop:
    """A project whose guesses are pushed, on servers that run."""

    project: Project
    client: Client
    number: int
    tasks: dict[str, int]
    records: list[ImageRecord] = field(default_factory=list)

    def record(self, guesses: int, file: str = "") -> ImageRecord:
        """The first image, not of the blind split, with so many guesses and such a file name."""
        found = read_samples(preannotate.predictions_path(self.project))
        return next(
            r
            for r in self.records
            if r.split != "test" and file in r.path and len(found[r.id].annotations) >= guesses
        )


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, envelopes: Path, state: Path) -> Iterator[Loop]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKFLOW_STATE", str(state))
        project = copy_project(tmp_path_factory.mktemp("browser"), envelopes, "seen", 24)
        catalog.run(project)
        _turn(project, next(r for r in read_catalog(project.catalog) if r.split == "train"))
        catalog.run(project)
        preannotate.run(project)
        client, served = connect(project)
        push.run(project, LabelStudio(client, served))
        number = find_project(project, client)
        assert number is not None
        yield Loop(project, client, number, pushed_tasks(project), read_catalog(project.catalog))


def _turn(project: Project, record: ImageRecord) -> None:
    """Add a copy of an image as a phone held upright stores it: on its side, with EXIF orientation 6."""
    name = f"{record.group}-turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(project.image_path(record.path)) as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(project.images / name, quality=95, exif=exif)
    truth = reviewer.truth_file(project)
    rows = list(read_rows(truth))
    same = next(row for row in rows if row["file"] == record.path)
    write_rows(truth, [*rows, same | {"file": name}])


def open_task(page: Any, loop: Loop, record: ImageRecord) -> list[Json]:
    """Open an image's task in Label Studio; the regions a person starts from."""
    open_guesses(page, f"{loop.client.url}/projects/{loop.number}/data?task={loop.tasks[record.id]}")
    page.wait_for_function(f"() => {IMAGE}.imageIsLoaded")
    page.wait_for_timeout(500)
    # Its first "fit to screen" forgets the width of the toolbar and hides 2.6 % of each edge.
    page.evaluate(f"() => {IMAGE}.sizeToFit()")
    return page.evaluate(REGIONS)


def drawn(page: Any) -> np.ndarray:
    """The pixels of the editor's image, boxes and all."""
    box = canvas_box(page)
    shot = page.screenshot(clip={k: box[k] for k in ("x", "y", "width", "height")})
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def outlined(pixels: np.ndarray, regions: list[Json], colours: dict[str, str]) -> float:
    """The share of box sides where, within 3 pixels of the place, the label's colour is seen."""
    height, width = pixels.shape[:2]
    seen = []
    for region in regions:
        v = region["value"]
        colour = np.array(ImageColor.getrgb(colours[v["rectanglelabels"][0]]))
        middle = (v["x"] + v["width"] / 2, v["y"] + v["height"] / 2)
        sides = [(v["x"], middle[1]), (v["x"] + v["width"], middle[1])]
        sides += [(middle[0], v["y"]), (middle[0], v["y"] + v["height"])]
        for x, y in sides:
            column, row = round(x / 100 * width), round(y / 100 * height)
            patch = pixels[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
            seen.append(bool((np.abs(patch - colour).max(axis=2) < 40).any()))
    return sum(seen) / len(seen)


@pytest.mark.parametrize("file", ["envelope", "turned"])
def test_a_pushed_task_shows_its_image_and_its_boxes(page, person, loop: Loop, file: str) -> None:
    record = loop.record(4, file)
    regions = open_task(page, loop, record)
    pushed = loop.client.get(f"api/tasks/{loop.tasks[record.id]}/")["predictions"][0]["result"]
    assert len(pushed) >= 4
    assert sorted(r["id"] for r in regions) == sorted(r["id"] for r in pushed)
    there = {r["id"]: r for r in regions}
    for region in pushed:
        shown = there[region["id"]]["value"]
        assert shown["rectanglelabels"] == region["value"]["rectanglelabels"]
        for side in ("x", "y", "width", "height"):
            assert shown[side] == pytest.approx(region["value"][side], abs=1e-4)
        assert there[region["id"]]["origin"] == "prediction"
    size = page.evaluate(f"() => [{IMAGE}.naturalWidth, {IMAGE}.naturalHeight]")
    assert size == [record.width, record.height]
    config = ElementTree.fromstring(loop.client.project(loop.number)["label_config"])
    colours = {label.get("value"): label.get("background") for label in config.iter("Label")}
    wait_until(lambda: outlined(drawn(page), pushed, colours) >= 0.9)
    page.evaluate("() => Htx.annotationStore.selected.regionStore.toggleVisibility()")
    wait_until(lambda: outlined(drawn(page), pushed, colours) <= 0.3)
    seen = drawn(page)
    image = Image.fromarray(from_file(loop.project.image_path(record.path)))
    expected = np.asarray(image.resize((seen.shape[1], seen.shape[0]))).astype(int)
    assert np.abs(seen - expected).mean() < 10


def test_a_correction_by_hand_comes_back_as_just_that(page, person, loop: Loop) -> None:
    """Delete one box, move one, rename one, draw one; the rest is accepted."""
    record = loop.record(4, "envelope-01")
    regions = open_task(page, loop, record)
    names = [r["value"]["rectanglelabels"][0] for r in regions]
    canvas = canvas_box(page)

    def middle(region: Json) -> tuple[float, float]:
        v = region["value"]
        x, y = v["x"] + v["width"] / 2, v["y"] + v["height"] / 2
        return canvas["x"] + x / 100 * canvas["width"], canvas["y"] + y / 100 * canvas["height"]

    def drag(x: float, y: float, to_x: float, to_y: float) -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(to_x, to_y, steps=10)
        page.mouse.up()

    page.mouse.click(*middle(regions[0]))
    page.keyboard.press("Backspace")
    wait_until(lambda: len(page.evaluate(REGIONS)) == len(regions) - 1)
    x, y = middle(regions[1])
    drag(x, y, x, y - 60)
    wait_until(lambda: page.evaluate(REGIONS)[0]["origin"] == "prediction-changed")
    page.keyboard.press("Escape")
    page.mouse.click(*middle(regions[2]))
    other = "4" if names[2] != "4" else "5"
    page.keyboard.press(other)
    wait_until(lambda: page.evaluate(REGIONS)[1]["value"]["rectanglelabels"] == [other])
    page.keyboard.press("Escape")
    page.keyboard.press("7")
    drag(canvas["x"] + 10, canvas["y"] + 10, canvas["x"] + 50, canvas["y"] + 60)
    wait_until(lambda: len(page.evaluate(REGIONS)) == len(regions))
    with page.expect_response(lambda r: r.request.method == "POST" and "/annotations" in r.url) as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.status == 201

    pull.run(loop.project, LabelStudio(loop.client))
    row = next(r for r in read_rows(loop.project.ledger) if r["image"] == record.id)
    done = Counter(a["action"] for a in row["actions"])
    accepted = len(regions) - 3
    assert done == {"deleted": 1, "moved": 1, "relabelled": 1, "added": 1, "accepted": accepted}
    did = {a["action"]: (a["was"], a["label"]) for a in row["actions"] if a["action"] != "accepted"}
    assert did == {
        "deleted": (names[0], None),
        "moved": (names[1], names[1]),
        "relabelled": (names[2], other),
        "added": (None, "7"),
    }
    assert row["lead_time"] > 0
    labels = next(r for r in read_rows(loop.project.labels) if r["image"] == record.id)
    assert labels["state"] == "reviewed"
    new = next(a["box"] for a in labels["annotations"] if a["label"] == "7" and a["box"][0] < 10)
    scale = record.width / canvas["width"]
    assert new == pytest.approx([10 * scale, 10 * scale, 50 * scale, 60 * scale], abs=1.5)


@pytest.fixture(scope="module")
def evaluated(loop: Loop) -> Loop:
    """The rest of the loop: the simulated reviewer, one epoch, and the evaluation."""
    reviewer.run(loop.project, LabelStudio(loop.client))
    pull.run(loop.project, LabelStudio(loop.client))
    dataset.run(loop.project)
    train.run(loop.project)
    evaluate.run(loop.project)
    evaluate.publish(loop.project)
    return loop


def open_evaluation(page, name: str, of: int):
    """Open one of the panel's evaluations; the heading of its matrix.

    The sidebar has groups of the same names, and the list is drawn anew while the panel loads: a click that
    met neither is made again.
    """
    from playwright.sync_api import TimeoutError as TookTooLong

    heading = page.get_by_text("Confusion Matrices", exact=True)
    for patience in (5000, 10000, 30000):
        page.get_by_text(f"{of} Model Evaluations", exact=True).wait_for()
        page.get_by_text(name, exact=True).last.click()
        try:
            heading.wait_for(timeout=patience)
        except TookTooLong:
            page.reload()
            continue
        return heading
    raise AssertionError(f"{name} did not open")


def test_the_app_opens_on_what_was_evaluated(page, evaluated: Loop, state: Path) -> None:
    """At a size one can read, without an advertisement; the matrix shows what was taken for what."""
    app = next(s.url for s in services.status(state) if s.name == "fiftyone-app")
    loaded = []
    page.on("response", lambda r: loaded.append(r.status) if "/media?" in r.url else None)
    page.goto(evaluate.app_url(evaluated.project, app))
    count = len([r for r in evaluated.records if r.split == "test"])
    page.get_by_text(f"{count} samples").wait_for()
    for run in ("eval_base", "eval_tuned"):
        page.get_by_text(run, exact=True).last.wait_for()
    truth = np.array(ImageColor.getrgb(WHO[0]))

    def tiles() -> np.ndarray:
        shot = page.screenshot(clip={"x": 300, "y": 150, "width": 480, "height": 700})
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)

    wait_until(lambda: (np.abs(tiles() - truth).max(axis=2) < 30).sum() > 300)
    assert len(loaded) >= count
    assert set(loaded) == {200}
    text = page.inner_text("body")
    assert not any(word in text for word in ("Oops", "went wrong", "not found", "No samples", "Dismiss"))
    beside = page.evaluate("() => Object.entries(localStorage).find(([k]) => k.startsWith('shownLabelA'))[1]")
    assert json.loads(beside)["ground_truth"] == []
    open_evaluation(page, "eval_base", of=2).click()
    page.locator(".js-plotly-plot .heatmaplayer").first.wait_for()
    plot = page.evaluate(
        "() => { const d = [...document.querySelectorAll('.js-plotly-plot')].map(p => p.data[0])"
        ".find(d => d.type === 'heatmap'); return [d.y, d.x, d.z].map(v => Array.from(v, w => w?.length"
        " && typeof w !== 'string' ? Array.from(w) : w)) }"
    )
    numbers = evaluate.result(evaluated.project).base
    confusion = np.array(numbers.confusion)
    place = {str(name): n for n, name in enumerate((*numbers.classes, "(none)"))}
    # The panel leaves out classes of which the model has nothing right.
    true, said = ([place[str(name)] for name in side] for side in plot[:2])
    assert {n for n in range(len(numbers.classes)) if confusion[n, n]} <= {*true} & {*said}
    assert np.array_equal(np.array(plot[2]), confusion[np.ix_(true, said)])
    assert np.array(plot[2])[:-1, :-1].sum() > np.trace(np.array(plot[2])[:-1, :-1])
    assert confusion[:-1, :-1].sum() > np.trace(confusion[:-1, :-1])
    page.goto(dataset_url(app, evaluated.project.name, view="false-positives-base"))
    page.locator("[data-cy=saved-views-selection-container]").click()
    names = page.locator("[data-cy=saved-views-selection-view]").inner_text().splitlines()
    assert {"evaluated", "false positives base", "missed tuned", "worsened tuned", "models differ"} <= {
        *names
    }
    assert any(name.startswith("base ") and " taken for " in name for name in names)


def test_the_report_opens_from_disk_and_needs_nothing(page, evaluated: Loop) -> None:
    asked, errors = [], []
    page.on("request", lambda request: asked.append(urlsplit(request.url).scheme))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(evaluate.result(evaluated.project).report.as_uri())
    page.wait_for_load_state()
    assert evaluated.project.settings.title in page.inner_text("h1")
    pictures = page.evaluate("() => [...document.images].map(i => i.complete && i.naturalWidth)")
    assert all(pictures)
    assert (asked.count("file"), set(asked) <= {"file", "data"}, errors) == (1, True, [])

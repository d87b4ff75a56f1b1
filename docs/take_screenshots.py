"""Take the README's pictures of a finished project: python docs/take_screenshots.py projects/zipcodes

Needs the project's servers to run (make up) and its loop to be finished (make demo). Writes
docs/images/label-studio.png, tasks.png and fiftyone.png; team.png where people disagree; and of the report
report.png, ledger.png and errors.png, which need no server: --report.
"""

from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from workflow import services
from workflow.labelstudio import project as link
from workflow.project.paths import Project, find_project, load_project
from workflow.project.rows import read_rows
from workflow.services import state_folder
from workflow.stages import evaluate

IMAGES = Path(__file__).parent / "images"
SIZE: Any = {"width": 1400, "height": 860}
LARGEST = 250_000
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", help="its folder, or its name under projects/")
    parser.add_argument("--report", action="store_true", help="of the report alone")
    asked = parser.parse_args()
    project = load_project(find_project(asked.project, Path.cwd()))
    if not asked.report:
        of_servers(project)
    with new_page() as page:
        page.goto(evaluate.result(project).report.as_uri())
        save("report", page.screenshot())
        save("ledger", from_heading(page, "What became of the guesses", 1000))
        save("errors", from_heading(page, "Most improved", 860))


def of_servers(project: Project) -> None:
    """What Label Studio and the App show."""
    with new_page() as page:
        save("label-studio", label_studio(page, project))
        save("tasks", tasks(page, project))
        if disputed := next(read_rows(project.disagreements), None):
            save("team", team(page, project, disputed["task"]))
    with new_page() as page:
        save("fiftyone", fiftyone(page, project))


@contextmanager
def new_page() -> Iterator[Any]:
    """A page in a browser without a memory."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as starter:
        browser = starter.chromium.launch(executable_path=path, args=FLAGS)
        yield browser.new_page(viewport=SIZE)
        browser.close()


def label_studio(page: Any, project: Project) -> bytes:
    """A task as a person first sees it: with the model's boxes."""
    access = services.label_studio_access(state_folder(project.workspace))
    page.goto(f"{access.url}/user/login/")
    page.fill("input[name=email]", access.email)
    page.fill("input[name=password]", access.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)
    page.goto(f"{access.url}/projects/{link.remote(project)['project']}/data?task={telling_task(project)}")
    page.wait_for_selector(".konvajs-content canvas")
    page.wait_for_function("() => window.Htx?.annotationStore?.predictions?.length > 0")
    page.wait_for_timeout(2000)
    # What was reviewed shows the correction first; the guess it started from is the tab beside it.
    page.evaluate("() => Htx.annotationStore.selectPrediction(Htx.annotationStore.predictions[0].id)")
    page.wait_for_timeout(1000)
    page.evaluate("() => Htx.annotationStore.selected.objects[0].sizeToFit()")
    page.wait_for_timeout(1000)
    return page.screenshot()


def tasks(page: Any, project: Project) -> bytes:
    """The table of tasks, behind the same login."""
    url = services.label_studio_access(state_folder(project.workspace)).url
    page.goto(f"{url}/projects/{link.remote(project)['project']}/data")
    page.get_by_text("Label All Tasks").wait_for()
    page.wait_for_timeout(4000)
    return page.screenshot()


def team(page: Any, project: Project, task: int) -> bytes:
    """What several people said of one image, behind the same login."""
    url = services.label_studio_access(state_folder(project.workspace)).url
    page.goto(f"{url}/projects/{link.remote(project)['project']}/data?task={task}")
    page.wait_for_selector(".konvajs-content canvas")
    page.wait_for_timeout(2000)
    page.get_by_text("Compare All").click()
    page.wait_for_timeout(3000)
    return page.screenshot()


def telling_task(project: Project) -> int:
    """The task on which people did most kinds of things, and accepted most; the lowest of equals."""

    def worth(row: dict[str, Any]) -> tuple[int, int, int]:
        actions = [a["action"] for a in row["actions"]]
        return len(set(actions)), actions.count("accepted"), -row["task"]

    return max(read_rows(project.ledger), key=worth)["task"]


def fiftyone(page: Any, project: Project) -> bytes:
    """The evaluated images, the worst first, beside what the tuned model and the base took for what."""
    app = next(s.url for s in services.status(state_folder(project.workspace)) if s.name == "fiftyone-app")
    page.goto(evaluate.app_url(project, app))
    page.get_by_text(" samples").first.wait_for()
    page.get_by_text("eval_tuned", exact=True).last.click()
    page.get_by_text("Select a comparison").click()
    page.get_by_text("eval_base", exact=True).last.click()
    page.get_by_text("Summary", exact=True).click()
    page.get_by_text("Confusion Matrices", exact=True).click()
    page.wait_for_function("() => document.querySelectorAll('.js-plotly-plot .heatmaplayer').length > 1")
    page.wait_for_timeout(8000)
    page.mouse.move(5, 5)
    page.wait_for_timeout(1000)
    return page.screenshot()


def from_heading(page: Any, words: str, height: int) -> bytes:
    """So many pixels of the report from one of its headings on, as wide as its text."""
    box = page.locator("h2, h3").filter(has_text=words).first.bounding_box()
    edges = page.locator("main").bounding_box()
    clip = {"x": edges["x"], "y": box["y"] - 20, "width": edges["width"], "height": height}
    return page.screenshot(clip=clip, full_page=True)


def save(name: str, shot: bytes) -> None:
    """Write a PNG of at most LARGEST bytes, with as many colours as that allows."""
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    IMAGES.mkdir(exist_ok=True)
    for colours in (256, 128, 64, 32):
        out = io.BytesIO()
        # Median cut, the default, gives every colour to paper and none to the thin lines of the boxes.
        few = image.quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        few.save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            break
    (IMAGES / f"{name}.png").write_bytes(out.getvalue())
    print(f"{IMAGES / name}.png: {out.tell() / 1000:.0f} kB, {colours} colours")


if __name__ == "__main__":
    main()

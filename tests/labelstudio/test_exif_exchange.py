"""Images that EXIF turns and mirrors, in all eight ways: a box lies on its thing, and comes back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.browser import IMAGE, canvas_box, open_guesses
from tests.samples import pushed_tasks
from workflow.images import decode
from workflow.labelstudio.connection import connect
from workflow.labelstudio.project import find_project
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_samples, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import catalog, preannotate, pull, push

pytestmark = [pytest.mark.services, pytest.mark.slow]
WIDTH, HEIGHT = 96, 60
# Where it lies in each image, upright: in no image's middle, and at no two edges alike.
PLACE = (8.0, 30.0, 40.0, 54.0)
RED, GRAY = (220, 40, 40), (200, 200, 200)
TRANSPOSED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
SETTINGS = """name = "turned"
title = "Turned images"
classes = ["thing"]
[split]
validation = 0
test = 0
[push]
control = 0
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A red rectangle on gray, stored so that each orientation brings it upright, with a guess on it."""
    folder = tmp_path_factory.mktemp("exif") / "projects" / "turned"
    (folder / "data" / "images").mkdir(parents=True)
    (folder / "project.toml").write_text(SETTINGS)
    for orientation, way in TRANSPOSED.items():
        # Another gray each, as equal files are one image.
        picture = Image.new("RGB", (WIDTH, HEIGHT), tuple(shade - orientation for shade in GRAY))
        x1, y1, x2, y2 = map(int, PLACE)
        ImageDraw.Draw(picture).rectangle((x1, y1, x2 - 1, y2 - 1), fill=RED)
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = picture if way is None else picture.transpose(way)
        stored.save(folder / "data" / "images" / f"{orientation}.png", exif=exif)
    project = load_project(folder)
    catalog.run(project)
    model = Provenance("model", "by hand", "1")
    found = (Annotation("thing", model, box=PLACE, score=0.5, id="g"),)
    samples = [Sample(r.id, "predicted", found) for r in read_catalog(project.catalog)]
    write_rows(preannotate.predictions_path(project), map(sample_to_row, samples))
    return project


def test_a_box_lies_on_its_thing_and_comes_back(
    page: Any, person: None, project: Project, servers: Path
) -> None:
    client, served = connect(project)
    push.run(project, LabelStudio(client, served))
    number, tasks = find_project(project, client), pushed_tasks(project)
    records = read_catalog(project.catalog)
    assert [(r.path, r.width, r.height) for r in records] == [
        (f"{orientation}.png", WIDTH, HEIGHT) for orientation in TRANSPOSED
    ]
    for record in records:
        x1, y1, x2, y2 = map(int, PLACE)
        red = (decode.from_file(project.image_path(record.path)) == RED).all(axis=2)
        assert red[y1:y2, x1:x2].all() and red.sum() == (x2 - x1) * (y2 - y1)
        open_guesses(page, f"{client.url}/projects/{number}/data?task={tasks[record.id]}")
        page.wait_for_function(f"() => {IMAGE}.imageIsLoaded")
        page.evaluate(f"() => {IMAGE}.sizeToFit()")
        page.evaluate("() => Htx.annotationStore.selected.regionStore.toggleVisibility()")
        page.wait_for_timeout(500)
        assert page.evaluate(f"() => [{IMAGE}.naturalWidth, {IMAGE}.naturalHeight]") == [WIDTH, HEIGHT]
        assert _red_on(page) == pytest.approx(PLACE, abs=1.5), record.path
    accept = {"selectedItems": {"all": True, "excluded": []}}
    client.post(f"api/dm/actions?id=predictions_to_annotations&project={number}", accept)
    pull.run(project, LabelStudio(client))
    labels = read_samples(project.labels)
    for record in records:
        (box,) = labels[record.id].annotations
        assert labels[record.id].state == "reviewed"
        assert box.box == pytest.approx(PLACE, abs=1e-6)


def _red_on(page: Any) -> tuple[float, ...]:
    """The box round what is red in the editor, in pixels of the image."""
    place = canvas_box(page)
    shot = page.screenshot(clip={key: place[key] for key in ("x", "y", "width", "height")})
    seen = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    rows, columns = np.nonzero((np.abs(seen - RED) < 60).all(axis=2))
    across, down = WIDTH / seen.shape[1], HEIGHT / seen.shape[0]
    return (
        columns.min() * across,
        rows.min() * down,
        (columns.max() + 1) * across,
        (rows.max() + 1) * down,
    )

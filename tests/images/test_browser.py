"""What people see: every kind of file in a real Chromium, beside what the models are given."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import chromium  # noqa: F401
from tests.images.awkward import CASES, COPIED
from workflow.images import decode
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog
from workflow.stages import catalog

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore::UserWarning")]
TYPES = {"jpg": "jpeg", "mpo": "jpeg", "tif": "tiff"}
# The pixels of an <img> on white, and its natural size; null where it cannot be shown.
SHOWN = """async url => {
    const image = new Image();
    image.src = url;
    try { await image.decode() } catch { return null }
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const pen = canvas.getContext('2d');
    pen.fillStyle = 'white';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.width, canvas.height, Array.from(pixels)];
}"""


def _shown(page: Any, path: Path) -> np.ndarray | None:
    kind = path.suffix[1:]
    url = f"data:image/{TYPES.get(kind, kind)};base64,{base64.b64encode(path.read_bytes()).decode()}"
    result = page.evaluate(SHOWN, url)
    if result is None:
        return None
    width, height, pixels = result
    return np.array(pixels, np.uint8).reshape(height, width, 4)[:, :, :3]


def test_people_see_what_the_catalog_says_and_the_models_are_given(tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    """Of every file, or of its copy where it has one: size and pixels."""
    (tmp_path / "project.toml").write_text('name = "pictures"\ntitle = "Pictures"\nclasses = ["a"]\n')
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    for name, content in {n: c for n, (c, _) in CASES.items()}.items() | COPIED.items():
        (folder / name).write_bytes(content)
    project = load_project(tmp_path)
    catalog.run(project)
    page = chromium.new_page()
    records = read_catalog(project.catalog)
    assert len(records) >= len(CASES) + len(COPIED) - 3
    for record in records:
        path = project.shown_path(record)
        seen, given = _shown(page, path), decode.from_file(path)
        assert seen is not None, record.path
        assert seen.shape == given.shape == (record.height, record.width, 3), record.path
        assert np.abs(seen.astype(int) - given).max() <= 2, record.path
    page.close()


def test_what_is_copied_needs_it(tmp_path: Path, chromium: Any) -> None:  # noqa: F811
    page = chromium.new_page()
    unshown = []
    for name, content in COPIED.items():
        (tmp_path / name).write_bytes(content)
        if _shown(page, tmp_path / name) is None:
            unshown.append(name)
    page.close()
    assert unshown == ["upright.tif", "turned.tif", "cmyk.tif", "plain.jp2", "deep.tif"]

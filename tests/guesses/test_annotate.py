"""What an annotator is given: the pixels people see, in batches that memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.images.awkward import CASES, COPIED
from workflow.guesses.annotate import _parts, annotate_all
from workflow.models import Guesses, Pixels
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog
from workflow.records import ImageRecord
from workflow.stages import catalog


class Looker:
    """An annotator that keeps what it is shown."""

    def __init__(self) -> None:
        self.images: list[Pixels] = []

    def annotate(self, images: Sequence[Pixels], prior: Any, classes: Sequence[str]) -> list[Guesses]:
        self.images += images
        return [()] * len(images)


def test_the_model_is_given_what_people_see(tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_text('name = "pets"\ntitle = "Pets"\nclasses = ["cat"]\n')
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    for name, content in COPIED.items() | {(name, content) for name, (content, _) in CASES.items()}:
        (folder / name).write_bytes(content)
    project = load_project(tmp_path)
    catalog.run(project)
    records = read_catalog(project.catalog)
    looker = Looker()
    parts = list(annotate_all(looker, project, records, ("cat",)))  # type: ignore[arg-type]
    assert [record for part, _ in parts for record in part] == records
    assert [image.shape for image in looker.images] == [(r.height, r.width, 3) for r in records]
    brightest = {r.path: int(np.max(i)) for r, i in zip(records, looker.images, strict=True)}
    # 4,000 and 3,000 of 4,095.
    assert (brightest["deep.png"], brightest["deep.tif"]) == (249, 187)


@pytest.mark.parametrize(
    ("sizes", "most", "counts"),
    [
        ([10] * 20, 10**9, [8, 8, 4]),
        ([10] * 5, 600, [2, 2, 1]),
        ([10, 100, 100, 10, 10], 600, [1, 1, 1, 2]),
        ([], 600, []),
    ],
)
def test_batches_are_smaller_where_images_are_large(sizes: list[int], most: int, counts: list[int]) -> None:
    """A side of 10 pixels takes 300 bytes."""
    records = [ImageRecord(str(n), f"{n}.png", side, side, "train") for n, side in enumerate(sizes)]
    parts = list(_parts(records, 8, most))
    assert [len(part) for part in parts] == counts
    assert [record for part in parts for record in part] == records

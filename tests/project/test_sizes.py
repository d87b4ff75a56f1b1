"""Lines that people edited are compared with the sizes of their images, wherever both are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.samples import draw_project
from workflow.commands import export
from workflow.errors import StageError
from workflow.labels.files import LabelFiles
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_catalog, read_samples, write_rows
from workflow.stages import catalog, dataset

IMAGE = "its image, which is 96 x 72 in catalog.jsonl"
GOOD: list[dict[str, Any]] = [
    {"box": [0, 0, 96, 72]},
    {"box": [-0.04, 0, 96.04, 72]},
    {"rotated_box": {"cx": 95, "cy": 70, "width": 20, "height": 9, "angle": 30}},
    {"mask": {"height": 72, "width": 96, "counts": "0`f6"}},
    {},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"box": [0, 0, 97, 72]}, f"annotations.0.box leaves {IMAGE}"),
    ({"box": [-1, 0, 9, 9]}, f"annotations.0.box leaves {IMAGE}"),
    (
        {"polygons": [[[0, 0], [9, 0], [9, 9]], [[0, 0], [9, 0], [9, 90]]]},
        f"annotations.0.polygons.1 leaves {IMAGE}",
    ),
    ({"keypoints": [[96.2, 5]]}, f"annotations.0.keypoints leaves {IMAGE}"),
    (
        {"mask": {"height": 96, "width": 72, "counts": "0`f6"}},
        f"annotations.0.mask is 72 x 96, not as {IMAGE}",
    ),
]


def make(root: Path, shapes: list[dict[str, Any]]) -> Project:
    project = draw_project(root, "detection", 2)
    catalog.run(project)
    first, second = read_catalog(project.catalog)
    me = {"kind": "person", "name": "1"}
    annotations = [{"label": "disk", "provenance": me, **shape} for shape in shapes]
    for path in (project.labels, project.data / "predictions" / "theirs.jsonl"):
        path.parent.mkdir(exist_ok=True)
        rows = [
            {"image": first.id, "state": "reviewed", "annotations": []},
            {"image": second.id, "state": "reviewed", "annotations": annotations},
        ]
        write_rows(path, rows)
    return project


DOORS: dict[str, Callable[[Project], Any]] = {
    "dataset": lambda project: dataset.run(project),
    "export": lambda project: export.run(project, "voc", project.folder / "out"),
    "pull": lambda project: LabelFiles(project, {r.id: r for r in read_catalog(project.catalog)}),
}


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize(("shape", "problem"), BAD)
def test_what_does_not_fit_its_image_is_named(
    tmp_path: Path, shape: dict[str, Any], problem: str, door: str
) -> None:
    project = make(tmp_path, [shape])
    with pytest.raises(StageError) as error:
        DOORS[door](project)
    assert error.value.problem == f"{project.labels}:2: {problem}"


def test_predictions_are_compared_too(tmp_path: Path) -> None:
    project = make(tmp_path, [BAD[0][0]])
    path = project.data / "predictions" / "theirs.jsonl"
    with pytest.raises(StageError, match=r"theirs.jsonl:2: annotations.0.box leaves"):
        export.run(project, "voc", tmp_path / "out", predictions="theirs")
    with pytest.raises(StageError, match=r"theirs.jsonl:2: annotations.0.box leaves"):
        RowFile(path, records=read_catalog(project.catalog))


def test_what_fits_is_read_and_so_is_what_no_catalog_knows(tmp_path: Path) -> None:
    project = make(tmp_path, GOOD)
    records = read_catalog(project.catalog)
    assert len(read_samples(project.labels, records)[records[1].id].annotations) == len(GOOD)
    make(tmp_path / "other", [BAD[0][0]])
    assert len(read_samples(project.labels, [])) == 2

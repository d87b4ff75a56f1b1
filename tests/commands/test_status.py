"""What status says: a stage after one that is not done is not done itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.foreign import review_by_truth
from tests.samples import draw_project
from workflow.commands import status
from workflow.stages import STAGES, catalog, dataset


def test_what_comes_after_a_stale_stage_is_stale(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "detection")
    assert set(status.stage_states(project).values()) == {"missing"}
    catalog.run(project)
    review_by_truth(project)
    dataset.run(project)
    states = status.stage_states(project)
    assert list(states) == list(STAGES)
    assert (states["catalog"], states["pull"], states["dataset"]) == ("done", "done", "done")
    first = min(project.images.iterdir())
    shutil.copy(first, first.with_stem("another"))
    states = status.stage_states(project)
    # The labels are as they were, and yet the dataset may lack an image.
    assert (states["catalog"], states["dataset"]) == ("stale", "stale")
    assert "dataset      stale    catalog is stale; before: " in status.describe(project)

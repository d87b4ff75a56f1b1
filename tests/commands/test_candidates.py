"""Any models on the same labeled images: ranked, each with its interval, and whether the best is better."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.test_evaluate import expected, make_project
from workflow.alike.leakage import in_words
from workflow.commands import candidates
from workflow.errors import ConfigError, ModelError, StageError
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_json, sample_to_row, write_rows
from workflow.records import Sample
from workflow.stages import train


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = make_project(tmp_path_factory.mktemp("candidates"), "detection")
    nothing = (sample_to_row(Sample(r.id, "predicted")) for r in read_catalog(project.catalog))
    write_rows(project.data / "predictions" / "nothing.jsonl", nothing)
    return project


def test_models_are_ranked_and_compared_with_the_best(project: Project) -> None:
    run = f"run:{train.latest(project)}"
    ranked = candidates.run(project, ["nothing", "own:base.py", run], device="cpu")
    assert [c.model for c in ranked] == [run, "own:base.py", "nothing"]
    assert [c.numbers for c in ranked[:2]] == [expected(project, side) for side in ("tuned", "base")]
    assert ranked[2].score.value == 0.0 and ranked[0].change is None
    for candidate in ranked:
        assert candidate.score.value == pytest.approx(candidate.numbers.score, abs=1e-12)
    change = ranked[2].change
    # Four test images: however clear it looks, draws of so few do not tell.
    assert change is not None and change.verdict == "cannot be told"
    assert change.difference.value == pytest.approx(-(ranked[0].numbers.score or 0), abs=1e-12)
    card = read_json(project.data / "evaluations" / "test.json")
    assert card is not None and [row["model"] for row in card["models"]] == [c.model for c in ranked]
    assert card["against_the_best"].keys() == {"own:base.py", "nothing"}
    text = candidates.describe(project, ranked, "test")
    assert in_words(card["leakage"]) in text
    images = ranked[0].numbers.images
    assert text.startswith(f"mAP50-95 on {images} test images, with the interval of 95 %\n")
    assert f"cannot be told with {images} images" in text


def test_a_model_is_asked_once(project: Project) -> None:
    first = candidates.run(project, ["own:base.py", "nothing"], device="cpu")
    model = project.folder / "base.py"
    text = model.read_text()
    kept = sorted((project.data / "evaluations" / "answers").rglob("*.jsonl"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert candidates.run(project, ["own:base.py", "nothing"], device="cpu") == first
    assert [path.stat().st_mtime_ns for path in kept] == times
    # Another checkpoint of the same name is another model.
    model.write_text(text + "# changed\n")
    try:
        candidates.run(project, ["own:base.py"], device="cpu")
    finally:
        model.write_text(text)
    assert len(sorted((project.data / "evaluations" / "answers").rglob("*.jsonl"))) == len(kept) + 1


def test_training_images_may_be_asked_and_are_called_so(project: Project) -> None:
    ranked = candidates.run(project, ["own:base.py"], "train", device="cpu")
    assert "these are training images" in candidates.describe(project, ranked, "train")


def test_refusals(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is named twice"):
        candidates.run(project, ["nothing", "nothing"])
    with pytest.raises(ConfigError, match="no split 'holdout' -> one of: train, validation, test"):
        candidates.run(project, ["nothing"], "holdout")
    with pytest.raises(ModelError, match="no family 'yolo12n'"):
        candidates.run(project, ["yolo12n"], device="cpu")
    with pytest.raises(StageError):
        candidates.run(make_empty(tmp_path), ["nothing"])


def make_empty(root: Path) -> Project:
    """A project whose dataset was not built."""
    import shutil

    project = make_project(root, "detection")
    shutil.rmtree(project.dataset)
    return project

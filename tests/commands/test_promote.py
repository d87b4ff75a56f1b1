"""A run becomes the pre-annotator where it is not worse and costs people no more; each promotion is kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.stages.test_evaluate import expected, make_project
from workflow.cli import app
from workflow.commands import promote, status
from workflow.commands.promote import SIMULATED, Trial
from workflow.errors import ConfigError, ModelError, StageError
from workflow.metrics.compare import Change
from workflow.metrics.resampling import Interval
from workflow.project import promoted
from workflow.project.paths import Project, load_project
from workflow.project.promoted import preannotators
from workflow.project.rows import read_rows
from workflow.stages import evaluate, preannotate, train


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that is better than its base, and `same`, a run that is the base."""
    folder = make_project(tmp_path_factory.mktemp("promote"), "detection").folder
    toml = folder / "project.toml"
    text = toml.read_text().replace('model = "own:base.py"', 'model = "promoted"\nbase = "own:base.py"')
    toml.write_text(text)
    project = load_project(folder)
    same = project.runs / "same"
    shutil.copytree(project.runs / train.latest(project), same)
    shutil.copy(folder / "base.py", same / "model.py")
    return folder


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Project:
    folder = tmp_path / "projects" / "drawn"
    shutil.copytree(built, folder)
    return load_project(folder)


def test_a_better_run_guesses_next_and_the_one_before_can_come_back(project: Project) -> None:
    run = f"run:{train.latest(project)}"
    assert preannotators(project) == ("own:base.py",)
    assert preannotate.who(project) == ["own:base.py, preannotate.base: nothing is promoted yet"]
    evaluate.run(project, device="cpu")
    outcome = promote.run(project, device="cpu")
    assert outcome.did == f"{run} is the pre-annotator now"
    before, after = expected(project, "base"), expected(project, "tuned")
    assert outcome.lines[0] == f"own:base.py -> {run}, on {after.images} test images"
    assert outcome.lines[1].startswith(f"mAP50-95 {before.score:.3f} -> {after.score:.3f}, difference +")
    assert SIMULATED in outcome.lines[2] and len(outcome.lines) == 4
    assert outcome.lines[3].startswith("leak: ")
    (row,) = read_rows(project.promotions)
    assert (row["model"], row["before"], row["forced"]) == (run, ["own:base.py"], False)
    figures = row["figures"]
    assert figures["score"]["after"]["value"] == pytest.approx(after.score, abs=1e-12)
    seconds = figures["simulated_seconds_an_image"]
    assert seconds["after"]["value"] < seconds["before"]["value"]
    assert seconds["difference"]["high"] <= 0
    # Everything follows: who guesses, what status says; and nothing else is to be done anew.
    assert preannotators(project) == (run,)
    assert preannotate.run(project, device="cpu").lines[0] == promoted.in_words(row)
    assert preannotate.predictions_path(project).name.startswith("run-drawn-")
    assert f"  guesses      {promoted.in_words(row)}" in status.describe(project)
    assert f"run:{train.latest(project)}" == run and evaluate.run(project, device="cpu").skipped
    assert promote.run(project, device="cpu").skipped
    assert promote.back(project).did == f"own:base.py is the pre-annotator again, no longer {run}"
    assert preannotators(project) == ("own:base.py",)
    with pytest.raises(StageError, match="nothing is promoted, so there is nobody to go back to"):
        promote.back(project)
    assert len(list(read_rows(project.promotions))) == 2


def test_a_worse_run_is_refused_in_figures_unless_forced(project: Project) -> None:
    run = f"run:{train.latest(project)}"
    promote.run(project, device="cpu")
    refused = CliRunner().invoke(app, ["promote", str(project.folder), "same", "--device", "cpu"])
    assert refused.exit_code == 1
    told = str(refused.exception)
    assert told.startswith("run:same is not promoted: mAP50-95 may be worse: the interval's lower end -")
    assert f"it costs people more: {_seconds(project)[1]:.2f} s an image" in told
    assert told.endswith("-> label more and train again, or --force")
    outcome = promote.run(project, "same", device="cpu", refuse=False)
    assert outcome.skipped and outcome.did in told
    assert preannotators(project) == (run,)
    forced = promote.run(project, "run:same", force=True, device="cpu")
    assert forced.did == "run:same is the pre-annotator now, forced"
    row = list(read_rows(project.promotions))[-1]
    assert row["forced"] and len(row["against"]) == 2
    assert preannotate.who(project)[0].startswith(f"run:same, promoted on {row['at'][:10]}, forced: mAP50-95")
    # To who was there before, and on to who was there before that.
    promote.back(project)
    assert preannotators(project) == (run,)
    promote.back(project)
    assert preannotators(project) == ("own:base.py",)


def _seconds(project: Project) -> tuple[float, float]:
    """The seconds an image with the run and with the base, as the promotion of the run has them."""
    (row,) = read_rows(project.promotions)
    seconds = row["figures"]["simulated_seconds_an_image"]
    return seconds["after"]["value"], seconds["before"]["value"]


def test_a_promoted_run_that_changed_is_noticed(project: Project) -> None:
    promote.run(project, device="cpu")
    name = train.latest(project)
    model = project.runs / name / "model.py"
    model.write_text(model.read_text() + "# changed\n")
    what = f"run:{name}, promoted on .*, is not the model that it was: .* -> workflow promote drawn --back"
    for use in (preannotate.run, preannotate.who):
        with pytest.raises(StageError, match=what):
            use(project)
    assert "is not the model that it was" in status.describe(project)
    # Promoted once more it is compared with who guessed before it.
    assert promote.run(project, device="cpu").lines[0].startswith("own:base.py -> ")
    assert preannotators(project) == (f"run:{name}",)
    shutil.rmtree(project.runs / name)
    with pytest.raises(StageError, match="is gone"):
        preannotators(project)
    promote.back(project)
    promote.back(project)
    assert preannotators(project) == ("own:base.py",)


def test_refusals(project: Project) -> None:
    for name in ("other", "../runs"):
        with pytest.raises(ModelError, match=f"no finished run '{name}'"):
            promote.run(project, name)
    with pytest.raises(ConfigError, match="--back goes to the one before"):
        CliRunner().invoke(app, ["promote", "drawn", "--back", "--force"], catch_exceptions=False)
    toml = project.folder / "project.toml"
    text = toml.read_text()
    toml.write_text(text + '[evaluate]\nsplit = "train"\n')
    with pytest.raises(ConfigError, match="evaluate.split is train"):
        promote.run(load_project(project.folder), device="cpu")
    toml.write_text(text.replace('base = "own:base.py"\ntrust', 'base = "promoted"\ntrust'))
    with pytest.raises(ConfigError, match="'promoted' stands alone"):
        load_project(project.folder)


def test_what_was_asked_already_is_not_asked_again_and_says_the_same(project: Project) -> None:
    run = train.latest(project)
    asked = promote.compared(project, ("own:base.py",), run, "cpu")
    answers = sorted((project.data / "evaluations").rglob("*.jsonl"))
    assert len(answers) == 4
    shutil.rmtree(project.data / "evaluations")
    evaluate.run(project, device="cpu")
    preannotate.run(project, device="cpu")
    assert promote.compared(project, ("own:base.py",), run, "cpu") == asked
    assert len(list((project.data / "evaluations").rglob("*.jsonl"))) == 1
    # The settings may name whom they named before, as the base: that is no other model.
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace('model = "promoted"\nbase', "model"))
    assert preannotate.run(load_project(project.folder)).skipped
    assert evaluate.run(load_project(project.folder)).skipped


def test_where_the_settings_name_a_model_that_is_said(project: Project) -> None:
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace('model = "promoted"\nbase', "model"))
    named = load_project(project.folder)
    line = 'preannotate does not follow it -> [preannotate] model = "promoted", base = "own:base.py"'
    assert promote.run(named, device="cpu").lines[-1] == line
    assert preannotators(named) == ("own:base.py",) and preannotate.who(named) == []


ZERO = Interval(0.5, 0.4, 0.6)
SAME = Change(ZERO, ZERO, Interval(0.0, -0.01, 0.01), 0.5, "cannot be told", 50)


@pytest.mark.parametrize(
    ("low", "margin", "seconds", "why"),
    [
        (-0.01, -0.02, (9.0, 9.0), []),
        (-0.02, -0.02, (9.0, 8.0), ["mAP may be worse: the interval's lower end -0.020 is not above -0.02"]),
        (-0.01, 0.0, (9.0, 9.0), ["mAP may be worse: the interval's lower end -0.010 is not above +0"]),
        (None, -0.02, (9.0, 9.0), ["mAP may be worse: the interval's lower end unknown is not above -0.02"]),
        (0.2, 0.0, (9, 9.5), [f"it costs people more: 9.50 s an image instead of 9.00 ({SIMULATED})"]),
    ],
)
def test_the_rule(low: float | None, margin: float, seconds: tuple[float, float], why: list[str]) -> None:
    change = replace(SAME, difference=Interval(0.0, low, 0.3))
    was, now = (Interval(value, value, value) for value in seconds)
    trial = Trial(("coco",), "run:a", "mAP", "test", change, (was, now, now), margin, {})
    assert trial.against() == why

"""Evaluation of every task: before and after in numbers, in a report and in the App, and no before at all."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest

from tests.ledger_rows import action, row
from tests.scenes import scene
from workflow import __version__, services
from workflow.alike.leakage import in_words
from workflow.metrics import from_json, measure
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_json, read_samples, sample_to_row, write_json, write_rows
from workflow.records import Sample
from workflow.schema import Schema
from workflow.stages import catalog, dataset, evaluate, train
from workflow.tasks import TASKS

# A model in a Python file of the project that says what a drawn scene has it say.
MODEL = """
import numpy as np
from tests.scenes import scene

class Model:
    task = "{task}"
    {names}

    def __init__(self, options):
        drawn = scene(self.task)
        self.said = {{np.asarray(p).tobytes(): drawn.{side}[n] for n, p in drawn.images.items()}}

    def annotate(self, images, prior, classes):
        return [self.said[image.tobytes()] for image in images]
"""
SETTINGS = """
name = "drawn"
title = "Drawn scenes"
task = "{task}"
classes = ["disc", "square", "star"]
{points}
[preannotate]
model = "own:{guess}.py"
trust = true
[train]
base = "own:{base}.py"
[split]
validation = 0.1
test = 0.6
"""


def make_project(root: Path, task: str, base: str = "base", guess: str = "base") -> Project:
    """A reviewed and built scene, and a finished run; `foreign` is a model of other classes."""
    drawn = scene(task)
    folder = root / "projects" / "drawn"
    (folder / "data" / "images").mkdir(parents=True)
    for name, picture in drawn.images.items():
        picture.save(folder / "data" / "images" / f"{name}.png")
    points = 'keypoints = ["left", "right"]' if task == "keypoints" else ""
    text = SETTINGS.format(task=task, points=points, base=base, guess=guess)
    (folder / "project.toml").write_text(text)
    (folder / "base.py").write_text(MODEL.format(task=task, side="base", names=""))
    (folder / "foreign.py").write_text(MODEL.format(task=task, side="base", names='names = ("zebra",)'))
    project = load_project(folder)
    catalog.run(project)
    truth = ((r.id, drawn.truth[Path(r.path).stem]) for r in read_catalog(project.catalog))
    write_rows(project.labels, [sample_to_row(Sample(i, "reviewed", tuple(found))) for i, found in truth])
    dataset.run(project)
    run = train.run_folder(project, train.plan(project))
    run.mkdir(parents=True)
    (run / "model.py").write_text(MODEL.format(task=task, side="tuned", names=""))
    card = {"family": "own", "checkpoint": "model.py", "metric": "accuracy", "device": "cpu", "workflow": "0"}
    card |= {"base": {"spec": "own:base.py", "digest": "0"}, "settings": {}}
    card |= {"curves": [{"epoch": 1, "loss": 1.0, "score": 0.5}], "dataset": dataset.version(project)}
    write_json(run / "run.json", card)
    return project


def expected(project: Project, side: str):
    """What a scene's model is worth on the test images."""
    drawn = scene(project.settings.task)
    tested = {r.id: Path(r.path).stem for r in read_catalog(project.catalog) if r.split == "test"}
    assert 2 < len(tested) < 8
    truth, said = (
        {i: labels[name] for i, name in tested.items()} for labels in (drawn.truth, getattr(drawn, side))
    )
    sizes = {i: drawn.sizes[name] for i, name in tested.items()}
    return measure(Schema.of(drawn.task, drawn.classes, drawn.keypoints), sizes, truth, said)


@pytest.mark.parametrize("task", TASKS)
def test_before_and_after_of_every_task(tmp_path, task):
    project = make_project(tmp_path, task)
    outcome = evaluate.run(project, device="cpu")
    found = evaluate.result(project)
    before, after = expected(project, "base"), expected(project, "tuned")
    assert (found.base, found.tuned) == (before, after)
    line = after.headlines[0]
    assert f"{line.name} {before.headlines[0].value:.3f} -> {line.value:.3f}" in outcome.did
    card = read_json(found.report.parent / "metrics.json")
    assert (card["task"], card["before"], card["no_before"]) == (task, "own:base.py", "")
    assert from_json(card["tuned"]) == after
    report = found.report.read_text()
    intervals = card["intervals"]["tuned"]
    key = next(line.key for line in after.headlines if line.name == after.metric)
    assert intervals[key] == card["score"]
    for known in intervals.values():
        assert f"95 %: {known['low']:.3f} to {known['high']:.3f}</div>" in report
    assert f"{after.score:.3f}" in report
    assert report.count("data:image/jpeg") >= 2
    said = read_samples(found.report.parent / "predictions" / "tuned.jsonl")
    assert len(said) == after.images
    summary = evaluate.summary_of(after)
    assert (summary["metric"], summary["score"]) == (after.metric, after.score)
    assert set(summary["per_class"]) == {"disc", "square", "star"}
    # Nobody reviewed these labels, so nobody took any time.
    assert "<h2>Who labeled</h2>" in report
    assert "images whose labels name no source.</li>" in report
    assert "Review took" not in report
    # What is drawn on plain ground looks alike to the hash, or says too little to be compared.
    leak = card["leakage"]
    assert leak["split"] == "test" and leak["images"] == after.images and leak["unmeasured"] == 0
    (line,) = outcome.lines
    assert line == in_words(leak) and line[1:] in report
    again = evaluate.run(project, device="cpu")
    assert again.skipped and again.lines == outcome.lines


def test_what_a_program_reviewed_is_no_work_of_people_s_in_the_report(tmp_path):
    project = make_project(tmp_path, "classification")
    guessed = [row(n, action("accepted", "disc", score=0.5), lead_time=2.0) for n in range(12)]
    blind = [row(20 + n, action("added", "disc"), blind=True, lead_time=7.0) for n in range(12)]
    # Here the model guessed nothing.
    write_rows(project.ledger, [*guessed, *blind, row(50, action("added", "star"))])
    evaluate.run(project, device="cpu")
    told = evaluate.result(project).report.read_text()
    assert "<h2>What people did</h2>" in told
    assert "Review took 24 s, where giving the same labels from nothing" in told
    # What nobody measured is the cost model's, and is called so.
    assert re.search(r"would have taken [^:]* by the cost model: ", told)
    assert "<h3>Seconds an image</h3>" in told
    assert "12 images with guesses, 12 pushed blind" in told
    assert "p &lt; 0.001 by Mann" in told
    assert "imulated" not in told
    write_rows(project.simulated, [{"image": f"image-{n:04}", "task": n} for n in range(60)])
    assert not evaluate.run(project, device="cpu").skipped
    told = evaluate.result(project).report.read_text()
    assert "<h2>What the simulated reviewer did</h2>" in told
    assert "Simulated review, its seconds by the cost model: 24 s, where giving the same labels" in told
    assert "<h3>Seconds an image (simulated)</h3>" in told
    assert "<h3>What guesses became (simulated)</h3>" in told
    assert "A cost model made the simulated times, so nothing is tested" in told
    assert "12 images with guesses, 12 pushed blind" in told
    for of_people in (
        "What people did",
        "Review took",
        "Mann",
        "p &lt;",
        "labelled by people",
        "labels people",
    ):
        assert of_people not in told
    write_rows(project.simulated, [{"image": f"image-{n:04}", "task": n} for n in range(5)])
    evaluate.run(project, device="cpu")
    told = evaluate.result(project).report.read_text()
    assert "<h2>What people did (decisions: 5 of 25 simulated)</h2>" in told
    assert "Review took 24 s (decisions: 5 of 25 simulated), where" in told
    assert "<h3>Seconds an image (5 of 24 simulated)</h3>" in told
    assert "Mann" not in told


def test_what_each_run_was_worth_is_a_curve_over_rounds(tmp_path):
    project = make_project(tmp_path, "classification")
    run = train.run_folder(project, train.plan(project))
    card = read_json(run / "run.json")
    write_json(run / "run.json", card | {"images": {"train": 9}, "environment": {"python": "3.9.0"}})
    evaluate.run(project, device="cpu")
    numbers = read_json(run / "metrics.json")
    # One run is no curve.
    report = (run / "report.html").read_text()
    assert "<h2>Round by round</h2>" not in report
    assert "<td>3.9.0</td><td>" in report
    versions = numbers["environment"]
    assert (versions["workflow"], versions["system"]) == (
        __version__,
        f"{platform.system()} {platform.machine()}",
    )
    assert platform.node() not in str(versions)
    # An older run, one on other test images, one of another metric, one that is not evaluated, one damaged.
    for name, learned, changed in (
        ("older", 4, {}),
        ("others", 6, {"tested": "0", "score": None}),
        ("foreign", 7, {"tuned": expected_json("multilabel-classification")}),
        ("unmeasured", 8, None),
        ("damaged", 8, {"tuned": {"task": "classification"}}),
    ):
        folder = project.runs / name
        shutil.copytree(run, folder)
        write_json(folder / "run.json", card | {"images": {"train": learned}, "curves": []})
        if changed is None:
            (folder / "metrics.json").unlink()
        else:
            write_json(folder / "metrics.json", numbers | changed)
    evaluate.run(project, device="cpu", force=True)
    report = (run / "report.html").read_text()
    (section,) = re.findall(r"<h2>Round by round</h2>.*?</section>", report, flags=re.DOTALL)
    rows = re.findall(r"<tr><th [^>]*>(.*?)</th>" + r"<td>(.*?)</td>" * 4, section)
    tested, score = numbers["tuned"]["images"], numbers["score"]
    between = spread(score)
    before = numbers["comparison"]["score"]["before"]
    assert rows == [
        ("before: own:base.py", "0", str(tested), f"{before['value']:.3f}", spread(before)),
        ("older", "4", str(tested), f"{score['value']:.3f}", between),
        ("others", "6", f"{tested} (others)", f"{score['value']:.3f}", "–"),
        (run.name, "9", str(tested), f"{score['value']:.3f}", between),
    ]
    assert "Hollow points were measured on other test images" in section


def spread(interval: dict) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}"


def expected_json(task: str) -> dict:
    drawn = scene(task)
    schema = Schema.of(task, drawn.classes, drawn.keypoints)
    return measure(schema, drawn.sizes, drawn.truth, drawn.tuned).to_json()


WHY = "model 'own:foreign.py': none of its classes (zebra, ...) is one of the project's"


def test_a_base_of_other_classes_gives_way_to_the_preannotators(tmp_path):
    project = make_project(tmp_path, "classification", base="foreign")
    evaluate.run(project, device="cpu")
    found = evaluate.result(project)
    assert found.base == expected(project, "base")
    assert read_json(found.report.parent / "metrics.json")["before"] == "own:base.py"


def test_without_any_model_before_the_report_says_why(tmp_path):
    project = make_project(tmp_path, "classification", base="foreign", guess="foreign")
    outcome = evaluate.run(project, device="cpu")
    found = evaluate.result(project)
    after = expected(project, "tuned")
    assert (found.base, found.tuned) == (None, after)
    assert f"accuracy {after.accuracy:.3f}" in outcome.did
    assert outcome.did.endswith(f"; no model before to compare with: {WHY}")
    report = found.report.read_text()
    assert f'The model reaches an <span class="nobreak">accuracy</span> of {after.accuracy:.3f}' in report
    assert "no model before to compare with: model &#39;own:foreign.py&#39;" in report
    assert sorted(p.name for p in (found.report.parent / "predictions").iterdir()) == ["tuned.jsonl"]


def published(state: Path, root: Path) -> dict:
    """In a process of its own, because one process speaks with one database for life."""
    import os

    os.environ["WORKFLOW_STATE"] = str(state)
    project = make_project(root, "semantic-segmentation")
    evaluate.run(project, device="cpu")
    outcomes = [evaluate.publish(project), evaluate.publish(project)]
    import fiftyone as fo

    from workflow.commands import candidates

    shown = fo.load_dataset("drawn")
    first = shown.list_evaluations()
    candidates.run(project, ["own:base.py", f"run:{train.latest(project)}"], device="cpu")
    outcomes.append(evaluate.publish(project))
    shown = fo.load_dataset("drawn", reload=True)
    return {
        "first": first,
        "did": outcomes[0].did,
        "skipped": [o.skipped for o in outcomes],
        "runs": shown.list_evaluations(),
        "miou": shown.load_evaluation_results("eval_tuned").metrics()["miou"],
        "files": {Path(p).is_file() for p in shown.values("tuned.mask_path")},
        "score": evaluate.result(project).tuned.score,
    }


def unpublished(root: Path) -> tuple[str, bool]:
    """The same where no database answers."""
    import os

    os.environ["WORKFLOW_STATE"] = str(root / "state")
    os.environ["FIFTYONE_DATABASE_URI"] = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=500"
    project = make_project(root, "semantic-segmentation")
    evaluate.run(project, device="cpu")
    outcome = evaluate.publish(project)
    return outcome.did, outcome.skipped and evaluate.result(project).report.exists()


def test_without_the_apps_database_the_numbers_are_kept(tmp_path):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        did, kept = pool.submit(unpublished, tmp_path).result(timeout=120)
    assert did.startswith("not shown in FiftyOne (FiftyOne's database failed: ")
    assert did.endswith("; the numbers are kept -> make up")
    assert "\n" not in did and kept


@pytest.mark.services
def test_the_app_shows_what_is_painted(state, tmp_path):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    assert services.fiftyone_environment(state)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        got = pool.submit(published, state, tmp_path).result(timeout=300)
    assert got["did"] == "8 images with truth, base and tuned in the FiftyOne dataset 'drawn'"
    assert got["skipped"] == [False, True, False]
    assert got["first"] == ["eval_base", "eval_tuned"]
    # what `evaluate --models` was told of comes between, but for the run itself
    assert got["runs"] == ["eval_base", "eval_own_base_py", "eval_tuned"]
    assert got["miou"] == pytest.approx(got["score"], abs=1e-12)
    assert got["files"] == {True}

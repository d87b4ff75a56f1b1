"""Every task through every stage, with the real servers and a tiny model of random weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.samples import CLASSES, HEIGHT, KEYPOINTS, UNREADABLE, WIDTH, draw_project
from tests.tiny import CASES, DIGITS
from workflow import metrics, models
from workflow.commands import reviewer, status
from workflow.dataset import parquet
from workflow.labels.duplicates import collapse
from workflow.labelstudio import regions
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.tool import LabelStudio
from workflow.models import Options
from workflow.project.paths import Project, load_project
from workflow.project.rows import annotation_from_row, read_catalog, read_json, read_rows, read_samples
from workflow.records import SPLITS, Annotation
from workflow.stages import catalog, dataset, evaluate, preannotate, pull, push, train
from workflow.tasks import TASKS, TaskName

pytestmark = [pytest.mark.services, pytest.mark.slow]
COUNT = 16
# Of 16 images: 9 train, 3 validate, 4 test; the empty one tests, the turned and the unreadable one train.
SPLIT = '[split]\ngroup = "(shapes-\\\\d+)"\nvalidation = 0.2\ntest = 0.25\nsalt = "19"\n'
# The tiny models know ten digits; what those mean here.
MAP = "[preannotate.class_map]\n" + "".join(f'{d} = "{CLASSES[int(d) % 3]}"\n' for d in DIGITS)


@dataclass(frozen=True)
class Loop:
    """A tiny model, and by which method it learns: one a task, so that each method and trainer is used."""

    task: TaskName
    case: str
    method: str
    threshold: float


LOOPS = (
    Loop("classification", "classifier:tiny/vit", "lora", 0.0),
    Loop("multilabel-classification", "classifier:tiny/dinov2", "head", 0.5),
    Loop("detection", "detr:tiny/rtdetr-v2", "lora", 0.1),
    Loop("oriented-detection", "ultralytics:tiny/yolo11-obb.pt", "full", 0.1),
    Loop("keypoints", "ultralytics:tiny/yolo11-pose.pt", "head", 0.1),
    Loop("instance-segmentation", "ultralytics:tiny/yolo11-seg.pt", "full", 0.1),
    Loop("semantic-segmentation", "semantic:tiny/segformer", "full", 0.0),
)


def test_every_task_has_a_loop() -> None:
    assert {loop.task for loop in LOOPS} == set(TASKS)


def _project(loop: Loop, root: Path) -> Project:
    case = CASES[loop.case]
    family, _, checkpoint = loop.case.partition(":")
    toml = (
        f'{SPLIT}[preannotate]\nmodel = "{loop.case}"\nthreshold = {loop.threshold}\n{MAP}'
        f'[train]\nmethod = "{loop.method}"\nepochs = 1\nbatch = 4\nimage_size = 64\naugment = "none"\n'
    )
    project = draw_project(root, loop.task, COUNT, toml)
    (project.folder / checkpoint).parent.mkdir()
    case.build(project.folder / checkpoint)
    return project


def _truth(project: Project) -> dict[str, list[Annotation]]:
    me = {"provenance": {"kind": "person", "name": "truth"}}
    return {
        row["file"]: [annotation_from_row(a | me) for a in row["annotations"]]
        for row in read_rows(project.data / "truth.jsonl")
    }


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.task)
def test_from_raw_images_to_an_evaluated_model(loop: Loop, tmp_path: Path, client: Client) -> None:
    project = _project(loop, tmp_path)
    assert (
        catalog.run(project).did == "16 images (9 train, 3 validation, 4 test), 0 duplicates, 0 quarantined"
    )
    preannotate.run(project, device="cpu")
    _check_guesses(project)
    outcome = push.run(project, LabelStudio(client, str(serve(project))))
    assert "16 new tasks, 0 unchanged" in outcome.did
    assert push.run(project, LabelStudio(client, str(serve(project)))).skipped
    assert (
        reviewer.run(project, LabelStudio(client)).did
        == "16 tasks reviewed by a simulated reviewer, 1 of them skipped"
    )
    pull.run(project, LabelStudio(client))
    _check_labels(project)
    _check_ledger(project)
    dataset.run(project)
    _check_dataset(project)
    train.run(project, device="cpu")
    evaluate.run(project, device="cpu")
    evaluate.publish(project)
    _check_run(project, loop)
    again = (dataset.run, train.run, evaluate.run, evaluate.publish)
    assert all(stage(project).skipped for stage in again)
    assert set(status.stage_states(project).values()) == {"done"}
    _check_next_round(project, loop)


def _check_guesses(project: Project) -> None:
    """One line an image; guesses of the task, in the project's words."""
    task = TASKS[project.settings.task]
    samples = read_samples(preannotate.predictions_path(project))
    assert samples.keys() == {r.id for r in read_catalog(project.catalog)}
    guesses = [a for sample in samples.values() for a in sample.annotations]
    assert guesses
    assert all(task.takes(a) and a.label in (*CLASSES, *KEYPOINTS) and a.id for a in guesses)
    if task.name == "classification":
        assert {len(sample.annotations) for sample in samples.values()} == {1}


def _check_labels(project: Project) -> None:
    """What came back is the truth, label for label."""
    truth, labels = _truth(project), read_samples(project.labels)
    for record in read_catalog(project.catalog):
        sample = labels[record.id]
        skipped = record.path == f"shapes-{UNREADABLE:02d}.png"
        assert sample.state == ("skipped" if skipped else "reviewed")
        assert Counter(a.label for a in sample.annotations) == Counter(a.label for a in truth[record.path])


def _check_ledger(project: Project) -> None:
    """Every guess that was pushed is accounted for, and so is every label that came of it."""
    samples = read_samples(preannotate.predictions_path(project))
    truth = _truth(project)
    paths = {r.id: r.path for r in read_catalog(project.catalog)}
    refused: list[str] = []
    for entry in read_rows(project.ledger):
        if entry["skipped"]:
            continue
        actions = Counter(a["action"] for a in entry["actions"])
        guesses = [] if entry["blind"] else samples[entry["image"]].annotations
        shown = collapse(guesses)[0]
        guessed = len(regions.acceptable(shown, WIDTH, HEIGHT, refused.append))
        assert entry["blind"] == (entry["split"] == "test")
        assert sum(actions.values()) - actions["added"] == guessed
        assert sum(actions.values()) - actions["deleted"] == len(truth[paths[entry["image"]]])
    # Only turned boxes can begin outside their image, which the server refuses.
    assert not refused or project.settings.task == "oriented-detection"


def _check_dataset(project: Project) -> None:
    settings = project.settings
    (origin,) = dataset.labels(project)
    assert "labeled in Label Studio by the simulated reviewer, a program that knows the truth" in origin
    truth = _truth(project)
    rows = {
        row["file"]: annotations
        for split in SPLITS
        for row, annotations in parquet.read(project.dataset, split, settings.schema)
    }
    # An image of one label cannot be a row without one.
    kept = {f for f, a in truth.items() if "-03" not in f and (a or settings.task != "classification")}
    assert rows.keys() == kept
    for file, annotations in rows.items():
        assert Counter(a.label for a in annotations) == Counter(a.label for a in truth[file])


def _check_run(project: Project, loop: Loop) -> None:
    name = train.latest(project)
    card = read_json(project.runs / name / "run.json")
    assert (card["task"], card["settings"]["method"]) == (loop.task, loop.method)
    assert card["images"] == {"train": 8, "validation": 3}
    assert card["selected_on"] == "validation"
    (epoch,) = card["curves"]
    assert epoch["epoch"] == 1
    assert epoch["images_per_second"] > 0
    record = read_json(project.runs / name / "metrics.json")
    tuned = metrics.from_json(record["tuned"])
    # The empty image is no image of a single label.
    assert tuned.images == (3 if loop.task == "classification" else 4)
    assert tuned.score is not None
    assert tuned.metric == card["metric"]
    report = (project.runs / name / "report.html").read_text()
    assert tuned.metric in report
    assert "data:image" in report


def _check_next_round(project: Project, loop: Loop) -> None:
    """The run annotates again, and tells the project's classes."""
    spec = f"run:{train.latest(project)}"
    annotator = models.load(spec, project.folder, Options(threshold=0.0, device="cpu"))
    assert annotator.names == load_project(project.folder).settings.labels
    assert annotator.task == loop.task
    annotator.close()
    toml = project.folder / "project.toml"
    toml.write_text(toml.read_text().replace(f'model = "{loop.case}"', f'model = "{spec}"').replace(MAP, ""))
    assert preannotate.run(load_project(project.folder), device="cpu").did.startswith(f"{spec}: ")

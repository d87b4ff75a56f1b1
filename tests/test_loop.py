"""The loop through the real servers: exact counts, nothing twice, nothing lost, three kinds of no boxes."""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import EVERYTHING, MakeProject, copy_project
from tests.samples import pushed_tasks
from workflow.commands import demo, loop, promote, reviewer, status
from workflow.errors import ConfigError, StageError
from workflow.labels.ledger import ACTIONS
from workflow.labelstudio import project as link
from workflow.labelstudio import regions
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.pushed import version
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_json, read_rows, read_samples
from workflow.records import Annotation, Provenance
from workflow.stages import catalog, dataset, evaluate, preannotate, pull, push, train

pytestmark = pytest.mark.services
ME = Provenance("person", "me")


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory, envelopes: Path) -> Path:
    """The data folder of a project after pre-annotation, made once."""
    project = copy_project(tmp_path_factory.mktemp("looked-at"), envelopes)
    catalog.run(project)
    preannotate.run(project, device="cpu")
    return project.data


@pytest.fixture
def pushed(
    make_project: MakeProject, looked_at: Path, client: Client, request: pytest.FixtureRequest
) -> Project:
    """A project of 48 envelopes, pre-annotated and pushed."""
    project = make_project(request.node.name.replace("_", "-")[:40].strip("-"))
    shutil.copytree(looked_at, project.data, dirs_exist_ok=True)
    assert catalog.run(project).did
    assert preannotate.run(project).skipped
    push.run(project, LabelStudio(client, str(serve(project))))
    return project


def _tasks(project: Project, client: Client) -> list[dict]:
    number = link.find_project(project, client)
    assert number is not None
    return list(client.tasks(number, EVERYTHING))


def _ids(project: Project, client: Client) -> list[tuple]:
    """Every task with its predictions and annotations, and when each last changed."""
    return [
        (task["id"], *[(x["id"], x["updated_at"]) for x in (*task["predictions"], *task["annotations"])])
        for task in _tasks(project, client)
    ]


def _truth(project: Project) -> dict[str, dict]:
    return {row["file"]: row for row in read_rows(project.data / "truth" / "truth.jsonl")}


def test_push_sends_each_image_once_and_the_test_split_blind(pushed: Project, client: Client) -> None:
    records = {r.id: r for r in read_catalog(pushed.catalog)}
    guesses = read_samples(preannotate.predictions_path(pushed))
    tasks = _tasks(pushed, client)
    assert Counter(t["data"]["image_id"] for t in tasks) == Counter(list(records))
    for task in tasks:
        record = records[task["data"]["image_id"]]
        sample = guesses[record.id]
        blind = record.split == "test" or not sample.annotations
        assert len(task["predictions"]) == (0 if blind else 1)
        if not blind:
            (prediction,) = task["predictions"]
            assert prediction["model_version"] == version(sample)
            model = sample.annotations[0].provenance
            back = regions.from_result(prediction["result"], record.width, record.height, model)
            assert back.lost == {}
            # They come in reading order, by their ids the same.
            here, there = (
                sorted(part, key=lambda a: a.id) for part in (sample.annotations, back.annotations)
            )
            for was, now in zip(here, there, strict=True):
                assert (now.label, now.id, now.score) == (was.label, was.id, was.score)
                assert now.box == pytest.approx(was.box, abs=1e-6)
    project = client.project(read_json(link.remote_path(pushed))["project"])
    assert project["model_version"].startswith("ultralytics:base/printed-digits.pt@")


def test_push_again_sends_nothing(pushed: Project, client: Client) -> None:
    before = _ids(pushed, client)
    outcome = push.run(pushed, LabelStudio(client, str(serve(pushed))))
    assert outcome.skipped
    assert "0 new tasks, 48 unchanged, 0 new predictions" in outcome.did
    assert _ids(pushed, client) == before


def test_a_push_whose_answer_was_lost_is_found_not_repeated(pushed: Project, client: Client) -> None:
    """What a killed push sent is on the server only: without our file, and with everything twice."""
    before = {t["data"]["image_id"]: t["id"] for t in _tasks(pushed, client)}
    pushed.pushed.unlink()
    number = link.find_project(pushed, client)
    twice = [{"data": t["data"]} for t in _tasks(pushed, client)[:5]]
    client.import_tasks(number, twice)
    outcome = push.run(pushed, LabelStudio(client, str(serve(pushed))))
    assert "5 left twice by a killed push (removed)" in outcome.did
    assert {t["data"]["image_id"]: t["id"] for t in _tasks(pushed, client)} == before
    assert pushed_tasks(pushed) == before


def test_human_work_on_a_doubled_task_is_never_deleted(pushed: Project, client: Client) -> None:
    number = link.find_project(pushed, client)
    first = _tasks(pushed, client)[0]
    (copied,) = client.import_tasks(number, [{"data": first["data"]}])
    client.annotate(copied, {"result": [], "lead_time": 1.0, "was_cancelled": False})
    client.annotate(first["id"], {"result": [], "lead_time": 1.0, "was_cancelled": False})
    push.run(pushed, LabelStudio(client, str(serve(pushed))))
    assert {t["id"] for t in _tasks(pushed, client)} >= {first["id"], copied}


def test_the_review_ends_at_the_truth(pushed: Project, client: Client) -> None:
    outcome = reviewer.run(pushed, LabelStudio(client))
    assert "48 tasks reviewed" in outcome.did
    assert reviewer.run(pushed, LabelStudio(client)).skipped
    pull.run(pushed, LabelStudio(client))
    truth = _truth(pushed)
    labels = read_samples(pushed.labels)
    for record in read_catalog(pushed.catalog):
        sample = labels[record.id]
        row = truth[record.path]
        if row.get("unreadable"):
            assert sample.state == "skipped"
            continue
        assert sample.state == "reviewed"
        assert Counter(a.label for a in sample.annotations) == Counter(b["label"] for b in row["annotations"])
        if record.split == "test":
            right = sorted(tuple(b["box"]) for b in row["annotations"])
            for got, wanted in zip(sorted(a.box for a in sample.annotations), right, strict=True):
                assert got == pytest.approx(wanted, abs=1e-6)
    entries = list(read_rows(pushed.ledger))
    assert len(entries) == 48
    actions = Counter(a["action"] for e in entries if not e["blind"] for a in e["actions"])
    assert min(actions[a] for a in ("accepted", "moved", "relabelled", "added")) > 0
    assert {a["action"] for e in entries if e["blind"] for a in e["actions"]} == {"added"}


def test_empty_skipped_and_unlabeled_are_three_things(pushed: Project, client: Client) -> None:
    tasks = _tasks(pushed, client)
    by_image = {t["data"]["image_id"]: t["id"] for t in tasks}
    train_images = [r for r in read_catalog(pushed.catalog) if r.split == "train"]
    empty, skipped, untouched, boxed = train_images[:4]
    client.annotate(by_image[empty.id], {"result": [], "was_cancelled": False, "lead_time": 1})
    client.annotate(by_image[skipped.id], {"result": [], "was_cancelled": True, "lead_time": 1})
    box = regions.to_result([Annotation("7", ME, box=(1, 2, 30, 40))], boxed.width, boxed.height)
    client.annotate(by_image[boxed.id], {"result": box, "was_cancelled": False, "lead_time": 1})
    pull.run(pushed, LabelStudio(client))
    labels = read_samples(pushed.labels)
    states = {"empty": labels[empty.id], "skipped": labels[skipped.id], "untouched": labels[untouched.id]}
    assert states["empty"].state == "reviewed"
    assert states["skipped"].state == "skipped"
    assert states["untouched"].state in ("predicted", "unlabeled")
    outcome = dataset.run(pushed)
    assert outcome.did == "2 train: 1 boxes, 1 empty images; left out 1 skipped, 45 unlabeled"
    from datasets import load_dataset

    cache = str(pushed.data / "cache")
    rows = load_dataset(str(pushed.dataset), cache_dir=cache)["train"]
    assert {row["hash"]: row["objects"]["bbox"] for row in rows} == {
        empty.id: [],
        boxed.id: [[pytest.approx(v, abs=1e-6) for v in (1, 2, 29, 38)]],
    }
    assert {row["image"].size for row in rows} <= {(r.width, r.height) for r in train_images}
    rest = load_dataset(str(pushed.dataset), "unreviewed", cache_dir=cache)["unreviewed"]
    assert Counter(rest["state"]) == {"skipped": 1, "unlabeled": 45}
    assert {r["hash"] for r in rest if r["state"] == "skipped"} == {skipped.id}


def test_pull_is_incremental_and_follows_changes_of_mind(pushed: Project, client: Client) -> None:
    reviewer.run(pushed, LabelStudio(client), limit=5)
    assert not pull.run(pushed, LabelStudio(client)).skipped
    before = pushed.labels.stat().st_mtime_ns
    assert pull.run(pushed, LabelStudio(client)).skipped
    assert pushed.labels.stat().st_mtime_ns == before
    task = next(t for t in _tasks(pushed, client) if t["annotations"] and t["annotations"][0]["result"])
    annotation = task["annotations"][0]
    result = copy.deepcopy(annotation["result"])
    result[0]["value"]["rectanglelabels"] = ["3"]
    client.patch(f"api/annotations/{annotation['id']}/", {"result": result[:1]})
    assert not pull.run(pushed, LabelStudio(client)).skipped
    sample = read_samples(pushed.labels)[task["data"]["image_id"]]
    assert [a.label for a in sample.annotations] == ["3"]
    client.delete(f"api/annotations/{annotation['id']}/")
    pull.run(pushed, LabelStudio(client))
    sample = read_samples(pushed.labels)[task["data"]["image_id"]]
    assert sample.state in ("predicted", "unlabeled")
    assert len(list(read_rows(pushed.ledger))) == 4


def test_drafts_are_nobodys_decision(pushed: Project, client: Client) -> None:
    task = _tasks(pushed, client)[0]
    client.post(f"api/tasks/{task['id']}/drafts", {"result": [], "lead_time": 1})
    pull.run(pushed, LabelStudio(client))
    assert read_samples(pushed.labels)[task["data"]["image_id"]].state in ("predicted", "unlabeled")


def test_an_unknown_label_is_listed_and_loses_nothing(pushed: Project, client: Client) -> None:
    reviewer.run(pushed, LabelStudio(client), limit=3)
    pull.run(pushed, LabelStudio(client))
    before = pushed.labels.read_bytes()
    task = next(t for t in _tasks(pushed, client) if not t["annotations"])
    record = next(r for r in read_catalog(pushed.catalog) if r.id == task["data"]["image_id"])
    box = regions.to_result([Annotation("zebra", ME, box=(0, 0, 9, 9))], record.width, record.height)
    client.annotate(task["id"], {"result": box, "was_cancelled": False, "lead_time": 1})
    (line,) = pull.run(pushed, LabelStudio(client)).lines
    assert line.startswith(f"task {task['id']} ({record.path}), person ")
    assert line.endswith(": 'zebra' is no class -> add it to project.toml, or relabel it there")
    assert pushed.labels.read_bytes() == before


def test_classes_are_locked_once_labels_use_them(pushed: Project, client: Client) -> None:
    reviewer.run(pushed, LabelStudio(client), limit=8)
    pull.run(pushed, LabelStudio(client))
    dataset.run(pushed)
    toml = pushed.folder / "project.toml"
    text = toml.read_text()
    toml.write_text(text.replace('"8", "9"]', '"8", "9", "x"]'))
    assert not dataset.run(load_project(pushed.folder)).skipped
    toml.write_text(text.replace('["0", "1"', '["1", "0"'))
    assert not dataset.run(load_project(pushed.folder)).skipped
    toml.write_text(text.replace('["0", "1"', '["0"'))
    with pytest.raises(ConfigError) as error:
        dataset.run(load_project(pushed.folder))
    assert error.value.problems[0].startswith("classes: labels in use would lose their class: '1' (")
    assert error.value.fix.startswith("put them back, rename them")


def test_the_whole_loop(pushed: Project, client: Client) -> None:
    reviewer.run(pushed, LabelStudio(client))
    for stage in (lambda: pull.run(pushed, LabelStudio(client)), lambda: dataset.run(pushed)):
        stage()
    train.run(pushed, device="cpu")
    outcome = evaluate.run(pushed, device="cpu")
    published = evaluate.publish(pushed)
    assert "images with truth, base and tuned" in published.did
    found = evaluate.result(pushed)
    test_images = [r for r in read_catalog(pushed.catalog) if r.split == "test"]
    assert found.tuned.images == found.base.images == len(test_images)
    assert f"{found.base.map50_95:.3f} -> {found.tuned.map50_95:.3f}" in outcome.did
    assert found.report.read_text().count("data:image") > 2
    card = read_json(found.report.parent / "run.json")
    assert card["classes"] == list(pushed.settings.classes)
    assert card["dataset"] == dataset.version(pushed)
    assert card["arguments"]["epochs"] == 1
    assert set(status.stage_states(pushed).values()) == {"done"}
    again = [dataset.run(pushed), train.run(pushed), evaluate.run(pushed), evaluate.publish(pushed)]
    assert all(o.skipped for o in again)
    assert len(list(pushed.runs.iterdir())) == 1
    _check_demo_again(pushed, client)
    _check_next_round(pushed, client, f"run:{found.report.parent.name}")


def _check_next_round(project: Project, client: Client, spec: str) -> None:
    """The run becomes the pre-annotator, and what it guesses is pushed; a round again does nothing."""
    toml = project.folder / "project.toml"
    named = 'model = "ultralytics:base/printed-digits.pt"'
    assert named in toml.read_text()
    toml.write_text(toml.read_text().replace(named, f'model = "promoted"\n{named.replace("model", "base")}'))
    project = load_project(project.folder)
    # Of one epoch nobody knows: what is at stake here is that each step finds what the one before made.
    assert promote.run(project, force=True, device="cpu").did.startswith(f"{spec} is the pre-annotator now")
    round_ = {outcome.stage: outcome for outcome in loop.run(project, LabelStudio(client), "cpu")}
    assert [*round_] == [
        *("catalog", "pull", "dataset", "train", "evaluate", "fiftyone"),
        *("promote", "preannotate", "push"),
    ]
    assert {name for name, outcome in round_.items() if not outcome.skipped} == {"preannotate", "push"}
    assert round_["preannotate"].did.startswith(f"{spec}: ")
    assert round_["preannotate"].lines[0].startswith(f"{spec}, promoted on ")
    versions = {p["model_version"] for task in _tasks(project, client) for p in task["predictions"]}
    assert any(version.startswith(spec) for version in versions)
    assert all(outcome.skipped for outcome in loop.run(project, LabelStudio(client), "cpu"))


def _check_demo_again(project: Project, client: Client) -> None:
    """The demo over a finished loop does nothing, and says all the same what came of it."""
    before = _ids(project, client)
    summary = demo.run(project, device="cpu")
    assert summary == read_json(project.data / "summary.json")
    assert [s["name"] for s in summary["stages"]] == [
        *("images", "catalog", "preannotate", "servers", "push", "review"),
        *("pull", "dataset", "train", "evaluate", "fiftyone"),
    ]
    assert {s["name"] for s in summary["stages"] if not s["skipped"]} == set()
    assert _ids(project, client) == before
    for model in ("base", "tuned"):
        assert summary[model].keys() >= {"map50", "map50_95", "per_class", "metric", "score"}
        assert set(summary[model]["per_class"]) == set(project.settings.classes)
    assert summary["simulated"] == "simulated"
    assert summary["ledger"].keys() >= {*ACTIONS, "reviewer_seconds", "seconds_from_nothing"}
    assert summary["urls"].keys() >= {"label-studio", "fiftyone-app"}
    assert Path(summary["report"]).exists()


def test_the_demo_waits_until_a_person_has_dealt_with_every_task(
    pushed: Project, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        person = pool.submit(reviewer.run, pushed, LabelStudio(client))
        outcome = demo._wait_for_person(pushed, LabelStudio(client))
        assert "48 tasks reviewed by a simulated reviewer, 1 of them skipped" in person.result().did
    assert outcome.did == "48 tasks reviewed by you"
    shown = capsys.readouterr().out
    assert f"{client.url}/projects/{link.remote(pushed)['project']}/data?labeling=1" in shown
    assert "48 tasks wait" in shown


def test_stages_out_of_order_say_what_is_missing(
    make_project: MakeProject, servers: Path, client: Client
) -> None:
    project = make_project("early")
    for stage, fix in (
        (lambda: preannotate.run(project), "workflow catalog"),
        (lambda: dataset.run(project), "workflow pull"),
        (lambda: train.run(project), "workflow dataset"),
        (lambda: evaluate.run(project), "workflow dataset"),
    ):
        with pytest.raises(StageError) as error:
            stage()
        assert error.value.fix == fix
    catalog.run(project)
    with pytest.raises(StageError) as error:
        pull.run(project, LabelStudio(client))
    assert error.value.fix == "workflow push"

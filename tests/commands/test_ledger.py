"""`workflow ledger` as a person and as a program reads it, and the report's part on it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.ledger_rows import ROUNDS, Row, action, realistic, row
from workflow.cli import app
from workflow.commands import ledger as stage
from workflow.errors import StageError
from workflow.labels.ledger.account import cost_model
from workflow.labels.ledger.figures import Share, figures, version
from workflow.labels.ledger.thresholds import suggest
from workflow.metrics.detection import detection_metrics
from workflow.project.paths import Project, load_project
from workflow.project.rows import write_rows
from workflow.project.settings import Review
from workflow.schema import Schema
from workflow.shown.report import ReportData, render
from workflow.shown.report.ledger import shown

NASTY = ("disc", "<b>square</b>")
CLASSES = ("bus", 'no "entry"')
TOML = """name = "street"
title = "Street"
classes = ["bus", 'no "entry"']
[preannotate]
threshold = 0.1
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose ledger has no row yet; the working folder is its workspace."""
    folder = tmp_path / "projects" / "street"
    folder.mkdir(parents=True)
    (folder / "project.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    return load_project(folder)


def _printed(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["ledger", "street", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def _poor(count: int = 30) -> list[Row]:
    """Guesses of a bus, the less sure half of which people delete; one of them got its name wrong."""
    rows = [
        row(n, action("accepted", "bus", score=0.9), action("deleted", None, "bus", 0.2))
        for n in range(count)
    ]
    return [*rows, row(count, action("relabelled", CLASSES[1], "bus", 0.95), action("added", "bus"))]


def test_what_it_prints(project: Project) -> None:
    write_rows(project.ledger, [*_poor(), row(40, action("added", "bus"), blind=True, control=True)])
    cells = [re.split(r"  +", line.strip()) for line in _printed().splitlines()]
    fates = ["49 (37-61)", "2 (0-9)", "49 (37-61)"]
    assert cells == [
        [
            "street: 31 decisions on images with guesses, 0 of them skipped; 1 on blind images,"
            " 1 of them the control share"
        ],
        ["In percent of the guesses, with the 95 % interval; added: in percent of the objects people left."],
        [""],
        ["guesses", "accepted", "relabelled", "deleted", "added", "precision", "recall"],
        ["all", "61", *fates, "3 (1-16)", "49 (37-61)", "94 (80-98)"],
        ["by class"],
        ["bus", "61", *fates, "3 (1-16)", "49 (37-61)", "97 (84-99)"],
        [CLASSES[1], "0", "-", "-", "-", "0 (0-79)", "-", "0 (0-79)"],
        ["by score"],
        ["0.2-0.3", "30", "0 (0-11)", "0 (0-11)", "100 (89-100)", "-", "0 (0-11)", "-"],
        ["0.9-1.0", "31", "97 (84-99)", "3 (1-16)", "0 (0-11)", "-", "97 (84-99)", "-"],
        ["by round"],
        [f"1 {ROUNDS[0]}", "61", *fates, "3 (1-16)", "49 (37-61)", "94 (80-98)"],
        ["by person"],
        ["ann", "61", *fates, "3 (1-16)", "49 (37-61)", "94 (80-98)"],
        [""],
        ["guesses most often relabelled"],
        [f"bus -> {CLASSES[1]}", "1 of 61"],
        [""],
        ["seconds an image, with guesses (31) and without (1)"],
        ["median", "4.0", "4.0", "saved 0.0"],
        ["mean", "4.0", "4.0", "saved 0.0"],
        ["too few to say more: 10 of each are needed"],
        [""],
        [f"thresholds by the costs of [review], on the guesses of {ROUNDS[0]}"],
        ["class", "guesses", "lowest", "now", "best", "seconds saved per 100 images"],
        # 30 deletions of a second, over 31 images.
        ["bus", "61", "0.20", "0.1", "0.21", "96.8"],
        ["What scores below the lowest was never shown, and is unknown."],
        ["To take them over, put this into project.toml, in place of its thresholds:"],
        [""],
        ["[preannotate.thresholds]"],
        ['"bus" = 0.21'],
    ]


def _simulated(project: Project, rows: list[Row]) -> None:
    write_rows(project.simulated, [{"image": r["image"], "task": r["task"]} for r in rows])


def test_what_a_program_did_is_said_in_each_headline(project: Project) -> None:
    blind = [row(100 + n, action("added", "bus"), blind=True, lead_time=9.0) for n in range(12)]
    rows = [*_poor(), *blind]
    write_rows(project.ledger, rows)
    assert "simulated" not in _printed()
    assert "p = " in _printed()
    _simulated(project, rows)
    printed = _printed()
    assert "\nsimulated: the simulated reviewer, a program that knows the truth\n" in printed
    assert "\nguesses most often relabelled (simulated)\n" in printed
    assert "\nseconds an image (simulated), with guesses (31) and without (12)\n" in printed
    assert "\nthresholds (simulated) by the costs of [review]" in printed
    assert "p = " not in printed
    assert "  a cost model made the simulated times, so nothing is tested\n" in printed
    told = json.loads(_printed("--json"))
    assert (told["simulated"], told["lead_time"]["simulated"], told["lead_time"]["p"]) == (43, 43, None)
    _simulated(project, rows[:5])
    assert "\n5 of 43 simulated: the simulated reviewer" in _printed()
    assert "\nseconds an image (5 of 43 simulated), with guesses" in _printed()


def test_the_lines_to_paste_are_toml_and_keep_what_is_set(project: Project) -> None:
    write_rows(project.ledger, _poor())
    more = '[preannotate.thresholds]\n"no \\"entry\\"" = 0.4\n'
    (project.folder / "project.toml").write_text(TOML + more)
    pasted = _printed().split("in place of its thresholds:\n\n")[1]
    assert tomllib.loads(pasted) == {"preannotate": {"thresholds": {"bus": 0.21, CLASSES[1]: 0.4}}}
    (project.folder / "project.toml").write_text(TOML + pasted)
    settled = _printed()
    assert "To take them over" not in settled
    assert "0.21    0.21     0.0" in settled


def test_nothing_is_advised_by_few_guesses(project: Project) -> None:
    write_rows(project.ledger, _poor(14))
    printed = _printed()
    assert "(of fewer than 30 guesses)" in printed
    assert "[preannotate.thresholds]" not in printed


def test_thresholds_are_by_the_latest_model_alone(project: Project) -> None:
    late = [row(100 + n, action("accepted", "bus", score=0.2), model=ROUNDS[1]) for n in range(40)]
    write_rows(project.ledger, [*late, *_poor()])
    account = stage.run(project)
    assert account.model == ROUNDS[1]
    assert [(s.guesses, s.saved) for s in account.suggestions] == [(40, 0.0)]
    # What nobody pushed has no version, and does not count as the latest.
    write_rows(project.ledger, [*late, row(900, action("added", "bus"), model="")])
    assert stage.run(project).model == ROUNDS[1]


def test_json_has_all_figures(project: Project) -> None:
    write_rows(project.ledger, realistic(CLASSES))
    told = json.loads(_printed("--json"))
    account = stage.run(project)
    assert told["project"] == "street"
    assert told["thresholds"]["model"] == ROUNDS[1]
    assert [c["label"] for c in told["thresholds"]["classes"]] == sorted(CLASSES)
    assert told["all"]["precision"]["share"] == account.figures.all.precision.value
    assert [told["classes"][c]["recall"]["low"] for c in CLASSES] == [
        account.figures.classes[c].recall.interval[0] for c in CLASSES
    ]
    assert "recall" in told["scores"]["0.5-0.6"]
    assert told["scores"]["0.5-0.6"]["recall"] is None
    assert told["lead_time"]["mean"]["saved"] == account.figures.lead_time.saved("mean")
    assert set(told["probes"]) == {"ann", "bob"}


def test_a_box_s_points_go_with_it(project: Project) -> None:
    (project.folder / "project.toml").write_text(
        TOML.replace("[pre", 'task = "keypoints"\nkeypoints = ["left"]\n[pre')
    )
    write_rows(project.ledger, _poor())
    printed = _printed()
    assert "none are suggested for keypoints" in printed
    assert "[preannotate.thresholds]" not in printed


def test_before_anything_was_pulled(project: Project) -> None:
    command = [sys.executable, "-m", "workflow", "ledger", "street"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    problem = f"error: {project.ledger} does not exist: nothing was pulled -> workflow pull\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", problem)
    write_rows(project.ledger, [])
    with pytest.raises(StageError) as caught:
        stage.run(project)
    problem = f"{project.ledger} is empty: nobody has decided on any image"
    assert str(caught.value) == f"{problem} -> review in Label Studio, then workflow pull"


# The report.


def _report(rows: list[Row], labels: tuple[str, ...]) -> str:
    cost = cost_model(Review())
    nothing = detection_metrics(Schema.of("detection", list(labels)), {"a": (10, 10)}, {}, {})
    latest = [r for r in rows if version(r) == ROUNDS[1]]
    suggestions = suggest(latest, cost, dict.fromkeys(labels, 0.1))
    data = ReportData(title="t", tuned=nothing, ledger={"accepted": 1}, figures=figures(rows, labels))
    return render(replace(data, suggestions=suggestions, judged=ROUNDS[1]))


def test_the_report_draws_the_ledger() -> None:
    labels = ("disc", "square", "star")
    rows = realistic(labels)
    found = figures(rows, labels)
    html = _report(rows, labels)
    groups = [found.classes, found.scores, found.rounds, found.persons]
    drawn = [found.all, *(tally for group in groups for tally in group.values())]
    bars = re.findall(
        r'<td class="fate">(.*?)</td><td class="of">(\d+)</td><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td>', html
    )
    assert [(int(count), p, r) for _, count, p, r in bars] == [
        (t.guesses, shown(t.precision), shown(t.recall)) for t in drawn
    ]
    for (bar, *_), tally in zip(bars, drawn, strict=True):
        parts = {
            word: float(flex) for word, flex in re.findall(r'class="w-(\w+)" style="flex:([\d.]+)"', bar)
        }
        assert sum(parts.values()) == pytest.approx(100, abs=0.05)
        assert parts["deleted"] == pytest.approx(100 * tally.counts["deleted"] / tally.guesses, abs=0.01)
        left, width = map(float, re.search(r"left:([\d.]+)%;width:([\d.]+)%", bar).groups())
        low, high = tally.precision.interval
        assert (left, left + width) == pytest.approx((100 * low, 100 * high), abs=0.011)
    times = found.lead_time
    low, high = times.intervals["median"]
    assert f"<td>{times.saved('median'):.1f} ({low:.1f} to {high:.1f})</td>" in html
    assert f"{len(times.guessed)} images with guesses, {len(times.blind)} pushed blind" in html
    for who, share in (found.probes | {"all": found.all_probes}).items():
        numbers = f"<td>{share.of}</td><td>{share.count}</td><td>{shown(share)}</td>"
        assert f'<th scope="row" title="{who}">{who}</th>{numbers}' in html
    assert f"from the guesses of {ROUNDS[1]}" in html


def test_the_report_of_a_small_ledger_leaves_out_what_it_cannot_say() -> None:
    html = _report([row(1, action("added", "a"), person="<i>ann</i>", model="")], ("a",))
    assert "no guess" in html
    for absent in (
        "Seconds an image",
        "Thresholds to set",
        "Planted",
        "by round",
        "by person",
        "None",
        "nan",
    ):
        assert absent not in re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)


def test_names_in_the_ledger_are_escaped() -> None:
    rows = [row(1, action("accepted", NASTY[1], score=0.5)), row(2, action("deleted", None, NASTY[0], 0.4))]
    rows.append(row(3, person="<script>", model="<script>"))
    html = _report(rows, NASTY)
    assert "<script" not in html
    assert "<b>square</b>" not in html
    assert "&lt;b&gt;square&lt;/b&gt;" in html


def test_many_classes_share_a_row_of_the_ledger() -> None:
    labels = tuple(f"class {n:02}" for n in range(60))
    rows = [row(n, *[action("accepted", label)] * (60 - n)) for n, label in enumerate(labels)]
    html = _report(rows, labels)
    assert "(41 others)" in html
    assert f'<td class="of">{sum(range(1, 42))}</td>' in html
    assert 'title="class 18"' in html
    assert 'title="class 19"' not in html.split("by class")[1].split("by score")[0]


def test_shares_in_words() -> None:
    assert [shown(share) for share in (Share(1, 2), Share(0, 0), None)] == ["0.50 (0.09–0.91)", "–", "–"]

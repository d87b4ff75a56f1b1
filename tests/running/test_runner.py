from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.errors import StageError
from workflow.running.runner import Plan, Runner, alone


def _plan(tmp_path: Path, **settings: object) -> Plan:
    return Plan("count", 1, settings, {"input": tmp_path / "in"}, (tmp_path / "out",))


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    (tmp_path / "in").write_text("1")
    return Runner(tmp_path / "marks")


def _work(tmp_path: Path, calls: list[Path]):
    def work(scratch: Path) -> str:
        calls.append(scratch)
        (tmp_path / "out").write_text("made")
        return "made it"

    return work


def test_unchanged_is_skipped_and_any_change_runs_again(tmp_path: Path, runner: Runner) -> None:
    calls: list[Path] = []
    work = _work(tmp_path, calls)
    assert not runner.run(_plan(tmp_path, a=1), work).skipped
    again = runner.run(_plan(tmp_path, a=1), work)
    assert (again.skipped, again.did) == (True, "made it")
    assert not runner.run(_plan(tmp_path, a=2), work).skipped
    (tmp_path / "in").write_text("2")
    assert runner.state(_plan(tmp_path, a=2)) == "stale"
    assert not runner.run(_plan(tmp_path, a=2), work).skipped
    (tmp_path / "out").unlink()
    assert runner.state(_plan(tmp_path, a=2)) == "missing"
    assert not runner.run(_plan(tmp_path, a=2), work).skipped
    assert not runner.run(_plan(tmp_path, a=2), work, force=True).skipped
    assert len(calls) == 5


def test_a_stopped_stage_is_not_finished_and_keeps_its_scratch(tmp_path: Path, runner: Runner) -> None:
    plan = _plan(tmp_path)
    runner.run(plan, _work(tmp_path, []))

    def stopped(scratch: Path) -> str:
        (scratch / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(plan, stopped, force=True)
    assert runner.state(plan) == "missing"

    def goes_on(scratch: Path) -> str:
        return (scratch / "half").read_text()

    assert runner.run(plan, goes_on).did == "half"
    assert [p.name for p in runner.folder.iterdir()] == ["count.json"]


def test_scratch_left_by_a_kill_after_the_mark_goes(tmp_path: Path, runner: Runner) -> None:
    plan = _plan(tmp_path)
    runner.run(plan, _work(tmp_path, []))
    (runner.folder / f"count-{plan.fingerprint()}").mkdir()
    assert runner.run(plan, _work(tmp_path, [])).skipped
    assert [p.name for p in runner.folder.iterdir()] == ["count.json"]


def test_changed_settings_start_with_clean_scratch(tmp_path: Path, runner: Runner) -> None:
    def stopped(scratch: Path) -> str:
        (scratch / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(_plan(tmp_path, a=1), stopped)
    (tmp_path / "out").write_text("")
    assert runner.run(_plan(tmp_path, a=2), lambda s: f"{len(list(s.iterdir()))} files").did == "0 files"
    assert [p.name for p in runner.folder.iterdir()] == ["count.json"]


def test_two_commands_never_work_on_a_project_at_once(tmp_path: Path) -> None:
    folder = f"pathlib.Path({str(tmp_path)!r})"
    code = f"import pathlib; from workflow.running.runner import alone; alone({folder}, 'zips')"
    with alone(tmp_path, "zips"):
        with pytest.raises(StageError) as error:
            alone(tmp_path, "zips")
        assert str(error.value) == (
            f"another workflow command works on zips -> wait for it, or: kill {os.getpid()}"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

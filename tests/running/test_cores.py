"""How many cores there are for us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.running import cores as module
from workflow.running.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux says where a process may run")
def test_only_those_that_the_process_may_run_on_count() -> None:
    code = (
        "import os; from workflow.running.cores import cores;"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("file", "content", "wanted"),
    [
        ("jobs/cpu.max", "50000 100000", 1),
        ("jobs/cpu.max", "max 100000", 64),
        ("jobs/train/cpu.max", "150000 100000", 2),
        ("cpu.max", "300000 100000", 3),
        ("cpu/jobs/train/cpu.cfs_quota_us", "250000", 3),
        ("cpu/jobs/train/cpu.cfs_quota_us", "-1", 64),
        ("elsewhere/cpu.max", "100000 100000", 64),
    ],
)
def test_a_control_groups_share_bounds_them(
    file: str, content: str, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "groups" / file
    path.parent.mkdir(parents=True)
    path.write_text(content)
    if "cfs_quota" in file:
        path.with_name("cpu.cfs_period_us").write_text("100000")
    (tmp_path / "membership").write_text("0::/jobs/train\n")
    monkeypatch.setattr(module, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(module, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert cores() == wanted

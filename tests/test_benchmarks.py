"""Every benchmark runs: at toy size, in seconds, whatever it claims."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BENCHMARKS = sorted((REPOSITORY / "benchmarks").glob("*.py"))
# What starts servers.
SERVERS = {"app", "evaluate", "exchange", "growth"}


def test_all_benchmarks_are_tried() -> None:
    names = [
        "app",
        "catalog",
        "dataset",
        "duplicates",
        "evaluate",
        "exchange",
        "finetune",
        "formats",
        "growth",
        "preannotate",
        "rle",
        "slices",
    ]
    assert [path.stem for path in BENCHMARKS] == names


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[pytest.mark.services] * (p.stem in SERVERS)) for p in BENCHMARKS],
)
def test_it_runs_quickly(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if path.stem == "exchange":
        request.getfixturevalue("servers")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, str(path), "--quick"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stdout.splitlines()) >= 3

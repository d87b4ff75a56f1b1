"""The benchmark of the formats, at toy size: a line a format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workflow.formats.page import FORMATS

ROOT = Path(__file__).parents[1]


def test_each_format_has_its_line() -> None:
    command = [sys.executable, "benchmarks/formats.py", "10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert sorted(line[0] for line in lines) == sorted(FORMATS)

"""Let the simulated reviewer, who knows the truth, correct what waits: nobody else reads the truth file."""

from __future__ import annotations

import time
from pathlib import Path

from workflow.errors import StageError
from workflow.project.checks import truth_shape
from workflow.project.paths import Project
from workflow.project.rows import annotation_from_row, read_rows
from workflow.review import ReviewTool
from workflow.running.runner import Outcome


def run(project: Project, tool: ReviewTool, limit: int | None = None) -> Outcome:
    """Review every task that waits, or the first `limit`; StageError where no truth file is set."""
    start = time.perf_counter()
    shape = truth_shape(annotation_from_row)
    truth = {row["file"]: row for row in read_rows(truth_file(project), shape=shape)}
    done, skipped = tool.review(project, truth, limit)
    did = f"{done} tasks reviewed by a simulated reviewer, {skipped} of them skipped"
    return Outcome(
        "review", time.perf_counter() - start, did if done else "nothing waits for review", not done
    )


def truth_file(project: Project) -> Path:
    """The file of what is true. StageError where none is set, or it is not there."""
    truth = project.settings.review.truth
    if truth is None:
        problem = "review.truth names no file: only a person can review this project"
        raise StageError(problem, "open Label Studio")
    path = project.resolve(truth)
    if not path.exists():
        raise StageError(f"{path} does not exist", "check review.truth")
    return path

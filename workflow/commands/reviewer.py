"""Let the simulated reviewer, who knows the truth, correct what waits: nobody else reads the truth file."""

from __future__ import annotations

import time
from pathlib import Path

from workflow.errors import StageError
from workflow.labels.people import called
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


def mark_truth(project: Project, tool: ReviewTool, which: str) -> str:
    """Mark an annotation as the ground truth, "TASK" or "TASK:PERSON"; what was done, in words."""
    task, _, person = which.partition(":")
    if not task.isdecimal() or (person and not person.isdecimal()):
        raise StageError(
            f"--ground-truth {which}: no task, or task:person, by number", "workflow disagreements"
        )
    who = called(project)(tool.mark_truth(project, int(task), person))
    return f"task {task}: what {who or 'somebody'} submitted is the ground truth; workflow pull takes it"


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

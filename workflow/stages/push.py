"""Push images and predictions to where people review; what is there already is left alone.

Upsert by image id. Nothing a person made is ever deleted or overwritten. What a killed push left on
the server, or one whose answer was lost, is found there before anything is sent again.
"""

from __future__ import annotations

import time
from pathlib import Path

from workflow.errors import StageError
from workflow.labels.excluded import excluded
from workflow.labels.renames import lock_schema
from workflow.project.known import remembered
from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.review import ReviewTool, Whose
from workflow.running.runner import Outcome
from workflow.stages.preannotate import predictions_path


def run(project: Project, tool: ReviewTool, dry_run: bool = False, whose: Whose = "") -> Outcome:
    """Bring the server's tasks and predictions up to date and write pushed.jsonl.

    With `dry_run` nothing is sent. `whose` labeling interface counts where somebody changed it on the server.
    LabelStudioError where nobody says so then, and where the server refuses something, or lacks afterwards
    what it was sent.
    """
    start = time.perf_counter()
    guesses = guesses_path(project)
    if dry_run:
        would = tool.preview(project, guesses)
        return Outcome("push", time.perf_counter() - start, f"would send: {would.did}", lines=would.lines)
    renamed = lock_schema(project)
    done = tool.push(project, guesses, whose)
    did = done.did + (f", {renamed}" if renamed else "")
    unchanged = not (done.changed or renamed)
    return Outcome("push", time.perf_counter() - start, did, skipped=unchanged, lines=done.lines)


def state(project: Project) -> tuple[str, str]:
    """done, stale or missing, and how many images are on the server, by the files of the last push."""
    files = {"catalog": project.catalog, "pushed": project.pushed, "excluded": project.excluded}
    images, pushed, both = remembered(project.marks, "pushed", files, 1, lambda: _counts(project))
    word = "missing" if not pushed else "done" if both == images else "stale"
    return word, f"{both} of {images} images in Label Studio"


def _counts(project: Project) -> list[int]:
    """How many images there are to push, how many were pushed, and how many of those there are."""
    pushed = {row["image"] for row in read_rows(project.pushed)}
    images = {row["id"] for row in read_rows(project.catalog)}
    images -= excluded(project).keys() - pushed
    return [len(images), len(pushed), len(images & pushed)]


def guesses_path(project: Project) -> Path:
    """The file whose guesses are pushed. StageError where `push.predictions` names none."""
    named = project.settings.push.predictions
    if named is None:
        return predictions_path(project)
    path = project.data / "predictions" / f"{named}.jsonl"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.jsonl")))
        raise StageError(f"{path} does not exist; there is {known or 'none'}", "push.predictions")
    return path

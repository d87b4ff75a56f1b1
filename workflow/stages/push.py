"""Push images and predictions to Label Studio: tasks first, then predictions, by one writer.

Upsert by image id. Nothing a person made is ever deleted or overwritten. What a killed push left on
the server, or one whose answer was lost, is found there before anything is sent again.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from workflow.errors import LostAnswer, StageError
from workflow.labels.renames import lock_schema
from workflow.labelstudio.client import Client
from workflow.labelstudio.project import ensure_project, find_project, let_land
from workflow.labelstudio.push.addresses import check_storage
from workflow.labelstudio.push.sender import Sender
from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.running.runner import Outcome
from workflow.stages.preannotate import predictions_path

# How often a push looks again what arrived and goes on, when the server's answers get lost.
TRIES = 4


def run(project: Project, client: Client, served: str | None, dry_run: bool = False) -> Outcome:
    """Bring the server's tasks and predictions up to date and write pushed.jsonl.

    `served` is the folder, as the server sees it, through which it serves the images; None where
    `push.image_url` says how to reach them. With `dry_run` nothing is sent. LabelStudioError where the
    server refuses something, or lacks afterwards what it was sent.
    """
    start = time.perf_counter()
    if dry_run:
        number = find_project(project, client)
        push = Sender(project, client, number or 0, guesses_path(project))
        difference = push.look() if number else push.compare({})
        lines = tuple(push.preview())
        return Outcome("push", time.perf_counter() - start, f"would send: {difference}", lines=lines)
    settings = project.settings
    renamed = lock_schema(project)
    let_land(project, client)
    number = ensure_project(project, client, served)
    check_storage(client, number, settings.push.image_url)
    push = Sender(project, client, number, guesses_path(project))
    difference = push.look()
    for attempt in range(1, TRIES + 1):
        try:
            push.send()
            break
        except LostAnswer:
            if attempt == TRIES:
                raise
            time.sleep(attempt)
            let_land(project, client)
            push.look()
    lost = sum(push.lost.values(), Counter())
    changed = "".join(f", {n} {reason}" for reason, n in sorted(lost.items()))
    did = f"project {number}: {difference}{changed}" + (f", {renamed}" if renamed else "")
    return Outcome("push", time.perf_counter() - start, did, skipped=not (difference.changes or renamed))


def state(project: Project) -> tuple[str, str]:
    """done, stale or missing, and how many images are on the server, by the files of the last push."""
    images = {row["id"] for row in read_rows(project.catalog)}
    pushed = {row["image"] for row in read_rows(project.pushed)}
    word = "missing" if not pushed else "done" if images <= pushed else "stale"
    return word, f"{len(images & pushed)} of {len(images)} images in Label Studio"


def guesses_path(project: Project) -> Path:
    """The file whose guesses are pushed. StageError where `push.predictions` names none."""
    named = project.settings.push.predictions
    if named is None:
        return predictions_path(project)
    path = project.data / "predictions" / f"{named}.jsonl"
    if not path.exists():
        there = sorted(p.stem for p in path.parent.glob("*.jsonl"))
        raise StageError(f"{path} does not exist; there is {', '.join(there) or 'none'}", "push.predictions")
    return path


def pushed_tasks(project: Project) -> dict[str, int]:
    """Image id -> task number. StageError where nothing was pushed."""
    if not project.pushed.exists():
        raise StageError(f"{project.pushed} does not exist: nothing was pushed", "workflow push")
    return {row["image"]: row["task"] for row in read_rows(project.pushed)}

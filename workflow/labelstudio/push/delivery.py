"""One push from its beginning to its end: the project on the server, what it lacks, and what arrived."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from workflow.errors import LostAnswer, WorkflowError
from workflow.labelstudio.client import Client
from workflow.labelstudio.project import (
    ensure_project,
    find_project,
    forget_empty,
    let_land,
    wanted_settings,
)
from workflow.labelstudio.push import conflict
from workflow.labelstudio.push.addresses import NoStorage, check_storage
from workflow.labelstudio.push.difference import Difference
from workflow.labelstudio.push.upload import Upload
from workflow.labelstudio.where import remote
from workflow.project.paths import Project
from workflow.review import Delivery, Whose

# How often a push looks again what arrived and goes on, when the server's answers get lost.
TRIES = 4


def preview(project: Project, client: Client, guesses: Path) -> Delivery:
    """What a push would send; nothing is sent."""
    number = find_project(project, client)
    upload = Upload(project, client, number or 0, guesses)
    difference = upload.look() if number else upload.compare({})
    lines = list(upload.preview())
    if number:
        server = client.project(number) or {}
        lines += conflict.compare(wanted_settings(project), server, remote(project), "").lines()
    return Delivery(str(difference), difference.changes, tuple(lines))


def push(project: Project, client: Client, served: str | None, guesses: Path, whose: Whose = "") -> Delivery:
    """Bring the server's tasks and predictions up to date and write pushed.jsonl.

    LabelStudioError where the server refuses something, or lacks afterwards what it was sent, and where
    somebody's changes of the project there would be lost, and nobody says `whose` count.
    """
    let_land(project, client)
    fresh = find_project(project, client) is None
    try:
        number, lines = ensure_project(project, client, served, whose)
        check_storage(client, number, project.settings.push.image_url)
        upload, difference = _upload(project, client, number, guesses)
    except (LostAnswer, NoStorage):
        # What became of a request is not known; and to a project without storage a person adds it.
        raise
    except WorkflowError:
        made = find_project(project, client) if fresh else None
        if made is not None:
            forget_empty(project, client, made)
        raise
    losses = sum(upload.losses.values(), Counter())
    parts = [f"project {number}: {difference}", *(f"{n} {reason}" for reason, n in sorted(losses.items()))]
    if project.settings.push.image_url and (count := sum(bool(r.png) for r in upload.records.values())):
        parts.append(f"{count} images that browsers do not show as they are: see {project.copied}")
    return Delivery(", ".join(parts), difference.changes, (*lines, *upload.moves))


def _upload(project: Project, client: Client, number: int, guesses: Path) -> tuple[Upload, Difference]:
    """Send what the server lacks, and go on where answers got lost."""
    upload = Upload(project, client, number, guesses)
    difference = upload.look()
    for attempt in range(1, TRIES + 1):
        try:
            upload.send()
            break
        except LostAnswer:
            if attempt == TRIES:
                raise
            time.sleep(attempt)
            let_land(project, client)
            upload.look()
    return upload, difference

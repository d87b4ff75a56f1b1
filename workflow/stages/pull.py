"""Pull the corrected labels back from Label Studio, and keep the ledger of what people did.

Incremental by the server's clock, with an overlap; `full` sweeps everything, and finds deletions.
Drafts are nobody's decision yet and are ignored; a skipped image stays skipped; of several people's
labels those count that `[pull]` says. labels.jsonl is replaced only by a pull that went through, and
whatever it said before stays in the history.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workflow.errors import StageError
from workflow.labels import history
from workflow.labelstudio.client import Client, chunks
from workflow.labelstudio.project import find_project
from workflow.labelstudio.pull.harvest import BATCH, FIELDS, Harvest
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_json, read_rows, write_json
from workflow.running.progress import progress
from workflow.running.runner import Outcome

Json = dict[str, Any]
# The clock we read has whole seconds, and a transaction may commit after its timestamp.
OVERLAP = timedelta(seconds=30)


def run(project: Project, client: Client, full: bool = False, drop_deleted: bool = False) -> Outcome:
    """Write labels.jsonl (one line an image), ledger.jsonl and disagreements.jsonl where anything changed.

    A `full` sweep finds tasks that were deleted on the server; their labels are kept unless `drop_deleted`.
    StageError where nothing was pushed; LabelStudioError where a person used a label that is no class
    of the project: then nothing is written.
    """
    start = time.perf_counter()
    records = {r.id: r for r in read_catalog(project.catalog)}
    number = find_project(project, client)
    if number is None:
        raise StageError(f"{client.url} has no project of {project.name}", "workflow push")
    state = _state(project, client.url, number)
    since = None if full or drop_deleted or not state else datetime.fromisoformat(state["until"]) - OVERLAP
    now = client.server_time()
    harvest = Harvest(project, client, number, records)
    with progress("pulling", len(records), "tasks") as advance:
        for task in client.tasks(number, FIELDS, since):
            harvest.take(task)
            advance()
        # An image that left the catalog and is there again was passed over meanwhile.
        late = harvest.overlooked(state.get("absent", {})) if since else []
        for part in chunks(late, BATCH):
            for task in client.tasks(number, FIELDS, numbers=part):
                harvest.take(task)
        harvest.finish()
    harvest.refuse_unknown_labels()
    if since is None:
        harvest.look_for_deleted(drop_deleted)
    harvest.settle()
    changed = history.save(project, harvest.labels, "pull")
    harvest.ledger.write()
    harvest.disputes.write()
    state = {"url": client.url, "project": number, "until": now.isoformat()}
    write_json(state_path(project), state | ({"absent": harvest.absent} if harvest.absent else {}))
    did = _summary(project, harvest)
    return Outcome("pull", time.perf_counter() - start, did, skipped=not changed)


def state(project: Project) -> tuple[str, str]:
    """done or missing, and how many images are in which state, by the files of the last pull."""
    if not project.labels.exists():
        return "missing", "workflow pull"
    images = {row["id"] for row in read_rows(project.catalog)}
    states = Counter(row["state"] for row in read_rows(project.labels) if row["image"] in images)
    return "done", ", ".join(f"{states[s]} {s}" for s in ("reviewed", "skipped", "predicted", "unlabeled"))


def state_path(project: Project) -> Path:
    return project.marks / "pull.json"


def _state(project: Project, url: str, number: int) -> Json:
    """What the last pull wrote down; nothing where everything must be asked for."""
    state = read_json(state_path(project), {})
    same = state.get("url") == url and state.get("project") == number
    return state if same and project.labels.exists() else {}


def _summary(project: Project, harvest: Harvest) -> str:
    states: Counter[str] = Counter()
    found = empty = 0
    for image in harvest.records:
        row = harvest.labels.row(image) or {}
        states[row["state"]] += 1
        if row["state"] == "reviewed":
            found += len(row["annotations"])
            empty += not row["annotations"]
    noun = project.settings.schema.task.noun
    waiting = states["predicted"] + states["unlabeled"]
    parts = [f"{states['reviewed']} reviewed ({found} {noun}, {empty} empty)", f"{states['skipped']} skipped"]
    parts.append(f"{waiting} waiting")
    if len(harvest.disputes):
        parts.append(f"people disagree on {len(harvest.disputes)} (see {project.disagreements.name})")
    parts += [f"{n} {reason}" for reason, n in sorted((+harvest.lost).items())]
    return ", ".join(parts)

"""Pull the corrected labels back from Label Studio, and keep the ledger of what people did.

Incremental by the server's clock, with an overlap; `full` sweeps everything, and finds deletions.
Drafts are nobody's decision yet and are ignored; a skipped image stays skipped; of several
annotations the latest counts. labels.jsonl is replaced only by a pull that went through.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workflow import ledger
from workflow.errors import LabelStudioError, StageError
from workflow.formats import labelstudio
from workflow.label_studio import Client
from workflow.progress import progress
from workflow.project import Project
from workflow.records import Annotation, ImageRecord, Provenance, Sample
from workflow.runner import Outcome
from workflow.stages.push import find_project
from workflow.store import (
    Row,
    read_catalog,
    read_json,
    read_rows,
    sample_to_row,
    write_json,
    write_rows_if_changed,
)

Json = dict[str, Any]
# The clock we read has whole seconds, and a transaction may commit after its timestamp.
OVERLAP = timedelta(seconds=30)
# `include` also filters the fields of the annotations within a task.
FIELDS = (
    "id,data,annotations,predictions,result,was_cancelled,completed_by,lead_time,parent_prediction,updated_at"
)


def run(project: Project, client: Client, full: bool = False) -> Outcome:
    """Write labels.jsonl (one line a pushed image) and ledger.jsonl where anything changed.

    StageError where nothing was pushed; LabelStudioError where a person used a label that is no class
    of the project: then nothing is written.
    """
    start = time.perf_counter()
    records = {r.id: r for r in read_catalog(project.catalog)}
    number = find_project(project, client)
    if number is None:
        raise StageError(f"{client.url} has no project of {project.name}", "workflow push")
    state = read_json(state_path(project), {})
    since = _since(state, client.url, number) if not full and project.labels.exists() else None
    now = client.server_time()
    old = {} if since is None else {row["image"]: row for row in read_rows(project.labels)}
    entries = {} if since is None else {row["image"]: row for row in read_rows(project.ledger)}
    lost: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    labels = dict(old)
    tasks = client.tasks(number, FIELDS, since)
    with progress("pulling", len(records), "tasks") as advance:
        for task in tasks:
            advance()
            record = records.get(task["data"].get("image_id"))
            if record is None:
                lost["task whose image is not in the catalog"] += 1
                continue
            _read_task(project, record, task, labels, entries, lost, unknown)
    if unknown:
        used = ", ".join(f"{label!r} ({n})" for label, n in sorted(unknown.items()))
        raise LabelStudioError(f"labels that are no class of {project.name}: {used}", "add them to classes")
    for image in records.keys() - labels.keys() if full or since is None else ():
        labels[image] = {"image": image, "state": "unlabeled", "annotations": []}
    kept = {image: row for image, row in labels.items() if image in records}
    changed = write_rows_if_changed(project.labels, [kept[i] for i in sorted(kept)])
    write_rows_if_changed(project.ledger, [entries[i] for i in sorted(entries) if i in kept])
    write_json(state_path(project), {"url": client.url, "project": number, "until": now.isoformat()})
    return Outcome("pull", time.perf_counter() - start, _summary(kept, lost), skipped=not changed)


def state_path(project: Project) -> Path:
    return project.marks / "pull.json"


def _since(state: Json, url: str, number: int) -> datetime | None:
    if state.get("url") != url or state.get("project") != number:
        return None
    return datetime.fromisoformat(state["until"]) - OVERLAP


def _read_task(
    project: Project,
    record: ImageRecord,
    task: Json,
    labels: dict[str, Row],
    entries: dict[str, Row],
    lost: Counter[str],
    unknown: Counter[str],
) -> None:
    """Turn one task into its line of labels and its line of the ledger."""
    known = labels.get(record.id)
    decided = known is not None and known["state"] in ("reviewed", "skipped")
    if decided and known["task"] != task["id"] and not task["annotations"]:
        return
    annotation = _latest(task["annotations"])
    meta: Json = {"task": task["id"]}
    if annotation is None:
        state = "predicted" if task["predictions"] else "unlabeled"
        guesses = _prediction(record, task, None) if task["predictions"] else ()
        labels[record.id] = sample_to_row(Sample(record.id, state, tuple(guesses), meta))
        entries.pop(record.id, None)
        return
    who = str(annotation.get("completed_by") or "")
    person = Provenance("person", who, str(annotation["id"]), annotation["updated_at"])
    skipped = bool(annotation["was_cancelled"])
    reading = labelstudio.from_result(
        [] if skipped else annotation["result"] or [], record.width, record.height, person
    )
    lost.update(reading.lost)
    unknown.update(a.label for a in reading.annotations if a.label not in project.settings.classes)
    meta |= {"annotation": annotation["id"], "person": who, "lead_time": annotation["lead_time"] or 0.0}
    state = "skipped" if skipped else "reviewed"
    labels[record.id] = sample_to_row(Sample(record.id, state, tuple(reading.annotations), meta))
    guesses = _prediction(record, task, annotation.get("parent_prediction"))
    entries[record.id] = meta | {
        "image": record.id,
        "split": record.split,
        "blind": record.split in project.settings.push.blind and not task["predictions"],
        "skipped": skipped,
        "actions": [] if skipped else ledger.compare(guesses, reading.annotations),
    }


def _latest(annotations: list[Json]) -> Json | None:
    """The annotation that counts: the latest submitted, a skip only where nothing was."""
    submitted = [a for a in annotations if not a["was_cancelled"]] or annotations
    return max(submitted, key=lambda a: (a["updated_at"], a["id"]), default=None)


def _prediction(record: ImageRecord, task: Json, parent: int | None) -> list[Annotation]:
    """The regions a person started from: the annotation's parent, else the task's latest prediction."""
    if not task["predictions"]:
        return []
    by_id = {p["id"]: p for p in task["predictions"]}
    prediction = by_id.get(parent) or max(task["predictions"], key=lambda p: p["id"])
    name, _, revision = (prediction["model_version"] or "").partition("@")
    model = Provenance("model", name or "unknown", revision)
    return labelstudio.from_result(prediction["result"], record.width, record.height, model).annotations


def _summary(labels: dict[str, Row], lost: Counter[str]) -> str:
    states = Counter(row["state"] for row in labels.values())
    boxes = sum(len(r["annotations"]) for r in labels.values() if r["state"] == "reviewed")
    empty = sum(r["state"] == "reviewed" and not r["annotations"] for r in labels.values())
    waiting = states["predicted"] + states["unlabeled"]
    parts = [f"{states['reviewed']} reviewed ({boxes} boxes, {empty} empty)", f"{states['skipped']} skipped"]
    parts.append(f"{waiting} waiting")
    parts += [f"{n} {reason}" for reason, n in sorted(lost.items())]
    return ", ".join(parts)

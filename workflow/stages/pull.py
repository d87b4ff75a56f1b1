"""Pull the corrected labels back from Label Studio, and keep the ledger of what people did.

Incremental by the server's clock, with an overlap; `full` sweeps everything, and finds deletions.
Drafts are nobody's decision yet and are ignored; a skipped image stays skipped; of several
annotations the latest counts. labels.jsonl is replaced only by a pull that went through.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from workflow import ledger
from workflow.errors import LabelStudioError, StageError
from workflow.formats import labelstudio
from workflow.label_studio import Client
from workflow.progress import progress
from workflow.project import Project
from workflow.records import Annotation, ImageRecord, Provenance, Sample, State
from workflow.runner import Outcome
from workflow.settings import Settings
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
from workflow.tasks import TASKS

Json = dict[str, Any]
# The clock we read has whole seconds, and a transaction may commit after its timestamp.
OVERLAP = timedelta(seconds=30)
# `include` also filters the fields of the annotations within a task.
FIELDS = (
    "id,data,annotations,predictions,result,was_cancelled,completed_by,lead_time,parent_prediction,updated_at"
)


def run(project: Project, client: Client, full: bool = False) -> Outcome:
    """Write labels.jsonl (one line an image) and ledger.jsonl where anything changed.

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
    harvest = _Harvest(project.settings)
    known = (row for row in read_rows(project.labels) if row["image"] in records)
    # A full sweep asks the server for everything, but what was imported only labels.jsonl knows.
    harvest.labels = {row["image"]: row for row in known if since is not None or "imported" in row}
    if since is not None:
        harvest.entries = {row["image"]: row for row in read_rows(project.ledger) if row["image"] in records}
    with progress("pulling", len(records), "tasks") as advance:
        for task in client.tasks(number, FIELDS, since):
            harvest.take(records.get(task["data"].get("image_id")), task)
            advance()
    harvest.refuse_unknown_labels(project.name)
    for image in records.keys() - harvest.labels.keys():
        harvest.labels[image] = sample_to_row(Sample(image, "unlabeled"))
    changed = write_rows_if_changed(project.labels, [row for _, row in sorted(harvest.labels.items())])
    write_rows_if_changed(project.ledger, [row for _, row in sorted(harvest.entries.items())])
    write_json(state_path(project), {"url": client.url, "project": number, "until": now.isoformat()})
    return Outcome("pull", time.perf_counter() - start, harvest.summary(), skipped=not changed)


def state_path(project: Project) -> Path:
    return project.marks / "pull.json"


def _since(state: Json, url: str, number: int) -> datetime | None:
    if state.get("url") != url or state.get("project") != number:
        return None
    return datetime.fromisoformat(state["until"]) - OVERLAP


@dataclass
class _Harvest:
    """What a pull gathers: a line of labels and a line of the ledger an image, and what was lost."""

    settings: Settings
    labels: dict[str, Row] = field(default_factory=dict)
    entries: dict[str, Row] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.controls = labelstudio.controls(self.settings.task, self.settings.push.masks)

    def take(self, record: ImageRecord | None, task: Json) -> None:
        """Turn one task into its image's lines."""
        if record is None:
            self.lost["tasks whose image is not in the catalog"] += 1
            return
        annotation = _latest(task["annotations"])
        if self._decided_elsewhere(record.id, task["id"], annotation):
            return
        if annotation is None:
            guesses = tuple(_prediction(record, task, None, self.controls))
            state: State = "predicted" if guesses else "unlabeled"
            self.labels[record.id] = sample_to_row(Sample(record.id, state, guesses, {"task": task["id"]}))
            self.entries.pop(record.id, None)
            return
        self._take_decision(record, task, annotation)

    def _decided_elsewhere(self, image: str, task: int, annotation: Json | None) -> bool:
        """Whether another task of the same image (a double somebody worked on) has a later decision.

        An imported label stands until a person decides.
        """
        known = self.labels.get(image, {})
        if "imported" in known:
            return annotation is None
        if known.get("task") in (task, None) or known["state"] not in ("reviewed", "skipped"):
            return False
        return annotation is None or annotation["updated_at"] < known["at"]

    def _take_decision(self, record: ImageRecord, task: Json, annotation: Json) -> None:
        who, at = str(annotation.get("completed_by") or ""), annotation["updated_at"]
        skipped = bool(annotation["was_cancelled"])
        result = [] if skipped else annotation["result"] or []
        person = Provenance("person", who, str(annotation["id"]), at)
        reading = labelstudio.from_result(result, record.width, record.height, person, controls=self.controls)
        self.lost.update(reading.lost)
        self._check_labels(reading.annotations)
        meta = {"task": task["id"], "annotation": annotation["id"], "person": who, "at": at}
        meta["lead_time"] = annotation["lead_time"] or 0.0
        state: State = "skipped" if skipped else "reviewed"
        self.labels[record.id] = sample_to_row(Sample(record.id, state, tuple(reading.annotations), meta))
        guesses = _prediction(record, task, annotation.get("parent_prediction"), self.controls)
        self.entries[record.id] = meta | {
            "image": record.id,
            "split": record.split,
            "blind": record.split in self.settings.push.blind and not task["predictions"],
            "skipped": skipped,
            "actions": [] if skipped else ledger.compare(guesses, reading.annotations, self.single),
        }

    @property
    def single(self) -> bool:
        return self.settings.task == "classification"

    def _check_labels(self, annotations: list[Annotation]) -> None:
        for annotation in annotations:
            names = self.settings.keypoints if annotation.keypoints else self.settings.classes
            self.unknown[annotation.label] += annotation.label not in names
        # They are kept as they are: which of them is meant, only a person can say.
        self.lost["images with several labels"] += self.single and len(annotations) > 1

    def refuse_unknown_labels(self, project: str) -> None:
        if unknown := +self.unknown:
            used = ", ".join(f"{label!r} ({n})" for label, n in sorted(unknown.items()))
            where = "classes or keypoints" if self.settings.keypoints else "classes"
            raise LabelStudioError(f"labels that are no class of {project}: {used}", f"add them to {where}")

    def summary(self) -> str:
        states = Counter(row["state"] for row in self.labels.values())
        reviewed = [row["annotations"] for row in self.labels.values() if row["state"] == "reviewed"]
        found, empty = sum(map(len, reviewed)), sum(not a for a in reviewed)
        noun = TASKS[self.settings.task].noun
        waiting = states["predicted"] + states["unlabeled"]
        parts = [f"{len(reviewed)} reviewed ({found} {noun}, {empty} empty)", f"{states['skipped']} skipped"]
        parts.append(f"{waiting} waiting")
        parts += [f"{n} {reason}" for reason, n in sorted((+self.lost).items())]
        return ", ".join(parts)


def _latest(annotations: list[Json]) -> Json | None:
    """The annotation that counts: the latest submitted, a skip only where nothing was."""
    submitted = labelstudio.submitted(annotations) or annotations
    return max(submitted, key=lambda a: (a["updated_at"], a["id"]), default=None)


def _prediction(
    record: ImageRecord, task: Json, parent: int | None, controls: Mapping[str, str]
) -> list[Annotation]:
    """The regions a person started from: the annotation's parent, else the task's latest prediction."""
    if not task["predictions"]:
        return []
    by_id = {p["id"]: p for p in task["predictions"]}
    prediction = by_id.get(parent) or max(task["predictions"], key=lambda p: p["id"])
    name, _, revision = (prediction["model_version"] or "").partition("@")
    model = Provenance("model", name or "unknown", revision)
    return labelstudio.from_result(
        prediction["result"], record.width, record.height, model, controls=controls
    ).annotations

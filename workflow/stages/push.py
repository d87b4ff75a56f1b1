"""Push images and predictions to Label Studio: tasks first, then predictions, by one writer.

Upsert by image id. Nothing a person made is ever deleted or overwritten. What a killed push left on
the server is found there before anything is sent again.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from workflow.errors import LabelStudioError, StageError
from workflow.formats import labelstudio
from workflow.label_studio import Client, chunks
from workflow.progress import progress
from workflow.project import Project
from workflow.records import ImageRecord, Sample
from workflow.runner import Outcome
from workflow.schema import lock_schema
from workflow.stages.preannotate import predictions_path
from workflow.store import (
    digest,
    read_catalog,
    read_json,
    read_rows,
    read_samples,
    write_json,
    write_rows_if_changed,
)

Json = dict[str, Any]
# Pixels by which an outline may cut the stairs of a predicted mask's edge.
STAIRS = 1.25


@dataclass
class Difference:
    """What the server lacks, and what it has more than once."""

    new: list[ImageRecord] = field(default_factory=list)
    unchanged: int = 0
    gone: int = 0
    to_predict: list[str] = field(default_factory=list)
    doubled_tasks: list[int] = field(default_factory=list)
    doubled_predictions: list[int] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        return bool(self.new or self.to_predict or self.doubled_tasks or self.doubled_predictions)

    def __str__(self) -> str:
        parts = [f"{len(self.new)} new tasks", f"{self.unchanged} unchanged"]
        parts.append(f"{len(self.to_predict)} new predictions")
        if self.gone:
            parts.append(f"{self.gone} no longer in the catalog (kept)")
        doubled = len(self.doubled_tasks) + len(self.doubled_predictions)
        if doubled:
            parts.append(f"{doubled} left twice by a killed push (removed)")
        return ", ".join(parts)


def run(project: Project, client: Client, served: str | None, dry_run: bool = False) -> Outcome:
    """Bring the server's tasks and predictions up to date and write pushed.jsonl.

    `served` is the folder, as the server sees it, through which it serves the images; None where
    `push.image_url` says how to reach them. With `dry_run` nothing is sent. LabelStudioError where the
    server refuses something, or lacks afterwards what it was sent.
    """
    start = time.perf_counter()
    if dry_run:
        number = find_project(project, client)
    else:
        settings = project.settings
        lock_schema(project.data, settings.classes, settings.keypoints, project.labels)
        _let_killed_push_land(project)
        number = ensure_project(project, client, served)
    push = _Push(project, client, number or 0)
    tasks = push.server_tasks() if number else {}
    difference = push.difference(tasks)
    if dry_run:
        return Outcome("push", time.perf_counter() - start, f"would send: {difference}")
    push.remove_doubles(difference)
    push.send_tasks(difference.new)
    tasks = push.server_tasks() if difference.changes else tasks
    push.send_predictions(difference.to_predict, tasks)
    push.show_latest_model()
    tasks = push.server_tasks() if difference.to_predict else tasks
    push.check_arrived(tasks)
    push.write_pushed(tasks)
    changed = "".join(f", {n} {reason}" for reason, n in sorted(push.lost.items()))
    did = f"project {number}: {difference}{changed}"
    return Outcome("push", time.perf_counter() - start, did, skipped=not difference.changes)


def link_path(project: Project) -> Any:
    """Which project on which server is ours."""
    return project.data / "label-studio.json"


def link(project: Project) -> Json:
    """Where our project is: url, key and, once it exists, its number `project`."""
    return read_json(link_path(project), {})


def find_project(project: Project, client: Client) -> int | None:
    """The number of our project on this server; None where there is none (yet, or any more)."""
    known = link(project)
    if known.get("url") != client.url:
        return None
    if known.get("project") and client.project(known["project"]):
        return known["project"]
    found = client.find_project(known["key"])
    return found["id"] if found else None


def ensure_project(project: Project, client: Client, served: str | None) -> int:
    """Find or create our project, with today's label config and image folder; its number."""
    known = link(project)
    if known.get("url") != client.url:
        known = {"url": client.url, "key": digest([project.name, client.url, time.time_ns()])}
        # The key is on disk before the project exists, so that a killed run finds what it made.
        write_json(link_path(project), known)
    number = find_project(project, client)
    settings = project.settings
    config = labelstudio.label_config(
        settings.classes, settings.task, settings.keypoints, settings.push.masks
    )
    if number is None:
        description = f"Made by workflow for the project {project.name}, key {known['key']}"
        with _Sending(project, 0):
            number = client.create_project(settings.title, description, config)["id"]
    elif (client.project(number) or {}).get("label_config") != config:
        client.patch(f"api/projects/{number}/", {"label_config": config})
    if known.get("project") != number:
        write_json(link_path(project), known | {"project": number})
    if served is not None:
        client.serve_folder(number, served, project.name)
    return number


def version(sample: Sample) -> str:
    """Label Studio's model_version: who guessed, at which revision of weights and settings."""
    if not sample.annotations:
        return ""
    provenance = sample.annotations[0].provenance
    return f"{provenance.name}@{provenance.revision[:8]}"


def _has_human_work(task: Json) -> bool:
    return bool(task.get("annotations") or task.get("drafts") or task.get("total_annotations"))


def _worth(task: Json) -> tuple[bool, int]:
    """Sort key that keeps the task somebody worked on, else the oldest."""
    return not _has_human_work(task), task["id"]


@dataclass
class _Push:
    """One push: our images and guesses against project `number` of one server."""

    project: Project
    client: Client
    number: int

    def __post_init__(self) -> None:
        self.records = {r.id: r for r in read_catalog(self.project.catalog)}
        self.guesses = read_samples(predictions_path(self.project))
        settings = self.project.settings
        self.controls = labelstudio.controls(settings.task, settings.push.masks)
        self.lost: Counter[str] = Counter()

    def _lose(self, reason: str) -> None:
        self.lost[reason] += 1

    def server_tasks(self) -> dict[str, list[Json]]:
        """The server's tasks by image id; tasks that are not ours carry none and are left alone."""
        tasks = defaultdict(list)
        for task in self.client.tasks(self.number, "id,data,annotations,predictions,drafts"):
            if key := task["data"].get("image_id"):
                tasks[key].append(task)
        return tasks

    def difference(self, tasks: dict[str, list[Json]]) -> Difference:
        difference = Difference(gone=len(tasks.keys() - self.records.keys()))
        for image, record in self.records.items():
            ranked = sorted(tasks.get(image, []), key=_worth)
            if ranked:
                difference.unchanged += 1
            else:
                difference.new.append(record)
            difference.doubled_tasks += [t["id"] for t in ranked[1:] if not _has_human_work(t)]
            sample = self._guess(record)
            if sample is None:
                continue
            pushed = ranked[0]["predictions"] if ranked else []
            versions = [p["id"] for p in pushed if p["model_version"] == version(sample)]
            difference.doubled_predictions += versions[1:]
            if not versions:
                difference.to_predict.append(image)
        return difference

    def _guess(self, record: ImageRecord) -> Sample | None:
        """What to push of an image besides itself: nothing where it is blind, or the model saw nothing."""
        sample = self.guesses.get(record.id)
        blind = record.split in self.project.settings.push.blind
        return sample if sample and sample.annotations and not blind else None

    def remove_doubles(self, difference: Difference) -> None:
        for number in difference.doubled_predictions:
            self.client.delete(f"api/predictions/{number}/")
        for number in difference.doubled_tasks:
            self.client.delete(f"api/tasks/{number}/")

    def send_tasks(self, records: list[ImageRecord]) -> None:
        with progress("pushing tasks", len(records), "tasks") as advance:
            for part in chunks(records):
                with _Sending(self.project, len(part)):
                    self.client.import_tasks(self.number, [{"data": self._data(r)} for r in part])
                advance(len(part))

    def _data(self, record: ImageRecord) -> Json:
        template = self.project.settings.push.image_url
        url = labelstudio.local_file_url(self.project.name, record.path)
        if template is not None:
            url = labelstudio.url_of(template, record.path)
        return {"image": url, "image_id": record.id, "file": record.path, "split": record.split}

    def send_predictions(self, images: list[str], tasks: dict[str, list[Json]]) -> None:
        with progress("pushing predictions", len(images), "tasks") as advance:
            for part in chunks(images):
                bodies = [self._prediction(image, min(tasks[image], key=_worth)["id"]) for image in part]
                with _Sending(self.project, len(part)):
                    self.client.import_predictions(self.number, bodies)
                advance(len(part))

    def _prediction(self, image: str, task: int) -> Json:
        sample, record = self.guesses[image], self.records[image]
        size = (record.width, record.height)
        taken = labelstudio.acceptable(sample.annotations, *size, self._lose)
        shown = labelstudio.fit(taken, self.controls, *size, self._lose, STAIRS)
        result = labelstudio.to_result(shown, *size, controls=self.controls)
        # The least certain guess makes the task's score, by which the server can sort the unsure first.
        score = min((a.score for a in sample.annotations if a.score is not None), default=0.0)
        return {"task": task, "model_version": version(sample), "score": score, "result": result}

    def show_latest_model(self) -> None:
        """Bulk imports leave the project's model version empty, and the label stream would open blank."""
        guesses = filter(None, map(self._guess, self.records.values()))
        current = next((version(sample) for sample in guesses), None)
        shown = (self.client.project(self.number) or {}).get("model_version")
        if current and shown != current:
            self.client.patch(f"api/projects/{self.number}/", {"model_version": current})

    def check_arrived(self, tasks: dict[str, list[Json]]) -> None:
        """Count back, from the server, what it should have now."""
        left = self.difference(tasks)
        if left.new or left.to_predict:
            what = f"{len(left.new)} tasks and {len(left.to_predict)} predictions"
            raise LabelStudioError(f"{self.client.url} lacks {what} it was sent", "workflow push again")

    def write_pushed(self, tasks: dict[str, list[Json]]) -> None:
        rows = []
        for image in sorted(self.records.keys() & tasks.keys()):
            task = min(tasks[image], key=_worth)
            guesses = [{"id": p["id"], "version": p["model_version"]} for p in task["predictions"]]
            rows.append({"image": image, "task": task["id"], "predictions": guesses})
        write_rows_if_changed(self.project.pushed, rows)


class _Sending:
    """Marks on disk that a request is under way, until it is known to have ended."""

    def __init__(self, project: Project, count: int) -> None:
        self.path = sending_path(project)
        self.count = count

    def __enter__(self) -> None:
        # A busy server takes at least 100 a second; see the fact that it may finish after we are killed.
        write_json(self.path, {"until": time.time() + 5 + self.count / 100})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.path.unlink(missing_ok=True)


def sending_path(project: Project) -> Any:
    return project.data / ".stages" / "sending.json"


def _let_killed_push_land(project: Project) -> None:
    """Wait for a request whose sender was killed: the server finishes it, and it must not be repeated."""
    mark = read_json(sending_path(project))
    if mark:
        time.sleep(min(max(mark["until"] - time.time(), 0), 60))
        sending_path(project).unlink(missing_ok=True)


def pushed_tasks(project: Project) -> dict[str, int]:
    """Image id -> task number. StageError where nothing was pushed."""
    if not project.pushed.exists():
        raise StageError(f"{project.pushed} does not exist: nothing was pushed", "workflow push")
    return {row["image"]: row["task"] for row in read_rows(project.pushed)}

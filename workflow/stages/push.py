"""Push images and predictions to Label Studio: tasks first, then predictions, by one writer.

Upsert by image id. Nothing a person made is ever deleted or overwritten. What a killed push left on
the server is found there before anything is sent again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from workflow.errors import LabelStudioError, StageError
from workflow.formats import labelstudio
from workflow.label_studio import Client, chunks
from workflow.progress import progress
from workflow.project import Project
from workflow.records import ImageRecord, Sample
from workflow.runner import Outcome
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


@dataclass
class Difference:
    """What the server lacks, and what it has more than once."""

    new: list[ImageRecord] = field(default_factory=list)
    unchanged: int = 0
    gone: int = 0
    to_predict: list[str] = field(default_factory=list)
    doubled_tasks: list[int] = field(default_factory=list)
    doubled_predictions: list[int] = field(default_factory=list)

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
    `push.image_url` says how to reach them.
    """
    start = time.perf_counter()
    records = read_catalog(project.catalog)
    predictions = read_samples(predictions_path(project))
    if dry_run:
        number = find_project(project, client)
        tasks = _server_tasks(client, number) if number else {}
        did = f"would send: {_difference(project, records, predictions, tasks)}"
        return Outcome("push", time.perf_counter() - start, did)
    _let_killed_push_land(project)
    number = ensure_project(project, client, served)
    tasks = _server_tasks(client, number)
    difference = _difference(project, records, predictions, tasks)
    _remove_doubles(client, difference)
    _send_tasks(project, client, number, difference.new)
    tasks = _server_tasks(client, number) if difference.new or difference.doubled_tasks else tasks
    _check_arrived(client, records, tasks)
    _send_predictions(project, client, number, records, predictions, tasks, difference)
    _write_pushed(project, client, number, records)
    nothing = not (difference.new or difference.to_predict or difference.doubled_tasks)
    return Outcome("push", time.perf_counter() - start, f"project {number}: {difference}", skipped=nothing)


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
    config = labelstudio.label_config(settings.classes)
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


def _difference(
    project: Project, records: list[ImageRecord], predictions: dict[str, Sample], tasks: dict[str, list[Json]]
) -> Difference:
    blind = project.settings.push.blind
    difference = Difference(gone=len(tasks.keys() - {r.id for r in records}))
    for record in records:
        here = tasks.get(record.id, [])
        if here:
            difference.unchanged += 1
        else:
            difference.new.append(record)
        ranked = sorted(here, key=_worth)
        difference.doubled_tasks += [t["id"] for t in ranked[1:] if not _has_human_work(t)]
        sample = predictions.get(record.id)
        if sample is None or record.split in blind:
            continue
        pushed = ranked[0]["predictions"] if ranked else []
        versions = [p for p in pushed if p["model_version"] == version(sample)]
        difference.doubled_predictions += [p["id"] for p in versions[1:]]
        if sample.annotations and not versions:
            difference.to_predict.append(record.id)
    return difference


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


def _server_tasks(client: Client, number: int) -> dict[str, list[Json]]:
    """The server's tasks by image id; tasks that are not ours carry none and are left alone."""
    tasks = defaultdict(list)
    for task in client.tasks(number, "id,data,annotations,predictions,drafts"):
        if key := task["data"].get("image_id"):
            tasks[key].append(task)
    return tasks


def _remove_doubles(client: Client, difference: Difference) -> None:
    for number in difference.doubled_predictions:
        client.delete(f"api/predictions/{number}/")
    for number in difference.doubled_tasks:
        client.delete(f"api/tasks/{number}/")


def _send_tasks(project: Project, client: Client, number: int, records: list[ImageRecord]) -> None:
    with progress("pushing tasks", len(records), "tasks") as advance:
        for part in chunks(records):
            with _Sending(project, len(part)):
                client.import_tasks(number, [{"data": _task_data(project, r)} for r in part])
            advance(len(part))


def _task_data(project: Project, record: ImageRecord) -> Json:
    template = project.settings.push.image_url
    url = labelstudio.local_file_url(project.name, record.path)
    if template is not None:
        url = labelstudio.url_of(template, record.path)
    return {"image": url, "image_id": record.id, "file": record.path, "split": record.split}


def _send_predictions(
    project: Project,
    client: Client,
    number: int,
    records: list[ImageRecord],
    predictions: dict[str, Sample],
    tasks: dict[str, list[Json]],
    difference: Difference,
) -> None:
    sizes = {r.id: (r.width, r.height) for r in records}
    bodies = []
    for image in difference.to_predict:
        sample = predictions[image]
        result = labelstudio.to_result(sample.annotations, *sizes[image])
        scores = [a.score for a in sample.annotations if a.score is not None]
        task = min(tasks[image], key=_worth)["id"]
        bodies.append(
            {"task": task, "model_version": version(sample), "score": min(scores), "result": result}
        )
    with progress("pushing predictions", len(bodies), "tasks") as advance:
        for part in chunks(bodies):
            with _Sending(project, len(part)):
                client.import_predictions(number, part)
            advance(len(part))
    # Bulk imports leave the project's model version empty, and the label stream would open blank.
    current = next((version(s) for s in predictions.values() if s.annotations), "")
    if (
        current
        and (client.project(number) or {}).get("model_version") != current
        and _any_pushed(project, predictions, records)
    ):
        client.patch(f"api/projects/{number}/", {"model_version": current})


def _any_pushed(project: Project, predictions: dict[str, Sample], records: Iterable[ImageRecord]) -> bool:
    open_splits = [r for r in records if r.split not in project.settings.push.blind]
    return any(predictions[r.id].annotations for r in open_splits if r.id in predictions)


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


def _check_arrived(client: Client, records: list[ImageRecord], tasks: dict[str, list[Json]]) -> None:
    missing = sum(r.id not in tasks for r in records)
    if missing:
        raise LabelStudioError(f"{client.url} lost {missing} of {len(records)} tasks", "workflow push again")


def _write_pushed(project: Project, client: Client, number: int, records: list[ImageRecord]) -> None:
    known = {r.id for r in records}
    rows = []
    for image, tasks in _server_tasks(client, number).items():
        if image in known:
            task = min(tasks, key=_worth)
            guesses = [{"id": p["id"], "version": p["model_version"]} for p in task["predictions"]]
            rows.append({"image": image, "task": task["id"], "predictions": guesses})
    write_rows_if_changed(project.pushed, sorted(rows, key=lambda row: row["image"]))


def pushed_tasks(project: Project) -> dict[str, int]:
    """Image id -> task number. StageError where nothing was pushed."""
    if not project.pushed.exists():
        raise StageError(f"{project.pushed} does not exist: nothing was pushed", "workflow push")
    return {row["image"]: row["task"] for row in read_rows(project.pushed)}

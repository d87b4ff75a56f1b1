"""The simulated reviewer: a person who knows the truth, acting only through Label Studio's API.

It takes the next task with its prediction, keeps what is right (IoU and class), moves, relabels,
deletes and adds, submits with `parent_prediction`, an `origin` a region and a `lead_time` from a stated
cost model; it skips what nobody could read. It is the only one who reads the truth file.
"""

from __future__ import annotations

import copy
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from workflow.errors import StageError
from workflow.formats import labelstudio
from workflow.geometry import box_iou
from workflow.label_studio import Client
from workflow.ledger import MATCH_IOU, CostModel, compare
from workflow.progress import progress
from workflow.project import Project
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.runner import Outcome
from workflow.settings import Review
from workflow.stages.push import find_project
from workflow.store import read_catalog, read_rows

Json = dict[str, Any]
NAMESPACE = uuid.UUID("6f1c1c0e-2f3b-5d6a-9a53-6e6f0c1d2b7a")
TRUTH = Provenance("person", "simulated reviewer")


def run(project: Project, client: Client, limit: int | None = None) -> Outcome:
    """Review every task that waits, or the first `limit`; StageError where no truth file is set."""
    start = time.perf_counter()
    settings = project.settings.review
    truth = {row["file"]: row for row in read_rows(truth_file(project))}
    number = find_project(project, client)
    if number is None:
        raise StageError(f"{client.url} has no project of {project.name}", "workflow push")
    records = {r.id: r for r in read_catalog(project.catalog)}
    waiting = (client.project(number) or {}).get("task_number", 0)
    done = skipped = 0
    with progress("reviewing", min(limit or waiting, waiting), "tasks") as advance:
        while (limit is None or done < limit) and (task := client.next_task(number)):
            record = records[task["data"]["image_id"]]
            annotation = _review(record, task, truth[record.path], settings)
            client.annotate(task["id"], annotation)
            done += 1
            skipped += annotation["was_cancelled"]
            advance()
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


def cost_model(settings: Review) -> CostModel:
    return CostModel(settings.look, settings.move, settings.relabel, settings.delete, settings.add)


def _review(record: ImageRecord, task: Json, truth: Json, settings: Review) -> Json:
    """The annotation a careful person would submit for one task."""
    prediction = task["predictions"][-1] if task.get("predictions") else None
    # The same review again has the same name, so that the server refuses a second copy of it.
    name = str(uuid.uuid5(NAMESPACE, f"{task['id']}/{prediction['id'] if prediction else 0}"))
    common: Json = {"unique_id": name, "parent_prediction": prediction["id"] if prediction else None}
    cost = cost_model(settings)
    if truth.get("unreadable"):
        return common | {"result": [], "was_cancelled": True, "lead_time": cost.look}
    right = [Annotation(b["label"], TRUTH, box=tuple(b["box"])) for b in truth["boxes"]]
    result, actions = _correct(record, prediction, right, settings.accept_iou)
    return common | {"result": result, "was_cancelled": False, "lead_time": cost.seconds(actions)}


def _correct(
    record: ImageRecord, prediction: Json | None, right: list[Annotation], accept_iou: float
) -> tuple[list[Json], list[Json]]:
    """The corrected regions, and the actions it took."""
    regions = copy.deepcopy(prediction["result"]) if prediction else []
    guesses = labelstudio.from_result(regions, record.width, record.height, TRUTH).annotations
    result, used = [], set()
    for guess, truth_index, iou in _pair(guesses, right):
        region = next(r for r in regions if str(r["id"]) == guess.id)
        used.add(truth_index)
        wanted = right[truth_index]
        result.append(_mend(record, region, guess, wanted, iou >= accept_iou))
    for index, wanted in enumerate(right):
        if index not in used:
            region = labelstudio.to_result([wanted], record.width, record.height)[0]
            result.append(region | {"id": f"added{index}", "origin": "manual"})
    corrected = labelstudio.from_result(result, record.width, record.height, TRUTH).annotations
    return result, compare(guesses, corrected)


def _pair(guesses: list[Annotation], right: list[Annotation]) -> list[tuple[Annotation, int, float]]:
    """Each guess worth keeping with the truth it means: by overlap, best first, one to one."""
    if not guesses or not right:
        return []
    overlap = box_iou(np.array([g.box for g in guesses]), np.array([r.box for r in right]))
    pairs: list[tuple[Annotation, int, float]] = []
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = (int(i) for i in np.unravel_index(flat, overlap.shape))
        taken = any(guesses[row] is g or column == c for g, c, _ in pairs)
        if not taken and overlap[row, column] >= MATCH_IOU:
            pairs.append((guesses[row], column, float(overlap[row, column])))
    return pairs


def _mend(record: ImageRecord, region: Json, guess: Annotation, wanted: Annotation, fits: bool) -> Json:
    """A predicted region as a person leaves it: untouched where it fits and is named right."""
    if fits and guess.label == wanted.label:
        return region | {"origin": "prediction"}
    exact = labelstudio.to_result([wanted], record.width, record.height)[0]["value"]
    value = region["value"] | {"rectanglelabels": [wanted.label]}
    return region | {"value": value if fits else exact, "origin": "prediction-changed"}

"""The simulated reviewer: a person who knows the truth, acting only through Label Studio's API.

It takes the next task with its prediction, keeps what is right (IoU and class), moves, reshapes,
relabels, deletes and adds, submits with `parent_prediction`, an `origin` a region and a `lead_time` from
a stated cost model; it skips what nobody could read.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from workflow.labels.ledger import MATCH_IOU, compare
from workflow.labels.ledger.account import cost_model
from workflow.labelstudio.client import Client
from workflow.labelstudio.interface import Interface
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.regions import PART
from workflow.project.paths import Project
from workflow.project.rows import (
    Row,
    annotation_from_row,
    append_rows,
    appending,
    drop_half_line,
    read_catalog,
)
from workflow.project.settings import Settings
from workflow.records import Annotation, ImageRecord, Json, Provenance
from workflow.running.progress import progress
from workflow.shapes import overlap

NAMESPACE = uuid.UUID("6f1c1c0e-2f3b-5d6a-9a53-6e6f0c1d2b7a")
REVIEWER = Provenance("person", "simulated reviewer")
# Pixels by which a keypoint may be off before a person bothers to move it.
NEAR = 3.0


def review(
    project: Project, client: Client, number: int, truth: Mapping[str, Row], limit: int | None = None
) -> tuple[int, int]:
    """Review every task of project `number` that waits, or the first `limit`: how many, and how many skipped.

    `truth` has, by an image's path, {annotations}, or {unreadable} for what nobody could label.
    """
    records = {r.id: r for r in read_catalog(project.catalog)}
    interface = interface_of(project)
    waiting = (client.project(number) or {}).get("task_number", 0)
    done = skipped = 0
    drop_half_line(project.simulated)
    asked = min(limit or waiting, waiting)
    with progress("reviewing", asked, "tasks") as advance, appending(project.simulated) as simulated:
        while (limit is None or done < limit) and (task := client.next_task(number)):
            record = records[task["data"]["image_id"]]
            annotation = _review(record, task, truth[record.path], project.settings, interface)
            # First, so that no label of a program's can be taken for a person's.
            append_rows(simulated, [{"image": record.id, "task": task["id"]}])
            client.annotate(task["id"], annotation)
            done += 1
            skipped += annotation["was_cancelled"]
            advance()
    return done, skipped


def _review(record: ImageRecord, task: Json, truth: Json, settings: Settings, interface: Interface) -> Json:
    """The annotation a careful person would submit for one task."""
    prediction = task["predictions"][-1] if task.get("predictions") else None
    # The same review again has the same name, so that the server refuses a second copy of it.
    name = str(uuid.uuid5(NAMESPACE, f"{task['id']}/{prediction['id'] if prediction else 0}"))
    common: Json = {"unique_id": name, "parent_prediction": prediction["id"] if prediction else None}
    cost = cost_model(settings.review)
    if truth.get("unreadable"):
        return common | {"result": [], "was_cancelled": True, "lead_time": cost.look}
    person = {"provenance": {"kind": REVIEWER.kind, "name": REVIEWER.name}}
    right = [annotation_from_row(row | person) for row in truth["annotations"]]
    regions = copy.deepcopy(prediction["result"]) if prediction else []
    reviewer = _Reviewer(record, settings, interface)
    result = reviewer.correct(regions, right)
    actions = compare(reviewer.read(regions), reviewer.read(result), settings.schema.task.exclusive)
    return common | {"result": result, "was_cancelled": False, "lead_time": cost.seconds(actions)}


class _Reviewer:
    """Corrects the regions of one image, through the controls of the project's labeling interface."""

    def __init__(self, record: ImageRecord, settings: Settings, interface: Interface) -> None:
        self.size = (record.width, record.height)
        self.interface = interface
        self.accept_iou = settings.review.accept_iou

    def read(self, regions: list[Json]) -> list[Annotation]:
        return self.interface.read(regions, *self.size, REVIEWER).annotations

    def kept(self, label: str) -> str:
        """The name under which the server keeps a class."""
        return self.interface.stored.get(label, label)

    def draw(self, annotations: Sequence[Annotation]) -> list[Json]:
        """Regions as exact as the controls allow: what they cannot show (a hole) is left as it is."""
        shown = self.interface.fit(annotations, *self.size, lambda reason: None)
        return self.interface.write(shown, *self.size)

    def correct(self, regions: list[Json], right: list[Annotation]) -> list[Json]:
        """The regions of a prediction as they should be."""
        if "choices" in self.interface.controls:
            return self._choose(regions, right)
        guesses = self.read(regions)
        result: list[Json] = []
        # The guess that stands for each object of the truth, by its number and by its name.
        kept: dict[int, Annotation] = {}
        names: dict[str, str] = {}
        objects = [n for n, wanted in enumerate(right) if wanted.keypoints is None]
        shapes = [guess for guess in guesses if guess.keypoints is None]
        for guess, number, iou in _pair(shapes, [right[n] for n in objects]):
            kept[objects[number]] = guess
            names[right[objects[number]].id] = guess.id
            result += self._mend(regions, guess, right[objects[number]], iou >= self.accept_iou)
        for number in objects:
            if number not in kept:
                name = f"added{number}"
                names[right[number].id] = name
                result += self._add(replace(right[number], id=name))
        points = [guess for guess in guesses if guess.keypoints is not None]
        for number, wanted in enumerate(right):
            if wanted.keypoints is not None:
                parent = names.get(wanted.parent, "") if wanted.parent else ""
                wanted = replace(wanted, id=f"added{number}", parent=parent)
                result += self._put_point(regions, points, wanted)
        return result

    def _choose(self, regions: list[Json], right: list[Annotation]) -> list[Json]:
        """Labels of the whole image: one region names them all."""
        if not right or not regions:
            return [region | {"origin": "manual"} for region in self.draw(right)]
        was, now = regions[0]["value"]["choices"], [self.kept(a.label) for a in right]
        if sorted(was) == sorted(now):
            return [regions[0] | {"origin": "prediction"}]
        return [regions[0] | {"value": {"choices": now}, "origin": "prediction-changed"}]

    def _put_point(self, regions: list[Json], points: list[Annotation], wanted: Annotation) -> list[Json]:
        """The point of that name on that object, left where it is if it is near."""
        for guess in points:
            if (guess.label, guess.parent) == (wanted.label, wanted.parent) and guess.id:
                apart = np.linalg.norm(np.array(guess.keypoints) - np.array(wanted.keypoints))
                return self._mend(regions, guess, wanted, bool(apart <= NEAR))
        return self._add(wanted)

    def _add(self, wanted: Annotation) -> list[Json]:
        return [region | {"origin": "manual"} for region in self.draw([wanted])]

    def _mend(self, regions: list[Json], guess: Annotation, wanted: Annotation, fits: bool) -> list[Json]:
        """A predicted region, or all its parts, as a person leaves it: untouched where it is right."""
        own = [r for r in regions if str(r["id"]).split(PART)[0] == guess.id]
        same = guess.ignored == wanted.ignored
        if fits and same and guess.label == wanted.label:
            return [region | {"origin": "prediction"} for region in own]
        changed: Json = {"origin": "prediction-changed"}
        if fits and same:
            return [r | {"value": r["value"] | {r["type"]: [self.kept(wanted.label)]}} | changed for r in own]
        score = {key: value for key, value in own[0].items() if key == "score"}
        exact = self.draw([replace(wanted, id=guess.id, parent=guess.parent)])
        return [region | score | changed for region in exact]


def _pair(guesses: list[Annotation], right: list[Annotation]) -> list[tuple[Annotation, int, float]]:
    """Each guess worth keeping with the truth it means: by overlap, best first, one to one."""
    shared = overlap.iou(guesses, right)
    pairs: list[tuple[Annotation, int, float]] = []
    for flat in np.argsort(-shared, axis=None, kind="stable"):
        row, column = (int(i) for i in np.unravel_index(flat, shared.shape))
        taken = any(guesses[row] is g or column == c for g, c, _ in pairs)
        if not taken and shared[row, column] >= MATCH_IOU:
            pairs.append((guesses[row], column, float(shared[row, column])))
    return pairs

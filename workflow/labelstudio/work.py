"""Reads Label Studio's tasks as what people did: their opinions, and the guesses each started from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from workflow.labels.agreement import Opinion
from workflow.labels.blind import blindness
from workflow.labels.work import Guesses, Work
from workflow.labelstudio.client import Client, chunks
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.pushed import PushedGuesses
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.records import Annotation, ImageRecord, Json, Provenance

# `include` also filters the fields of the annotations within a task. Predictions are not asked for: they
# take as long again as all the rest, and what we pushed we know.
FIELDS = (
    "id,data,annotations,predictions_model_versions,result,was_cancelled,ground_truth,completed_by,lead_time,"
    "parent_prediction,updated_at"
)
PREDICTIONS = "id,predictions,result,model_version"
# Tasks whose predictions are asked for at once.
BATCH = 200
Predictions = Mapping[int, Json]


class TaskReader:
    """Reads project `number` of a server: see `workflow.review.WorkReader`."""

    def __init__(
        self,
        project: Project,
        client: Client,
        number: int,
        records: Mapping[str, ImageRecord],
        model_of: Callable[[str, int], str],
    ) -> None:
        self.client, self.number, self.records, self.model_of = client, number, records, model_of
        self.schema, self.settings = project.settings.schema, project.settings.push
        self.interface = interface_of(project)
        self.pushed = RowFile(project.pushed)
        self.pushed_guesses = PushedGuesses(project)
        self.losses: Counter[str] = Counter()
        self.seen: set[int] = set()
        self.absent: dict[str, int] = {}

    def read(self, since: datetime | None = None, tasks: Sequence[int] | None = None) -> Iterator[Work]:
        """The work on all tasks, on those changed `since`, or on those numbered; doubles of an image too."""
        for part in [None] if tasks is None else chunks(tasks, BATCH):
            waiting: list[tuple[ImageRecord, Json]] = []
            for task in self.client.tasks(self.number, FIELDS, since, part):
                record = self._record(task)
                if record is None:
                    continue
                if self._knows_guesses(record, task):
                    yield self._work(record, task, {})
                else:
                    waiting.append((record, task))
                if len(waiting) >= BATCH:
                    yield from self._with_predictions(waiting)
                    waiting = []
            yield from self._with_predictions(waiting)

    def _record(self, task: Json) -> ImageRecord | None:
        """The image of a task; None, noted, where the catalog has none."""
        self.seen.add(task["id"])
        image = task["data"].get("image_id", "")
        record = self.records.get(image)
        if record is None:
            if image:
                self.absent[image] = task["id"]
            self.losses["tasks whose image is not in the catalog"] += 1
        return record

    def _knows_guesses(self, record: ImageRecord, task: Json) -> bool:
        """Whether no prediction of the task must be fetched to know what people started from."""
        names = versions_of(task)
        return not names or (len(names) == 1 and self.pushed_guesses.last(names[0], record.id) is not None)

    def _with_predictions(self, waiting: Sequence[tuple[ImageRecord, Json]]) -> Iterator[Work]:
        """Tasks with predictions that another machine pushed, or with several of them."""
        if not waiting:
            return
        numbers = [task["id"] for _, task in waiting]
        by_task = {
            task["id"]: {p["id"]: p for p in task["predictions"]}
            for task in self.client.tasks(self.number, PREDICTIONS, numbers=numbers)
        }
        for record, task in waiting:
            yield self._work(record, task, by_task.get(task["id"], {}))

    def _work(self, record: ImageRecord, task: Json, predictions: Predictions) -> Work:
        opinions = [self._opinion(record, a) for a in each_persons_last(task["annotations"])]
        unknown = [(o.person, a.label) for o in opinions for a in o.annotations if self._is_unknown(a)]
        pushed = self.pushed.row(record.id)
        return Work(
            record.id,
            task["id"],
            tuple(opinions),
            tuple(self._guesses(record, task, opinion, predictions) for opinion in opinions),
            self._guesses(record, task, None, predictions),
            pushed.get("blind", "") if pushed else blindness(record, self.settings),
            tuple(dict.fromkeys(unknown)),
        )

    def _opinion(self, record: ImageRecord, annotation: Json) -> Opinion:
        who, at = person_of(annotation), annotation["updated_at"]
        skipped = bool(annotation["was_cancelled"])
        result = [] if skipped else annotation["result"] or []
        person = Provenance("person", who, str(annotation["id"]), at)
        reading = self.interface.read(result, record.width, record.height, person)
        self.losses.update(reading.lost)
        return Opinion(
            who,
            annotation["id"],
            at,
            skipped,
            bool(annotation.get("ground_truth")),
            tuple(reading.annotations),
            annotation["lead_time"] or 0.0,
            annotation.get("parent_prediction"),
            tuple(reading.relations),
        )

    def _is_unknown(self, annotation: Annotation) -> bool:
        names = self.schema.keypoints if annotation.keypoints else self.schema.classes
        return annotation.label not in (*names, *self.interface.ignore)

    def _guesses(
        self, record: ImageRecord, task: Json, opinion: Opinion | None, predictions: Predictions
    ) -> Guesses:
        """What a person started from: the prediction their annotation names, else the task's latest.

        Where a newer model's has replaced it meanwhile, an earlier pull may have written down whose it was.
        """
        parent = predictions.get(opinion.parent) if opinion and opinion.parent else None
        known = self.model_of(record.id, opinion.number) if opinion and not opinion.parent else ""
        version = parent["model_version"] if parent else known
        if not version:
            latest = max(predictions.values(), key=lambda p: p["id"], default=None)
            version = latest["model_version"] if latest else next(iter(versions_of(task)), "")
            parent = parent or latest
        pushed = self.pushed_guesses.last(version, record.id) if version else None
        result = pushed["result"] if pushed else parent["result"] if parent else []
        name, _, revision = (version or "").partition("@")
        model = Provenance("model", name or "unknown", revision)
        reading = self.interface.read(result, record.width, record.height, model)
        silent = (self.pushed.row(record.id) or {}).get("saw_nothing", "")
        return Guesses(version or silent, tuple(reading.annotations))


def versions_of(task: Json) -> list[str]:
    """The model versions that guessed at a task, by the column that names each once."""
    names = (task.get("predictions_model_versions") or "").split(",")
    return sorted(name.strip() for name in names if name.strip())


def person_of(annotation: Json) -> str:
    """The number of who submitted an annotation, as text: a list has it bare, an export within a record."""
    who = annotation.get("completed_by")
    return str(who.get("id") if isinstance(who, dict) else who or "")


def each_persons_last(annotations: Sequence[Json]) -> list[Json]:
    """Of each person the latest annotation; a skip only where that person submitted nothing."""
    last: dict[str, Json] = {}
    for annotation in sorted(annotations, key=lambda a: (not a["was_cancelled"], a["updated_at"], a["id"])):
        last[person_of(annotation)] = annotation
    return [last[person] for person in sorted(last)]

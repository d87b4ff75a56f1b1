"""What a pull gathers: each image's labels, what people did to its guesses, where they disagree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workflow.errors import LabelStudioError
from workflow.labels import agreement, ledger, probes
from workflow.labels.agreement import Opinion
from workflow.labels.blind import blindness
from workflow.labelstudio.client import Client
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.pushed import Sent
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, relation_to_row, sample_to_row
from workflow.records import Annotation, ImageRecord, Provenance, Sample, State

Json = dict[str, Any]
# `include` also filters the fields of the annotations within a task. Predictions are not asked for: they
# take as long again as all the rest, and what we pushed we know.
FIELDS = (
    "id,data,annotations,predictions_model_versions,result,was_cancelled,ground_truth,completed_by,lead_time,"
    "parent_prediction,updated_at"
)
PREDICTIONS = "id,predictions,result,model_version"
DECIDED = ("reviewed", "skipped")
# Tasks whose predictions are asked for at once.
BATCH = 200


class Harvest:
    """Takes tasks one by one; its files say afterwards what labels, ledger and disagreements should be."""

    def __init__(
        self, project: Project, client: Client, number: int, records: Mapping[str, ImageRecord]
    ) -> None:
        self.project, self.client, self.number, self.records = project, client, number, records
        self.settings = project.settings
        self.interface = interface_of(project)
        self.single = self.settings.schema.task.exclusive
        self.labels = RowFile(project.labels)
        self.ledger = RowFile(project.ledger)
        self.disputes = RowFile(project.disagreements)
        self.pushed = RowFile(project.pushed)
        self.sent = Sent(project)
        self.lost: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.seen: set[int] = set()
        # Image -> task where the image is not in the catalog: when it is back, its task must be asked for.
        self.absent: dict[str, int] = {}
        self._waiting: list[tuple[ImageRecord, Json]] = []

    def take(self, task: Json) -> None:
        """Turn one task into its image's lines, or let it wait for the predictions it needs."""
        self.seen.add(task["id"])
        image = task["data"].get("image_id", "")
        record = self.records.get(image)
        if record is None:
            if image:
                self.absent[image] = task["id"]
            self.lost["tasks whose image is not in the catalog"] += 1
            return
        if self._knows_guesses(record, task):
            self._take(record, task, {})
            return
        self._waiting.append((record, task))
        if len(self._waiting) >= BATCH:
            self.finish()

    def finish(self) -> None:
        """Take the tasks that wait for predictions another machine pushed, or of which several are there."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        numbers = [task["id"] for _, task in waiting]
        there = {
            task["id"]: {p["id"]: p for p in task["predictions"]}
            for task in self.client.tasks(self.number, PREDICTIONS, numbers=numbers)
        }
        for record, task in waiting:
            self._take(record, task, there.get(task["id"], {}))

    def overlooked(self, absent: Mapping[str, int]) -> list[int]:
        """Tasks of images that are back, `absent` before or without a line, which this pull has not seen."""
        back = {task for image, task in absent.items() if image in self.records}
        self.absent |= {image: task for image, task in absent.items() if image not in self.records}
        unknown = self.records.keys() - set(self.labels)
        pushed = {row["task"] for image in unknown if (row := self.pushed.row(image))}
        return sorted((pushed | back) - self.seen)

    def settle(self) -> None:
        """A line for each image of the catalog; of others only what people decided is kept."""
        for image in set(self.labels) - self.records.keys():
            if (self.labels.row(image) or {})["state"] in DECIDED:
                self.lost["labels kept whose images are not in the catalog"] += 1
            else:
                self.labels.drop(image)
        for image in self.records.keys() - set(self.labels):
            self.labels.put(image, sample_to_row(Sample(image, "unlabeled")))

    def look_for_deleted(self, drop: bool) -> None:
        """After a full sweep: images with labels whose task is gone from the server."""
        for image in list(self.labels):
            row = self.labels.row(image) or {}
            if row.get("task") in self.seen or "imported" in row:
                continue
            if row["state"] not in DECIDED:
                self.labels.drop(image)
            elif drop:
                self.labels.drop(image)
                self.ledger.drop(image)
                self.lost["labels dropped, as their tasks were deleted (workflow history has them)"] += 1
            else:
                self.lost["labels kept whose tasks were deleted (--drop-deleted forgets them)"] += 1

    def refuse_unknown_labels(self) -> None:
        if unknown := +self.unknown:
            used = ", ".join(f"{label!r} ({n})" for label, n in sorted(unknown.items()))
            where = "classes or keypoints" if self.settings.keypoints else "classes"
            what = f"labels that are no class of {self.project.name}: {used}"
            raise LabelStudioError(what, f"add them to {where}")

    def _knows_guesses(self, record: ImageRecord, task: Json) -> bool:
        """Whether no prediction of the task must be fetched to know what people started from."""
        versions = _versions(task)
        return not versions or (len(versions) == 1 and self.sent.find(versions[0], record.id) is not None)

    def _take(self, record: ImageRecord, task: Json, predictions: dict[int, Json]) -> None:
        opinions, entries = [], []
        for annotation in _each_persons_last(task["annotations"]):
            opinion = self._opinion(record, annotation)
            guesses, version = self._guesses(record, task, opinion, predictions)
            left, planted = probes.judge(guesses, opinion.annotations)
            opinions.append(replace(opinion, annotations=left))
            shown = list(probes.without(guesses))
            entry = self._entry(record, task, opinions[-1], shown, version)
            entries.append(entry | ({"probes": planted} if planted and not opinion.skipped else {}))
        if self._decided_elsewhere(record.id, task["id"], opinions):
            return
        verdict = agreement.decide(opinions, self.settings.pull, self.single)
        self._write_down_disputes(record, task, opinions)
        if verdict.state is None:
            if opinions:
                self.lost["images people have not agreed on"] += 1
            self._undecided(record, task, predictions)
        else:
            meta = _meta(task["id"], verdict.of)
            if verdict.relations:
                meta["relations"] = [relation_to_row(relation) for relation in verdict.relations]
            annotations = verdict.annotations if verdict.state == "reviewed" else ()
            self.lost["relations whose regions do not count"] += verdict.severed
            self.lost["images with several labels"] += self.single and len(annotations) > 1
            self.labels.put(record.id, sample_to_row(Sample(record.id, verdict.state, annotations, meta)))
        self.ledger.put(record.id, *entries)

    def _undecided(self, record: ImageRecord, task: Json, predictions: dict[int, Json]) -> None:
        guesses = probes.without(self._guesses(record, task, None, predictions)[0])
        state: State = "predicted" if guesses else "unlabeled"
        self.labels.put(record.id, sample_to_row(Sample(record.id, state, guesses, {"task": task["id"]})))

    def _decided_elsewhere(self, image: str, task: int, opinions: list[Opinion]) -> bool:
        """Whether another task of the same image (a double somebody worked on) has a later decision.

        An imported label stands until a person decides.
        """
        known = self.labels.row(image) or {}
        if "imported" in known:
            return not opinions
        if known.get("task") in (task, None) or known["state"] not in DECIDED:
            return False
        return not opinions or max(o.at for o in opinions) < known["at"]

    def _opinion(self, record: ImageRecord, annotation: Json) -> Opinion:
        who, at = _person(annotation), annotation["updated_at"]
        skipped = bool(annotation["was_cancelled"])
        result = [] if skipped else annotation["result"] or []
        person = Provenance("person", who, str(annotation["id"]), at)
        reading = self.interface.read(result, record.width, record.height, person)
        self.lost.update(reading.lost)
        for a in reading.annotations:
            names = self.settings.keypoints if a.keypoints else self.settings.classes
            self.unknown[a.label] += a.label not in names
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

    def _entry(
        self, record: ImageRecord, task: Json, opinion: Opinion, guesses: list[Annotation], version: str
    ) -> Row:
        """What one person did to the guesses they were shown."""
        pushed = self.pushed.row(record.id) or {}
        blind = pushed.get("blind", "") if pushed else blindness(record, self.settings.push)
        version = version or pushed.get("saw_nothing", "")
        blind = "" if guesses else blind
        row = _meta(task["id"], (opinion,)) | {
            "image": record.id,
            "split": record.split,
            "model": "" if blind else version,
            "blind": bool(blind),
            "control": blind == "control",
            "skipped": opinion.skipped,
        }
        actions = [] if opinion.skipped else ledger.compare(guesses, opinion.annotations, self.single)
        return row | {"actions": actions}

    def _guesses(
        self, record: ImageRecord, task: Json, opinion: Opinion | None, predictions: dict[int, Json]
    ) -> tuple[list[Annotation], str]:
        """The regions a person started from, and whose: the annotation's parent, else the task's latest.

        Where the parent was replaced by a newer model's meanwhile, the ledger still knows which it was.
        """
        parent = predictions.get(opinion.parent) if opinion and opinion.parent else None
        version = parent["model_version"] if parent else self._known_model(record.id, opinion)
        if not version:
            latest = max(predictions.values(), key=lambda p: p["id"], default=None)
            version = latest["model_version"] if latest else next(iter(_versions(task)), "")
            parent = parent or latest
        sent = self.sent.find(version, record.id) if version else None
        result = sent["result"] if sent else parent["result"] if parent else []
        name, _, revision = (version or "").partition("@")
        model = Provenance("model", name or "unknown", revision)
        reading = self.interface.read(result, record.width, record.height, model)
        return reading.annotations, version or ""

    def _known_model(self, image: str, opinion: Opinion | None) -> str:
        if opinion is None or opinion.parent:
            return ""
        entries = self.ledger.rows(image)
        return next((e.get("model", "") for e in entries if e["annotation"] == opinion.number), "")

    def _write_down_disputes(self, record: ImageRecord, task: Json, opinions: list[Opinion]) -> None:
        rows = agreement.disagreements(opinions, self.settings.pull, self.single)
        if not rows:
            self.disputes.drop(record.id)
            return
        names = [opinion.person for opinion in opinions]
        row = {"image": record.id, "file": record.path, "task": task["id"], "people": names, "on": rows}
        self.disputes.put(record.id, row)


def _versions(task: Json) -> list[str]:
    names = (task.get("predictions_model_versions") or "").split(",")
    return sorted(name.strip() for name in names if name.strip())


def _person(annotation: Json) -> str:
    who = annotation.get("completed_by")
    return str(who.get("id") if isinstance(who, dict) else who or "")


def _each_persons_last(annotations: list[Json]) -> list[Json]:
    """Of each person the latest annotation; a skip only where that person submitted nothing."""
    last: dict[str, Json] = {}
    for annotation in sorted(annotations, key=lambda a: (not a["was_cancelled"], a["updated_at"], a["id"])):
        last[_person(annotation)] = annotation
    return [last[person] for person in sorted(last)]


def _meta(task: int, opinions: tuple[Opinion, ...]) -> Row:
    """Who decided, when, in how many seconds; of several people the names together, and the last's time."""
    latest = max(opinions, key=lambda o: (o.at, o.number))
    names = ", ".join(opinion.person for opinion in opinions)
    meta = {"task": task, "annotation": latest.number, "person": names, "at": latest.at}
    return meta | {"lead_time": sum(opinion.seconds for opinion in opinions)}

"""Sends what a server lacks of a project's images and guesses, and sees that it arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import orjson

from workflow.errors import LostAnswer
from workflow.labels import order
from workflow.labels.blind import blindness
from workflow.labels.excluded import excluded
from workflow.labelstudio.client import Client, chunks
from workflow.labelstudio.project import RequestMark
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push import difference as compared
from workflow.labelstudio.push import moves
from workflow.labelstudio.push.addresses import address
from workflow.labelstudio.push.difference import LASTING, Difference, ServerTask, Tasks, data_of
from workflow.labelstudio.push.prediction import as_prediction
from workflow.labelstudio.pushed import PushedGuesses, version_of_row
from workflow.labelstudio.where import remote, remote_path
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, read_catalog, sample_from_row, write_json, write_rows_if_changed
from workflow.records import ImageRecord, Json, Sample
from workflow.running.ahead import ahead
from workflow.running.progress import progress

# Files named in a preview of each part of the difference.
SHOWN = 10


class Upload:
    """One push: our images and guesses against project `number` of one server."""

    def __init__(self, project: Project, client: Client, number: int, guesses: Path) -> None:
        self.project, self.client, self.number = project, client, number
        self.settings = project.settings.push
        self.records = {r.id: r for r in read_catalog(project.catalog)}
        self.guesses = RowFile(guesses, records=self.records.values())
        self.pushed_guesses = PushedGuesses(project)
        self.interface = interface_of(project)
        self.excluded = excluded(project)
        # By image, as an image whose answer got lost is converted again.
        self.losses: dict[str, Counter[str]] = {}
        self.scores: order.Scores = {}
        self.versions = self._versions()
        self.tasks: Tasks = {}
        self.difference = Difference()
        # By what our addresses differ from another folder's.
        self.place = self.settings.image_url or project.name
        # What is told of images whose address changes.
        self.moves: list[str] = []

    def _versions(self) -> dict[str, str]:
        """The version to push of each image; images pushed without a guess are not in it.

        Where unsure images come first, blind ones get an empty guess of that version, by which the server
        sorts them in.
        """
        versions: dict[str, str] = {}
        sure: dict[str, float] = {}
        for image in self.records.keys() & set(self.guesses):
            guesses = (self.guesses.row(image) or {}).get("annotations", [])
            versions[image] = version_of_row(guesses)
            if (score := order.sureness(a.get("score") for a in guesses)) is not None:
                sure[image] = score
        self.latest = latest = next((name for name in versions.values() if name), "")
        if self.settings.order == "uncertain":
            self.scores = order.spread(list(self.records), sure)
            return {image: versions.get(image) or latest for image in self.records} if latest else {}
        blind = {image for image, record in self.records.items() if blindness(record, self.settings)}
        return {image: name for image, name in versions.items() if name and image not in blind}

    def _sample(self, image: str) -> Sample:
        row = self.guesses.row(image)
        return sample_from_row(row) if row else Sample(image, "predicted")

    def look(self) -> Difference:
        """Compare with what the server has now."""
        self.tasks, doubled = compared.list_tasks(self.client, self.number, self.interface.data_key)
        self.difference = self.compare(self.tasks)
        if doubled:
            self.difference.doubled_predictions += compared.doubled_predictions(self.client, self.number)
        return self.difference

    def compare(self, tasks: Tasks) -> Difference:
        self.difference = compared.compare(
            self.records,
            tasks,
            lambda record: self.versions.get(record.id, ""),
            lambda record: data_of(self._data(record), self.interface.data_key),
            self.excluded,
        )
        return self.difference

    def preview(self) -> Iterator[str]:
        """The first files of each part of the difference, for people to see what would be."""
        to_predict = [self.records[image] for image in self.difference.to_predict]
        parts = {"new": self.difference.new, "moved": self.difference.outdated, "predict": to_predict}
        for what, records in parts.items():
            yield from (f"{what:<8} {record.path}" for record in records[:SHOWN])
            if len(records) > SHOWN:
                yield f"{what:<8} ... and {len(records) - SHOWN} more"

    def send(self) -> None:
        """Send what the server lacks, and check that it has it."""
        difference = self.difference
        for number in difference.doubled_predictions:
            self.client.delete(f"api/predictions/{number}/")
        for number in difference.doubled_tasks:
            self.client.delete(f"api/tasks/{number}/")
        self._move(difference.outdated)
        before = self._counts()
        rows = map(self._row, difference.to_predict)
        # Guesses become regions while the server makes tasks, and the next ones while it takes these. Before,
        # two threads of Python would only wait for each other.
        start = cache(lambda: ahead(chunks(rows, weight=lambda row: len(row["result"]))))
        numbers = self._send_tasks(difference.new, start)
        removed = self._send_predictions(start(), len(difference.to_predict), numbers)
        self._show_latest_model()
        self._check(before, numbers, removed)
        self._write_pushed()

    def _counts(self) -> tuple[int, int]:
        """How many tasks and predictions the server counts in the project."""
        project = self.client.project(self.number) or {}
        return project.get("task_number", 0), project.get("total_predictions_number", 0)

    def _check(self, before: tuple[int, int], numbers: dict[str, int], removed: int) -> None:
        """See that everything arrived: by the server's counts, and where they are others, by a new look."""
        difference = self.difference
        wanted = (before[0] + len(numbers), before[1] + len(difference.to_predict) - removed)
        counted = not (difference.outdated or difference.doubled_tasks or removed)
        if counted and self._counts() == wanted:
            now = {image: self._now(image, numbers) for image in {*numbers, *difference.to_predict}}
            self.tasks = {**self.tasks, **now}
        elif difference.changes and (left := self.look()).changes:
            what = f"{len(left.new)} tasks and {len(left.to_predict)} predictions"
            raise LostAnswer(f"{self.client.url} lacks {what} it was sent", "workflow push again")

    def _now(self, image: str, numbers: dict[str, int]) -> list[ServerTask]:
        """The tasks of an image as they must be now."""
        new = image in numbers
        data = data_of(self._data(self.records[image]), self.interface.data_key)
        ranked = sorted(self.tasks.get(image, []), key=lambda t: t.worth)
        first = ServerTask(numbers[image], (), False, data) if new else ranked[0]
        name = self.versions.get(image)
        versions = tuple(sorted({*first.versions, *([name] if name else [])}))
        return [replace(first, versions=versions), *ranked[1:]]

    def _data(self, record: ImageRecord) -> Json:
        data = {
            self.interface.data_key: address(self.project.name, record, self.settings.image_url),
            "image_id": record.id,
        }
        data |= {"file": record.path, "split": record.split}
        # How early people should see it, as of its creation: a column to sort by in the data manager.
        return data | ({"priority": round(1 - self.scores[record.id], 4)} if self.scores else {})

    def _move(self, records: list[ImageRecord]) -> None:
        """Tell tasks where their image is now, and in which split: nothing else of them."""
        keys = (self.interface.data_key, *LASTING)
        now = [data_of(self._data(record), self.interface.data_key) for record in records]
        tasks = [min(self.tasks[record.id], key=lambda task: task.worth) for record in records]
        unchanged = remote(self.project).get("address") == self.place
        self.moves = self.moves or moves.notes(tasks, now, unchanged)
        with progress("moving images", len(records), "tasks") as advance:
            for change, numbers in moves.changes(tasks, now, keys).items():
                moves.apply(self.client, self.number, change, numbers)
            advance(len(records))

    def _number(self, image: str) -> int:
        return min(self.tasks[image], key=lambda task: task.worth).number

    def _send_tasks(self, records: list[ImageRecord], meanwhile: Callable[[], object]) -> dict[str, int]:
        """Create tasks, the unsure first where that is wanted; their numbers by image.

        `meanwhile` is called when the server is about to work.
        """
        numbers: dict[str, int] = {}
        records = sorted(records, key=lambda r: self.scores.get(r.id, 0.0))
        with progress("pushing tasks", len(records), "tasks") as advance:
            for part in chunks(records):
                tasks = [{"data": self._data(r)} for r in part]
                with self._mark(len(part), "task_number"):
                    meanwhile()
                    made = self.client.import_tasks(self.number, tasks)
                numbers |= zip((r.id for r in part), made, strict=True)
                advance(len(part))
        return numbers

    def _mark(self, count: int, adds: str) -> RequestMark:
        before = (self.client.project(self.number) or {}).get(adds, 0)
        return RequestMark(self.project, count, self.number, adds, before)

    def _send_predictions(self, parts: Iterator[list[Row]], count: int, numbers: dict[str, int]) -> int:
        """Send them part by part; how many old ones made room."""
        removed = 0
        with progress("pushing predictions", count, "tasks") as advance:
            for part in parts:
                removed += self._send_part(part, numbers)
                advance(len(part))
        return removed

    def _send_part(self, rows: list[Row], numbers: dict[str, int]) -> int:
        for name in {row["version"] for row in rows}:
            self.pushed_guesses.keep(name, [row for row in rows if row["version"] == name])
        bodies = [
            {
                "task": numbers.get(row["image"]) or self._number(row["image"]),
                "model_version": row["version"],
                "score": row["score"],
                "result": orjson.Fragment(row["result"]),
            }
            for row in rows
        ]
        removed = 0
        if self.settings.versions == "replace":
            removed = self._remove_old([row["image"] for row in rows])
        with self._mark(len(rows), "total_predictions_number"):
            self.client.import_predictions(self.number, bodies)
        return removed

    def _remove_old(self, images: list[str]) -> int:
        """Where nobody has worked, and every guess is ours: what people started from is kept."""
        tasks = [min(self.tasks[i], key=lambda t: t.worth) for i in images if i in self.tasks]
        old = [task for task in tasks if task.versions and task.only_ours and not task.worked_on]
        if old:
            self.client.delete_predictions_of(self.number, [task.number for task in old])
        return sum(len(task.versions) for task in old)

    def _row(self, image: str) -> Row:
        """What is sent of an image besides itself, as `PushedGuesses` keeps it; the regions as JSON text."""
        losses = self.losses[image] = Counter()
        settings, record = self.project.settings, self.records[image]
        row = as_prediction(
            self._sample(image), record, settings, self.interface, lambda why: losses.update([why])
        )
        row |= {"version": self.versions[image], "score": self.scores.get(image, row["score"])}
        # As bytes, in which ten thousand results are as large as the request, not ten times that.
        return row | {"result": orjson.dumps(row["result"])}

    def _show_latest_model(self) -> None:
        """Bulk imports leave the project's model version empty, and the label stream would open blank."""
        current = next(iter(self.versions.values()), None)
        shown = (self.client.project(self.number) or {}).get("model_version")
        if current and shown != current:
            self.client.patch(f"api/projects/{self.number}/", {"model_version": current})

    def _write_pushed(self) -> None:
        rows = []
        for image in sorted(self.records.keys() & self.tasks.keys()):
            task = min(self.tasks[image], key=lambda t: t.worth)
            blind = blindness(self.records[image], self.settings)
            row = {"image": image, "task": task.number, "versions": list(task.versions)}
            if blind:
                row["blind"] = blind
            elif self.latest and image in self.guesses and image not in self.versions:
                # Nothing to push, and yet it was looked at: whose silence people judged.
                row["saw_nothing"] = self.latest
            rows.append(row)
        write_rows_if_changed(self.project.pushed, rows)
        known = remote(self.project)
        if known.get("address") != self.place:
            write_json(remote_path(self.project), known | {"address": self.place})

"""Label Studio as the tool people review in: see `workflow.review.ReviewTool`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from workflow.errors import LabelStudioError, StageError
from workflow.labelstudio import reviewer, suspects, tabs
from workflow.labelstudio.client import Client
from workflow.labelstudio.live.serving import serving
from workflow.labelstudio.project import find_project
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push import delivery
from workflow.labelstudio.work import FIELDS, TaskReader, person_of
from workflow.project.paths import Project
from workflow.project.rows import Row
from workflow.records import ImageRecord
from workflow.review import Delivery, Flagged, Help, Whose


class LabelStudio:
    """One server. `served` is the image folder as the server sees it; None where `push.image_url` is set."""

    def __init__(self, client: Client, served: str | None = None) -> None:
        self.client, self.served, self.url = client, served, client.url

    def place(self, project: Project) -> Row | None:
        number = find_project(project, self.client)
        return None if number is None else {"url": self.url, "project": number}

    def page(self, project: Project, to_review: bool = False) -> str:
        page = f"{self.url}/projects/{self._number(project)}"
        return f"{page}/data?labeling=1" if to_review else page

    def waiting(self, project: Project) -> tuple[int, int]:
        counts = self.client.project(self._number(project)) or {}
        skipped = counts.get("skipped_annotations_number", 0)
        return counts["task_number"] - counts["num_tasks_with_annotations"] - skipped, counts["task_number"]

    def now(self) -> datetime:
        return self.client.server_time()

    def push(self, project: Project, guesses: Path, whose: Whose = "") -> Delivery:
        return delivery.push(project, self.client, self.served, guesses, whose)

    def preview(self, project: Project, guesses: Path) -> Delivery:
        return delivery.preview(project, self.client, guesses)

    def work(
        self, project: Project, records: Mapping[str, ImageRecord], model_of: Callable[[str, int], str]
    ) -> TaskReader:
        return TaskReader(project, self.client, self._number(project), records, model_of)

    def reads_by(self, project: Project) -> Row:
        interface = interface_of(project)
        controls = {"controls": dict(interface.controls), "stored": dict(interface.stored)}
        ignore = {"ignore": list(interface.ignore)} if interface.ignore else {}
        return controls | {"image": interface.image} | ignore

    def mark_truth(self, project: Project, task: int, person: str = "") -> str:
        found = next(self.client.tasks(self._number(project), FIELDS, numbers=[task]), None)
        if found is None:
            raise LabelStudioError(
                f"project {self._number(project)} has no task {task}", "workflow disagreements"
            )
        given = [a for a in found["annotations"] if not a["was_cancelled"]]
        own = [a for a in given if person in ("", person_of(a))]
        if not own:
            people = ", ".join(sorted(map(person_of, given))) or "nobody"
            raise LabelStudioError(
                f"task {task} has no annotation of {person or 'anybody'}", f"there is one of {people}"
            )
        last = max(own, key=lambda a: (a["updated_at"], a["id"]))
        self.client.patch(f"api/annotations/{last['id']}/", {"ground_truth": True})
        return person_of(last)

    def people(self) -> Mapping[str, tuple[str, str]]:
        return self.client.people()

    def point_out(self, project: Project, title: str, tasks: Sequence[int]) -> None:
        tabs.point_out(project, self.client, self._number(project), title, tasks)

    def review(self, project: Project, truth: Mapping[str, Row], limit: int | None) -> tuple[int, int]:
        return reviewer.review(project, self.client, self._number(project), truth, limit)

    def flag(self, project: Project, reasons: Mapping[str, str]) -> Flagged:
        return suspects.flag(project, self.client, self._number(project), reasons)

    def helping(self, project: Project, help: Help, port: int | None) -> AbstractContextManager[str]:
        return serving(project, help, port, self.client, self._number(project))

    def _number(self, project: Project) -> int:
        number = find_project(project, self.client)
        if number is None:
            raise StageError(f"{self.url} has no project of {project.name}", "workflow push")
        return number

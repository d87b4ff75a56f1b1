"""Label Studio as the tool people review in: see `workflow.review.ReviewTool`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from workflow.errors import StageError
from workflow.labelstudio import reviewer, suspects
from workflow.labelstudio.client import Client
from workflow.labelstudio.live.serving import serving
from workflow.labelstudio.project import find_project
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push import delivery
from workflow.labelstudio.work import TaskReader
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
        return controls | {"image": interface.image}

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

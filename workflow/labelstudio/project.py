"""Which project on which server is ours; and what a killed push may have under way there."""

from __future__ import annotations

import time
from pathlib import Path

from workflow.labelstudio.client import Client
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push import conflict
from workflow.labelstudio.push.addresses import copies_of
from workflow.labelstudio.tabs import make_tabs
from workflow.labelstudio.where import remote, remote_path
from workflow.project.paths import Project
from workflow.project.rows import digest, read_json, write_json
from workflow.project.text import read_text
from workflow.records import Json
from workflow.review import Whose

# Label Studio's words for the order in which its label stream serves tasks.
SAMPLING = {"catalog": "Sequential sampling", "uncertain": "Uncertainty sampling"}
# Classes named in a project's description.
MOST_NAMED = 12
# Seconds a request may go on after who sent it is gone, and tasks or predictions a busy server takes in one.
GRACE, RATE = 10, 100


def find_project(project: Project, client: Client) -> int | None:
    """The number of our project on this server; None where there is none (yet, or any more)."""
    known = remote(project)
    if known.get("url") != client.url:
        return None
    if known.get("project") and client.project(known["project"]):
        return known["project"]
    ours = client.find_project(known["key"])
    return ours["id"] if ours else None


def ensure_project(
    project: Project, client: Client, served: str | None, whose: Whose = ""
) -> tuple[int, list[str]]:
    """Find or create our project, with today's interface, order and image folder.

    Its number, and in words what somebody had changed there. LabelStudioError where that would be lost, and
    nobody says `whose` counts.
    """
    known = remote(project)
    if known.get("url") != client.url:
        known = {"url": client.url, "key": digest([project.name, client.url, time.time_ns()])}
        # The key is on disk before the project exists, so that a killed run finds what it made.
        write_json(remote_path(project), known)
    number = find_project(project, client)
    settings = wanted_settings(project)
    lines: list[str] = []
    if number is None:
        description = _description(project, known["key"])
        with RequestMark(project, 0):
            number = client.create_project(project.settings.title, description, settings)["id"]
        kept: dict[str, str] = {}
    else:
        changes = conflict.compare(settings, client.project(number) or {}, known, whose)
        conflict.refuse(changes, number)
        if changes.send:
            client.patch(f"api/projects/{number}/", changes.send)
        lines, kept = changes.lines(), changes.kept
    sent = {key: value for key, value in settings.items() if key not in kept}
    now = known | {"project": number, "sent": known.get("sent", {}) | sent, "kept": kept}
    if now != known:
        write_json(remote_path(project), now)
    if served is not None:
        client.serve_folder(number, served, project.name)
        if project.copies.exists():
            client.serve_folder(number, copies_of(served), copies_of(project.name))
    make_tabs(project, client, number)
    return number, lines


def wanted_settings(project: Project) -> Json:
    """What we set of a project on the server: its labeling interface, the order of its tasks, how many
    people see each, and the project's `instructions.md`, shown before labeling.
    """
    # The server keeps no space around it.
    config = interface_of(project).config.strip()
    push = project.settings.push
    wanted: Json = {"label_config": config, "sampling": SAMPLING[push.order]}
    if push.annotations_per_task is not None:
        wanted["maximum_annotations"] = push.annotations_per_task
    path = project.instructions
    if path.exists():
        wanted |= {"expert_instruction": to_html(read_text(path)), "show_instruction": True}
    elif remote(project).get("sent", {}).get("expert_instruction"):
        # The file was there, and is gone.
        wanted |= {"expert_instruction": "", "show_instruction": False}
    return wanted


def to_html(text: str) -> str:
    """Markdown as HTML, which the server keeps as it is; HTML within is shown as text."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).render(text).strip()


def _description(project: Project, key: str) -> str:
    """What people read on the project's card; its key is that by which we find it again."""
    names = ", ".join(project.settings.classes[:MOST_NAMED])
    more = len(project.settings.classes) - MOST_NAMED
    classes = f"{names} and {more} more" if more > 0 else names
    task = project.settings.task.replace("-", " ").capitalize()
    return f"{task}: {classes}. Pushed by workflow from {project.name} ({key})."


def forget_empty(project: Project, client: Client, number: int) -> None:
    """Take back a project that was created and got no task, so that no empty one is left behind."""
    counts = client.project(number)
    if counts and not counts.get("task_number") and not counts.get("num_tasks_with_annotations"):
        client.delete(f"api/projects/{number}/")
        write_json(remote_path(project), {k: v for k, v in remote(project).items() if k in ("url", "key")})


class RequestMark:
    """Marks on disk that a request is under way, until it is known to have ended.

    `adds` says by how much which of the project's own counts will have grown when the server is done.
    """

    def __init__(
        self, project: Project, count: int, number: int = 0, adds: str = "", before: int = 0
    ) -> None:
        self.path = mark_path(project)
        self.mark: Json = {"until": time.time() + GRACE + count / RATE}
        if adds:
            self.mark |= {"project": number, "counted": adds, "reaches": before + count}

    def __enter__(self) -> None:
        write_json(self.path, self.mark)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.path.unlink(missing_ok=True)


def mark_path(project: Project) -> Path:
    return project.marks / "sending.json"


def let_land(project: Project, client: Client) -> None:
    """Wait for a request whose answer nobody heard: the server finishes it, and it must not be repeated."""
    mark = read_json(mark_path(project))
    if not mark:
        return
    while (left := mark["until"] - time.time()) > 0:
        if "reaches" in mark:
            counts = client.project(mark["project"]) or {}
            if counts.get(mark["counted"], 0) >= mark["reaches"]:
                break
        time.sleep(min(left, 1))
    mark_path(project).unlink(missing_ok=True)

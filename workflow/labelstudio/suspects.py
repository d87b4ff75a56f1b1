"""Tasks that somebody should look at again: the reason in their data, and a tab that lists them.

Nothing else of a task is touched: the data manager's `add_data_field` sets a field of many tasks, and leaves
annotations, predictions and `updated_at` alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from workflow.labelstudio import tabs
from workflow.labelstudio.client import Client, chunks
from workflow.labelstudio.push import moves
from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.review import Flagged

FIELD, TAB = "look_again", "Look again"
# Tasks that are asked for at once.
BATCH = 500


def flag(project: Project, client: Client, number: int, reasons: Mapping[str, str]) -> Flagged:
    """Say on the tasks of images why somebody should look again; an empty reason takes it back.

    What the server says already is not sent. Images without a task are told.
    """
    tasks = {row["image"]: row["task"] for row in read_rows(project.pushed)}
    wanted = {tasks[image]: why for image, why in reasons.items() if image in tasks}
    there = {
        task["id"]: str(task["data"].get(FIELD) or "")
        for part in chunks(sorted(wanted), BATCH)
        for task in client.tasks(number, "id,data", numbers=part)
    }
    grouped: dict[str, list[int]] = defaultdict(list)
    for task, said in there.items():
        if said != wanted[task]:
            grouped[wanted[task]].append(task)
    for why, several in grouped.items():
        moves.apply(client, number, moves.Change(FIELD, why), several)
    if any(wanted[task] for task in there):
        _make_tab(client, number)
    missing = tuple(i for i, why in reasons.items() if why and tasks.get(i) not in there)
    told = sum(len(several) for why, several in grouped.items() if why)
    return Flagged(
        told, len(grouped.get("", ())), missing, f"{client.url}/projects/{number}/data, tab {TAB!r}"
    )


def _make_tab(client: Client, number: int) -> None:
    """A tab of the data manager with all tasks that carry a reason; people may change it, or remove it."""
    if TAB not in tabs.there(client, number):
        reason = {
            "filter": f"filter:tasks:data.{FIELD}",
            "operator": "empty",
            "type": "String",
            "value": "false",
        }
        tabs.make(client, number, TAB, [reason])

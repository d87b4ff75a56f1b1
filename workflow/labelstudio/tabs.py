"""Tabs of the project's table of tasks: what is to do, what was skipped, and what is worth another look.

They are made once. What people do with them, change, rename or close, stays; only the tabs that name
tasks one by one (`point_out`) are brought up to date, as long as they are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from workflow.labelstudio.client import Client
from workflow.labelstudio.where import remember, remote
from workflow.project.paths import Project
from workflow.records import Json

NOT_YET: tuple[Json, ...] = (
    {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0},
    {"filter": "filter:tasks:cancelled_annotations", "operator": "equal", "type": "Number", "value": 0},
)
SKIPPED: Json = {
    "filter": "filter:tasks:cancelled_annotations",
    "operator": "greater",
    "type": "Number",
    "value": 0,
}
TABS: dict[str, tuple[Json, ...]] = {"All": (), "To do": NOT_YET, "Skipped": (SKIPPED,)}
# What the product keeps in a task for itself.
FOR_US = ("tasks:data.image_id", "tasks:data.split", "tasks:data.priority")


def make_tabs(project: Project, client: Client, number: int) -> None:
    """Make the tabs that were never made in this project of the server."""
    made: dict[str, int] = remote(project).get("tabs", {})
    if missing := [title for title in TABS if title not in made]:
        known = there(client, number)
        for title in missing:
            # A push that was killed may have made it already.
            made |= {title: known.get(title) or make(client, number, title, TABS[title])}
            remember(project, tabs=made)


def point_out(project: Project, client: Client, number: int, title: str, tasks: Sequence[int]) -> None:
    """Bring the tab of these tasks up to date: there while there are any, gone when there are none."""
    made: dict[str, int] = remote(project).get("tabs", {})
    known = there(client, number)
    view = made.get(title)
    if view not in known.values():
        view = known.get(title)
    if not tasks:
        if view is not None:
            client.delete(f"api/dm/views/{view}/")
        remember(project, tabs={name: n for name, n in made.items() if name != title})
        return
    named = {"filter": "filter:tasks:id", "operator": "in_list", "type": "List", "value": sorted(tasks)}
    if view is None:
        view = make(client, number, title, (named,))
    else:
        shown = {"title": title, "filters": _all_of((named,)), "hiddenColumns": _hidden(client, number)}
        client.patch(f"api/dm/views/{view}/", {"project": number, "data": shown})
    remember(project, tabs=made | {title: view})


def there(client: Client, number: int) -> dict[str, int]:
    """The tabs by title, each with its number."""
    views = client.get("api/dm/views/", project=number) or []
    return {(view.get("data") or {}).get("title", ""): view["id"] for view in views}


def make(client: Client, number: int, title: str, conditions: Sequence[Json]) -> int:
    """Make a tab of the tasks that meet all `conditions`, filters of the data manager; its number."""
    data = {"title": title, "filters": _all_of(conditions), "hiddenColumns": _hidden(client, number)}
    return client.post("api/dm/views/", {"project": number, "data": data})["id"]


def _all_of(conditions: Sequence[Json]) -> Json:
    return {"conjunction": "and", "items": list(conditions)}


def _hidden(client: Client, number: int) -> dict[str, list[str]]:
    """The columns Label Studio hides by itself, and ours."""
    columns = (client.get("api/dm/columns", project=number) or {}).get("columns", [])
    hidden = {}
    for where in ("explore", "labeling"):
        by_default = [
            f"tasks:{c['id']}"
            for c in columns
            if c.get("parent") != "data" and not c.get("visibility_defaults", {}).get(where, True)
        ]
        hidden[where] = [*by_default, *FOR_US]
    return hidden

"""What people disagree on, place by place, and a tab of their tasks in the tool where they settle it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workflow.errors import StageError
from workflow.labels.people import called
from workflow.project.paths import Project
from workflow.project.rows import Row, read_rows
from workflow.review import ReviewTool


def describe(project: Project) -> str:
    """A line a task, and one a place. StageError where nothing was pulled."""
    if not project.labels.exists():
        raise StageError(f"{project.labels} does not exist: nothing was pulled", "workflow pull")
    rows = sorted(read_rows(project.disagreements), key=lambda row: row["task"])
    if not rows:
        return f"{project.name}: people disagree on nothing"
    name = called(project)
    lines = [f"{project.name}: people disagree on {len(rows)} images"]
    for row in rows:
        people = ", ".join(map(name, row["people"]))
        lines.append(f"task {row['task']}  {row['file']}  ({people})")
        lines += (f"  {place}" for place in _places(row["on"], name))
    return "\n".join(lines)


def push(project: Project, tool: ReviewTool) -> str:
    """Bring the tool's tab of disputed tasks up to date; where it is, in words."""
    tasks = [row["task"] for row in read_rows(project.disagreements)]
    tool.point_out(project, "Disputed", tasks)
    return f"{len(tasks)} tasks in the tab Disputed of {tool.page(project)}"


def _places(places: list[Row], name: Callable[[str], str]) -> Iterator[str]:
    for place in places:
        said = (
            f"{label or 'skipped'}: {', '.join(map(name, who))}" for label, who in place["labels"].items()
        )
        ignored = f"; ignored: {', '.join(map(name, place['ignored']))}" if place.get("ignored") else ""
        where = f" at {', '.join(f'{x:.0f}' for x in place['box'])}" if place.get("box") else ""
        yield f"{place['what']}{where}: {'; '.join(said)}{ignored}"

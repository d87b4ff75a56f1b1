"""What labels.jsonl was before: a list of its changes, and the way back to each."""

from __future__ import annotations

from workflow.labels import history
from workflow.project.paths import Project


def describe(project: Project) -> str:
    """A line a change, the oldest first."""
    changes = history.changes(project)
    if not changes:
        return f"{project.name}: no labels were pulled or imported yet"
    lines = [f"{'change':>6}  {'when (UTC)':<19}  {'images':>6}  by"]
    for change in changes:
        when = change.at[:19].replace("T", " ")
        damage = f"  ({change.damage})" if change.damage else ""
        lines.append(f"{change.number:>6}  {when:<19}  {change.images:>6}  {change.by}{damage}")
    return "\n".join(lines)


def restore(project: Project, number: int, partial: bool = False) -> str:
    """Bring the labels back, with `partial` as far as the history has them; StageError where it cannot."""
    restored = history.restore(project, number, partial)
    did = f"{restored.images} images are labeled as after change {number}; workflow pull --full undoes it"
    return "\n".join([f"history: {did}", *(f"  {note}" for note in restored.notes)])

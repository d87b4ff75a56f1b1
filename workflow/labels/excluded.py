"""Images that are left out from now on: data/excluded.jsonl, a line {image, reason, by, at} each.

They stay in the catalog, with their labels and their tasks: only the dataset, and so every figure made of it,
is without them, and they get no new task. Taken back in, an image is as it was.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, read_rows


def excluded(project: Project) -> dict[str, Row]:
    """The images that are left out, by their ids."""
    return {row["image"]: row for row in read_rows(project.excluded)}


def exclude(project: Project, images: Collection[str], reason: str, by: str) -> int:
    """Leave images out; how many of them were not before. Why one is left out stays as it was said first."""
    rows = RowFile(project.excluded)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    for image in images:
        if image not in rows:
            rows.put(image, {"image": image, "reason": reason, "by": by, "at": at})
    changed = len(rows.changed())
    if changed:
        rows.write()
    return changed


def include(project: Project, images: Collection[str]) -> int:
    """Take images back in; how many of them were left out."""
    rows = RowFile(project.excluded)
    for image in images:
        rows.drop(image)
    changed = len(rows.changed())
    if changed:
        rows.write()
    return changed

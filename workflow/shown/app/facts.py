"""What a project knows of its images and of what was done to its labels, for the App to filter by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from workflow.project.paths import Project
from workflow.project.rows import read_rows
from workflow.records import ImageRecord

# What is known of an image, by what it is called in the App: text or a number.
OF_IMAGES: Mapping[str, type] = {"group": str, "folder": str, "brightness": float, "blur": float}


@dataclass(frozen=True)
class Facts:
    """`images` holds what of `OF_IMAGES` is known of each; `done` what people did to its regions, by id."""

    images: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    done: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def facts_of(project: Project, records: Iterable[ImageRecord]) -> Facts:
    """What catalog.jsonl, measures.jsonl and ledger.jsonl say. StageError where one of them does not read."""
    measured = {row["id"]: row for row in read_rows(project.measures)}
    images = {}
    for record in records:
        row = measured.get(record.id, {})
        known: dict[str, Any] = {"folder": str(PurePosixPath(record.path).parent)}
        known |= {"group": record.group} if record.group else {}
        images[record.id] = known | {name: row[name] for name in ("brightness", "blur") if name in row}
    done: dict[str, dict[str, str]] = {}
    for row in read_rows(project.ledger):
        actions = {a["region"]: a["action"] for a in row["actions"] if a.get("region")}
        done.setdefault(row["image"], {}).update(actions)
    return Facts(images, done)

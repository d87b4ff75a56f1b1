"""Leave images out of the dataset and every figure, and take them back in."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from workflow.errors import StageError
from workflow.labels import excluded
from workflow.project.paths import Project
from workflow.project.rows import read_catalog

# What is left out is so from the next dataset on.
NEXT = "workflow dataset {name}, then train and evaluate, go by it"


def describe(project: Project) -> str:
    """A line an image that is left out."""
    names = {r.id: r.path for r in read_catalog(project.catalog)}
    rows = excluded.excluded(project)
    if not rows:
        return f"{project.name}: no image is left out"
    lines = [
        f"  {names.get(image, image)}: {row['reason'] or 'no reason said'} ({row['by']}, {row['at'][:10]})"
        for image, row in rows.items()
    ]
    return "\n".join([f"{project.name}: {_images(len(rows))} left out", *lines])


def run(project: Project, images: Sequence[str], reason: str, back: bool, by: str = "by hand") -> str:
    """Leave images out, or take them `back` in; each named by its path or its id.

    StageError, and nothing done, where the project has no such image.
    """
    found = find(project, images)
    if back:
        count = excluded.include(project, found)
        did = f"{_images(count)} taken back in" if count else "none of these was left out"
    else:
        count = excluded.exclude(project, found, reason, by)
        did = f"{_images(count)} left out" if count else "these are left out already"
    left = len(excluded.excluded(project))
    then = f"; {NEXT.format(name=project.name)}" if count else ""
    return f"exclude: {did}, {left} in all{then}"


def find(project: Project, images: Sequence[str]) -> list[str]:
    """The ids of images that are named by path or id. StageError where the project has none of that name."""
    records = read_catalog(project.catalog)
    ids = {name: r.id for r in records for name in (r.path, r.id)}
    if unknown := [name for name in images if name not in ids]:
        near = difflib.get_close_matches(unknown[0], list(ids), 1)
        known = f"a path below {project.image_root}, or an id of catalog.jsonl"
        hint = f"did you mean {near[0]}?" if near else known
        raise StageError(f"{project.name} has no image {', '.join(unknown)}", hint)
    return [ids[name] for name in images]


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"

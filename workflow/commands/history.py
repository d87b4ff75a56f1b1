"""What labels.jsonl was before: a list of its changes, and the way back to each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from workflow.errors import StageError
from workflow.labels import history
from workflow.labels.people import called
from workflow.project.paths import Project
from workflow.project.rows import Row, annotation_from_row, digest, read_catalog
from workflow.records import ImageRecord
from workflow.shapes import overlap


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


def describe_image(project: Project, name: str) -> str:
    """What became of one image's labels: a line a change of it, and a line an annotation that came or went.

    `name` is the image's path, the end of one, or its id. StageError where the catalog has none of that name,
    or several.
    """
    record = _find(project, name)
    who = called(project)
    lines = [f"{record.path}  ({record.id})"]
    before: list[Row] = []
    for change, row in history.of_image(project, record.id):
        when, people = change.at[:19].replace("T", " "), who(str(row.get("person", "")))
        by = f"{change.by}, {people}" if people else change.by
        lines.append(f"{change.number:>6}  {when:<19}  {row['state']}, {len(row['annotations'])}  by {by}")
        lines += (f"          {what}" for what in _between(before, row["annotations"]))
        before = row["annotations"]
    return "\n".join(lines if len(lines) > 1 else [*lines, "  no change of it yet"])


def _find(project: Project, name: str) -> ImageRecord:
    records = read_catalog(project.catalog)
    found = [r for r in records if name in (r.id, r.path)] or [
        r for r in records if r.path.endswith(f"/{name}") or r.id.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    near = [r.path for r in found] or difflib.get_close_matches(name, [r.path for r in records], 3)
    hint = f"there is {', '.join(near[:3])}" if near else "workflow catalog"
    many = f"{len(found)} images" if found else "no image"
    raise StageError(f"{many} of {project.name} called {name!r}", hint)


def _between(before: Sequence[Row], after: Sequence[Row]) -> Iterator[str]:
    """Annotations that are gone, changed or new, by their ids; what has none by what it says."""
    old, new = ({_key(row): row for row in rows} for rows in (before, after))
    for key, row in old.items():
        if key not in new:
            yield f"- {_words(row)}"
    for key, row in new.items():
        if key not in old:
            yield f"+ {_words(row)}"
        elif _said(row) != _said(old[key]):
            yield f"~ {_words(old[key])} -> {_words(row)}"


def _key(row: Row) -> str:
    return row.get("id") or digest(_said(row))


def _said(row: Row) -> Row:
    return {key: value for key, value in row.items() if key not in ("provenance", "score", "id")}


def _words(row: Row) -> str:
    annotation = annotation_from_row(row)
    box = overlap.as_box(annotation)
    where = f" at {', '.join(f'{x:.0f}' for x in box)}" if box else ""
    ignored = " (ignored)" if annotation.ignored else ""
    return f"{annotation.label}{where}{ignored}"


def restore(project: Project, number: int, partial: bool = False) -> str:
    """Bring the labels back, with `partial` as far as the history has them; StageError where it cannot."""
    restored = history.restore(project, number, partial)
    did = f"{restored.images} images are labeled as after change {number}; workflow pull --full undoes it"
    return "\n".join([f"history: {did}", *(f"  {note}" for note in restored.notes)])

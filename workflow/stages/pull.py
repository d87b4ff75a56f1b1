"""Pull the corrected labels back from where people review, and keep the ledger of what they did.

Incremental by the server's clock, with an overlap; `full` sweeps everything, and finds deletions. After a
change of what decides how work is read or judged, everything is judged anew. Drafts are nobody's decision
yet and are ignored; a skipped image stays skipped; of several people's labels those count that `[pull]`
says. labels.jsonl is replaced only by a pull that went through, and whatever it said before stays in the
history.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from workflow.errors import StageError
from workflow.labels import people
from workflow.labels.files import LabelFiles
from workflow.labels.judging import judge
from workflow.labels.work import Work
from workflow.project.known import remembered
from workflow.project.paths import Project
from workflow.project.rows import Row, digest, read_catalog, read_json, read_rows, stream_samples, write_json
from workflow.records import ImageRecord
from workflow.review import ReviewTool, WorkReader
from workflow.running.progress import progress
from workflow.running.runner import Outcome
from workflow.schema import Schema

# The clock we read has whole seconds, and a transaction may commit after its timestamp.
OVERLAP = timedelta(seconds=30)


def run(project: Project, tool: ReviewTool, full: bool = False, drop_deleted: bool = False) -> Outcome:
    """Write labels.jsonl (one line an image), ledger.jsonl and disagreements.jsonl where anything changed.

    A `full` sweep finds tasks that were deleted on the server; their labels are kept unless `drop_deleted`.
    Images on which somebody used a label that is no class of the project are left as they are, and listed,
    task and person, in the outcome's lines. StageError where nothing was pushed.
    """
    start = time.perf_counter()
    records = {r.id: r for r in read_catalog(project.catalog)}
    place = tool.place(project)
    if place is None:
        raise StageError(f"{tool.url} has no project of {project.name}", "workflow push")
    place |= {"judged_by": digest(judged_by(project)), "read_by": digest(tool.reads_by(project))}
    last = _last(project, place)
    since = None if full or drop_deleted or not last else datetime.fromisoformat(last["until"]) - OVERLAP
    now = tool.now()
    files = LabelFiles(project, records)
    reader = tool.work(project, records, files.model_of)
    left: dict[str, Work] = {}
    seen: set[str] = set()
    with progress("pulling", len(records), "tasks") as advance:
        for work in _all(reader, since, last, files):
            advance()
            seen.update(opinion.person for opinion in work.opinions if opinion.person)
            if work.unknown:
                left[work.image] = work
            elif not files.stands(work):
                files.put(judge(work, records[work.image], project.settings.pull, _exclusive(project)))
    if since is None:
        files.look_for_deleted(reader.seen, drop_deleted)
    files.settle()
    changed = files.write("pull")
    disputed = sorted(
        {row["task"] for image in files.disagreements for row in files.disagreements.rows(image)}
    )
    if disputed != last.get("disputed", []):
        tool.point_out(project, "Disputed", disputed)
    people.keep(project, tool.people, seen if project.people.exists() else seen | _people(files))
    kept: Row = {"absent": reader.absent, "left": {image: work.task for image, work in left.items()}}
    kept |= {"disputed": disputed}
    write_json(state_path(project), place | {"until": now.isoformat()} | {k: v for k, v in kept.items() if v})
    losses = files.losses + reader.losses
    losses["images left as they were, for labels that are no class"] += len(left)
    did = _summary(project, files, losses, changed)
    lines = tuple(_lines(project, records, left.values()))
    return Outcome("pull", time.perf_counter() - start, did, skipped=not changed, lines=lines)


def _people(files: LabelFiles) -> set[str]:
    """Everybody in the ledger, by number."""
    rows = (row for image in files.ledger for row in files.ledger.rows(image))
    return {row["person"] for row in rows if row["person"]}


def judged_by(project: Project) -> Row:
    """What decides how people's work is judged: where it changes, all of it is judged anew."""
    # How people are called changes nothing of what they said.
    return {
        "pull": project.settings.pull.model_dump(exclude={"people"}),
        "schema": project.settings.schema.to_json(),
    }


def state(project: Project) -> tuple[str, str]:
    """done, stale or missing, and how many images are in which state, by the files of the last pull."""
    if not project.labels.exists():
        return "missing", "workflow pull"
    files = {"catalog": project.catalog, "labels": project.labels}
    states = Counter(remembered(project.marks, "states", files, 1, lambda: _states(project)))
    last = read_json(state_path(project), {}).get("judged_by")
    word = "done" if last in (None, digest(judged_by(project))) else "stale"
    return word, ", ".join(f"{states[s]} {s}" for s in ("reviewed", "skipped", "predicted", "unlabeled"))


def _states(project: Project) -> dict[str, int]:
    """How many images of the catalog are in which state."""
    images = {row["id"] for row in read_rows(project.catalog)}
    return Counter(sample.state for sample in stream_samples(project.labels) if sample.image in images)


def state_path(project: Project) -> Path:
    return project.marks / "pull.json"


def _exclusive(project: Project) -> bool:
    return project.settings.schema.task.exclusive


def _last(project: Project, place: Row) -> Row:
    """What the last pull wrote down; nothing where everything must be asked for."""
    last = read_json(state_path(project), {})
    same = all(last.get(key) == value for key, value in place.items())
    return last if same and project.labels.exists() else {}


def _all(reader: WorkReader, since: datetime | None, last: Row, files: LabelFiles) -> Iterator[Work]:
    """What changed, and after it what the last pulls passed over."""
    late = _overlooked(reader, last, files) if since else iter(())
    return chain(reader.read(since), late)


def _overlooked(reader: WorkReader, last: Row, files: LabelFiles) -> Iterator[Work]:
    """Work on images that were not in the catalog, and are now, or that was left; unless it was just read."""
    absent: Mapping[str, int] = last.get("absent", {})
    tasks = {task for image, task in absent.items() if image in files.records}
    reader.absent |= {image: task for image, task in absent.items() if image not in files.records}
    tasks |= set(last.get("left", {}).values())
    unknown = files.records.keys() - set(files.labels)
    tasks |= {row["task"] for row in read_rows(files.project.pushed) if row["image"] in unknown}
    yield from reader.read(tasks=sorted(tasks - reader.seen))


def _lines(project: Project, records: Mapping[str, ImageRecord], left: Iterable[Work]) -> Iterator[str]:
    """Where people used labels that are no class of the project."""
    for work in sorted(left, key=lambda work: work.task):
        for person, label in work.unknown:
            where = f"task {work.task} ({records[work.image].path}), person {person or 'unknown'}"
            yield f"{where}: {label!r} {_why_unknown(label, project.settings.schema)}"


def _why_unknown(label: str, schema: Schema) -> str:
    """What is wrong with a label, and what to do about it."""
    if label in schema.labels:
        of, no = ("class", "keypoint") if label in schema.classes else ("keypoint", "class")
        return f"is a {of} and no {no} -> relabel it there"
    near = next((name for name in schema.labels if name.casefold() == label.casefold()), "")
    known = f" ({near!r} is)" if near else ""
    return f"is no class{known} -> add it to project.toml, or relabel it there"


def _summary(project: Project, files: LabelFiles, losses: Counter[str], changed: int) -> str:
    counts = files.counts()
    noun = project.settings.schema.task.noun
    waiting = counts["predicted"] + counts["unlabeled"]
    parts = [f"{counts['reviewed']} reviewed ({counts['annotations']} {noun}, {counts['empty']} empty)"]
    parts += [f"{counts['skipped']} skipped", f"{waiting} waiting"]
    if changed:
        parts.append(f"{changed} changed")
    if len(files.disagreements):
        parts.append(f"people disagree on {len(files.disagreements)} (see {project.disagreements.name})")
    parts += [f"{n} {reason}" for reason, n in sorted((+losses).items())]
    return ", ".join(parts)

"""Take back what people did in the FiftyOne App: their tags, and the labels that they edited there.

One rule decides between an edit and Label Studio: an edit counts for just the labels that its person saw. If
the image has others by now, or gets others by a later pull, Label Studio's count; the edit is kept in
data/app/conflicts.jsonl, and the task says that somebody should look.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from workflow import services
from workflow.commands.exclude import find
from workflow.dataset import parquet
from workflow.errors import LabelStudioError, ServiceError
from workflow.labels import edits, history, tags
from workflow.labels.edits import Edit
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, append_rows, appending, read_catalog, sample_from_row
from workflow.records import ImageRecord
from workflow.review import ReviewTool
from workflow.running.runner import Outcome
from workflow.shown.app import reading
from workflow.shown.app.back import FIFTYONE, Returns, Touched

# Images that are named of each kind.
SHOWN = 20


@dataclass
class Found:
    """What was done in the App, and what becomes of each edit: by image, what to say of it."""

    project: Project
    returns: Returns
    touched: list[Touched]
    taken: dict[str, str] = field(default_factory=dict)
    conflicts: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    # What the labels of an edited image are now, by name; and edits to be kept where they do not count.
    given: dict[str, str] = field(default_factory=dict)
    aside: list[Row] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)

    @cached_property
    def records(self) -> dict[str, ImageRecord]:
        return {r.id: r for r in read_catalog(self.project.catalog)}

    @cached_property
    def labels(self) -> RowFile:
        return RowFile(self.project.labels, records=self.records.values())

    def judge(self) -> None:
        """Bring tags and edits into the files as they are held in memory; nothing is written."""
        for one in self.touched:
            if one.retagged:
                self.returns.tags.put(one.image, *one.tags)
        for edit in [*self.returns.waiting(), *(one.edit for one in self.touched if one.edit)]:
            self._judge(edit)

    def _judge(self, edit: Edit) -> None:
        row, record = self.labels.row(edit.image), self.records.get(edit.image)
        if row and row.get("edited", {}).get("edit") == edit.name:
            self.given[edit.image] = self._name(row)
            return
        same = row and record and row["state"] == "reviewed" and self._name(row) == edit.given
        if not (same and row and record):
            self.conflicts[edit.image] = _listed(edit)
            self.aside.append(edit.to_row())
            self._tag(edit)
            return
        done = edits.apply(row, edit, record, self.project.settings.schema, FIFTYONE)
        if done.refused:
            self.refused[edit.image] = "; ".join(done.refused)
            return
        self.losses += done.losses
        if done.did:
            self.labels.put(edit.image, done.row)
            self.taken[edit.image] = edits.summed(done.did)
            self.given[edit.image] = self._name(done.row)

    def _name(self, row: Row) -> str:
        """Names the labels of a line as a dataset gives them to the App."""
        schema, sample = self.project.settings.schema, sample_from_row(row)
        columns = parquet.to_row(self.records[row["image"]], b"", sample.annotations, schema, ignored=True)
        return edits.given_name([] if columns is None else parquet.from_row(columns, schema))

    def _tag(self, edit: Edit) -> None:
        """Have somebody look at an image whose edit does not count."""
        rows = [row for row in self.returns.tags.rows(edit.image) if row["tag"] != tags.CONFLICT]
        conflict = {"image": edit.image, "tag": tags.CONFLICT, "from": "app pull", "at": edit.at}
        self.returns.tags.put(edit.image, *rows, conflict)

    def write(self, dataset: object) -> None:
        """Take it all: the edits that do not count first, the mark that it was done last."""
        if self.aside:
            path = self.returns.folder / "conflicts.jsonl"
            with appending(path) as file:
                append_rows(file, self.aside)
        if self.returns.tags.changed():
            self.returns.tags.write()
        if self.labels.changed():
            history.save(self.project, self.labels, "app pull")
        left = set(self.refused)
        self.returns.take(dataset, self.touched, self.given, left)
        self.returns.forget_waiting({edit.image for edit in self.returns.waiting()} - left)

    def lines(self) -> Iterator[str]:
        yield from self._tag_lines()
        for what, said in (
            ("edited", self.taken),
            ("conflict", self.conflicts),
            ("not taken", self.refused),
        ):
            for image, words in [*said.items()][:SHOWN]:
                yield f"{what}: {self._file(image)}: {words}"
            if len(said) > SHOWN:
                yield f"{what}: and {len(said) - SHOWN} more images"
        if self.conflicts:
            yield "conflict: the labels have changed since the App showed them, and count; the edits are kept"
        if self.refused:
            yield "not taken: mend it in the App, and pull again"
        yield from (f"{n} {reason}" for reason, n in sorted(self.losses.items()))

    def _tag_lines(self) -> Iterator[str]:
        changes: dict[tuple[str, str], Counter[str]] = {}
        for one in self.touched:
            now = {_key(row) for row in one.tags if "removed" not in row}
            was = {_key(row) for row in one.before if "removed" not in row}
            for sign, rows in (("+", now - was), ("-", was - now)):
                for tag, on in rows:
                    changes.setdefault((tag, sign), Counter())["label" if on else "image"] += 1
        for (tag, sign), counts in sorted(changes.items()):
            counted = " and ".join(many(n, what) for what, n in sorted(counts.items()))
            yield f"tag {tag!r}: {'set on' if sign == '+' else 'taken from'} {counted}"

    def _file(self, image: str) -> str:
        return self.records[image].path if image in self.records else image


def pull(project: Project, connect: Callable[[], ReviewTool], take: bool = False) -> Outcome:
    """Say what was done in the App since its dataset was made, or last taken; with `take`, take it.

    Tags go to tags.jsonl, edited labels to labels.jsonl and its history, and the tasks of images with a tag
    of `push.look_again` say why somebody should look again. What Label Studio could not be told is told the
    next time. ServiceError where FiftyOne has no dataset of the project.
    """
    start = time.perf_counter()
    returns = Returns(project)
    environment = services.fiftyone_environment(services.state_folder(project.workspace))
    with reading(project.name, environment) as dataset:
        found = Found(project, returns, list(returns.touched(dataset)))
        found.judge()
        if take:
            found.write(dataset)
    lines = list(found.lines())
    lines += tell(project, connect, found.labels, returns.tags, take)
    seconds = time.perf_counter() - start
    if not lines:
        return Outcome("app", seconds, "nothing was done in the App that is not taken", skipped=True)
    did = f"{many(len(found.touched), 'image')} touched in the App"
    did = f"took what was done: {did}" if take else f"{did}; nothing is taken without --yes"
    return Outcome("app", seconds, did, lines=tuple(lines))


def send(project: Project, connect: Callable[[], ReviewTool], images: Sequence[str], tag: str) -> Outcome:
    """Tag images, each named by path or id, and tell those who review, whatever the tag is.

    StageError where the project has no such image.
    """
    start = time.perf_counter()
    ids = find(project, images)
    returns = Returns(project)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    tags.set_tag(returns.tags, ids, tag, FIFTYONE, at)
    changed = returns.tags.changed()
    if changed:
        returns.tags.write()
    lines = tell(project, connect, RowFile(project.labels), RowFile(project.tags), True)
    did = (
        f"{many(len(changed), 'image')} tagged {tag!r}" if changed else f"these have the tag {tag!r} already"
    )
    seconds = time.perf_counter() - start
    return Outcome("app", seconds, did, skipped=not (changed or lines), lines=tuple(lines))


def tell(
    project: Project, connect: Callable[[], ReviewTool], labels: RowFile, tagged: RowFile, take: bool
) -> list[str]:
    """Tell those who review which images to look at again; what of it was done, or would be."""
    wanted = project.settings.push.look_again
    found = list(tags.reasons(tagged, labels, wanted))
    fresh = [one for one in found if one.text and not one.told]
    if not take:
        counts = Counter(one.text for one in sorted(fresh, key=lambda one: one.text)).most_common(SHOWN)
        return [f"to look at again, in Label Studio: {many(n, 'image')}: {text}" for text, n in counts]
    if not found:
        return []
    try:
        tool = connect()
        if tool.place(project) is None:
            what = f"{many(len(fresh), 'image')} to look at again"
            return [f"{what}: Label Studio has no project yet -> workflow push"]
        at = tool.now()
        flagged = tool.flag(project, {one.image: one.text for one in found})
    except (LabelStudioError, ServiceError) as error:
        return [f"Label Studio was not told ({error.problem}) -> {error.fix or 'make up'}, and pull again"]
    told = {one.image for one in found} - set(flagged.missing)
    tags.note_told(tagged, told, wanted, at.isoformat())
    if tagged.changed():
        tagged.write()
    lines = []
    if flagged.told:
        lines.append(f"to look at again, in Label Studio: {many(flagged.told, 'task')}: {flagged.page}")
    if flagged.taken_back:
        need = "needs" if flagged.taken_back == 1 else "need"
        lines.append(f"{many(flagged.taken_back, 'task')} {need} no second look any more")
    if flagged.missing:
        lines.append(f"{many(len(flagged.missing), 'image')} without a task -> workflow push, and pull again")
    return lines


def _listed(edit: Edit) -> str:
    parts = {"changed": len(edit.changed), "deleted": len(edit.deleted), "added": len(edit.added)}
    return ", ".join(f"{many(n, 'label')} {what}" for what, n in parts.items() if n)


def many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _key(row: Row) -> tuple[str, str]:
    return row["tag"], f"{row['field']} {row['on']}" if "field" in row else ""

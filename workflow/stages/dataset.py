"""Build the Hugging Face dataset: reviewed images with their labels, as Parquet, with a card.

Reviewed and empty is a row without labels. Skipped and unlabeled images are listed in a config of
their own, `unreviewed`, so that neither is ever taken for a true negative.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from workflow.dataset import parquet
from workflow.dataset.card import dataset_card
from workflow.dataset.tally import Tally
from workflow.errors import StageError
from workflow.labels.excluded import excluded
from workflow.labels.origins import origins
from workflow.labels.renames import lock_schema
from workflow.labels.stored import Stored
from workflow.project.aside import move_aside
from workflow.project.known import remembered
from workflow.project.paths import Project
from workflow.project.rows import (
    Row,
    annotation_to_row,
    digest,
    file_digest,
    read_catalog,
    read_json,
    stream_samples,
    write_json,
)
from workflow.records import SPLITS, Annotation, ImageRecord, Sample, Split, State
from workflow.running.ahead import each_ahead
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner
from workflow.tasks import TASKS

# What `_digests` makes of the same files; another number makes it anew.
DIGESTS = 1
# Images of a split that are read while those before them are written.
AHEAD = 4


def plan(project: Project) -> Plan:
    settings = project.settings.schema.to_json() | {"title": project.settings.title}
    files = {"labels": project.labels, "ledger": project.ledger, "simulated": project.simulated}
    digests = remembered(project.marks, "labels", files, DIGESTS, lambda: _digests(project))
    inputs: dict[str, Path | str] = {"catalog": project.catalog, **digests}
    if left_out := excluded(project):
        inputs["excluded"] = digest(sorted(left_out))
    return Plan("dataset", 3, settings, inputs, (project.dataset / "dataset.json",))


def _digests(project: Project) -> dict[str, str]:
    """What the labels say, and what the card tells besides."""
    named = _LabelsDigest()
    relations = 0

    def noted() -> Iterator[Sample]:
        nonlocal relations
        for sample in stream_samples(project.labels):
            named.add(sample)
            relations += len(_relations(sample))
            yield sample

    told = origins(project, noted())
    return {"labels": named.hexdigits(), "told": digest([told, relations])}


def run(project: Project, force: bool = False) -> Outcome:
    """Write dataset/: data/SPLIT-NAME.parquet, unreviewed/, README.md and dataset.json.

    StageError where nothing was pulled or nothing is reviewed yet.
    """
    if not project.labels.exists():
        raise StageError(f"{project.labels} does not exist: no labels were pulled", "workflow pull")
    lock_schema(project)
    return Runner(project.marks).run(plan(project), lambda scratch: _build(project, scratch), force)


def version(project: Project) -> str:
    """Sixteen hex digits that name the dataset's content. StageError where none is of today's classes."""
    card = read_json(project.dataset / "dataset.json")
    if card is None:
        raise StageError(f"{project.dataset} holds no dataset", "workflow dataset")
    if not isinstance(card.get("version"), str):
        raise StageError(f"{project.dataset / 'dataset.json'}: says no version", "workflow dataset --force")
    for name, value in project.settings.schema.to_json().items():
        if card.get(name) != value:
            other = "for another task" if name == "task" else f"with other {name}"
            raise StageError(f"{project.dataset} was built {other}", "workflow dataset")
    return card["version"]


def labels(project: Project) -> list[str]:
    """Who labeled the dataset, a sentence a source; none where version 0.1.0 built it."""
    return read_json(project.dataset / "dataset.json", {}).get("labels", [])


class _LabelsDigest:
    """Names what labels say, not when or in which task they were given: sample by sample, holding none.

    As `digest` of the list of them.
    """

    def __init__(self) -> None:
        self._hash, self._ahead = hashlib.sha256(), b"["

    def add(self, sample: Sample) -> None:
        said = [sample.image, sample.state, [_content(a) for a in sample.annotations]]
        self._hash.update(self._ahead + orjson.dumps(said, option=orjson.OPT_SORT_KEYS))
        self._ahead = b","

    def hexdigits(self) -> str:
        ended = self._hash.copy()
        ended.update(b"[]" if self._ahead == b"[" else b"]")
        return ended.hexdigest()[:16]


class _Facts:
    """What must be known of all labels before the first of them is written: little of each."""

    def __init__(self) -> None:
        self.said = _LabelsDigest()
        self.states: dict[str, State] = {}
        self.counts: dict[str, int] = {}
        self.ignored = False

    def noted(self, samples: Iterable[Sample], catalogued: Collection[str]) -> Iterator[Sample]:
        """The samples of catalogued images, and the facts of all."""
        for sample in samples:
            self.said.add(sample)
            self.states[sample.image] = sample.state
            if sample.image in catalogued:
                self.counts[sample.image] = len(sample.annotations)
                self.ignored |= sample.state == "reviewed" and any(a.ignored for a in sample.annotations)
                yield sample


def _content(annotation: Annotation) -> Row:
    return annotation_to_row(annotation) | {"provenance": annotation.provenance.name}


def _relations(sample: Sample) -> Sequence[Any]:
    return sample.meta.get("relations", ())


def _version(project: Project, said: str, reviewed: Sequence[ImageRecord]) -> str:
    """The version of a dataset of these labels: what is `said`, of which images, in which splits.

    0.1.0 left the splits out. A dataset it built, whose images are where they were, keeps its version, so
    that nothing is trained anew.
    """
    content = [project.settings.schema.to_json(), said]
    without_splits = digest([*content, [r.id for r in reviewed]])
    before = read_json(project.dataset / "dataset.json", {})
    sides = {split: {r.id for r in reviewed if r.split == split} for split in SPLITS}
    copied = [r.png for r in reviewed if r.png]
    if (
        not copied
        and before.get("version") == without_splits
        and all(parquet.images(project.dataset, split) <= sides[split] for split in SPLITS)
    ):
        return without_splits
    return digest([*content, [[r.id, r.split] for r in reviewed], *([copied] if copied else [])])


def _build(project: Project, scratch: Path) -> str:
    with closing(Stored(project.labels, read_catalog(project.catalog))) as stored:
        return _build_of(project, scratch, stored)


def _build_of(project: Project, scratch: Path, stored: Stored) -> str:
    everything, left_out = read_catalog(project.catalog), excluded(project)
    records = [r for r in everything if r.id not in left_out]
    facts = _Facts()
    told = origins(project, facts.noted(stored.samples(), {r.id for r in records}))
    reviewed = [r for r in records if facts.states.get(r.id) == "reviewed"]
    if not reviewed:
        raise StageError("no image is reviewed yet", "label some in Label Studio, then workflow pull")
    fresh = scratch / "dataset"
    shutil.rmtree(fresh, ignore_errors=True)
    done = {r.id for r in reviewed}
    others = [_unreviewed(r, facts.states) for r in records if r.id not in done]
    card: dict[str, Any] = project.settings.schema.to_json()
    card["version"] = _version(project, facts.said.hexdigits(), reviewed)
    # `datasets` takes what it has loaded before wherever files have the same names: these change with all
    # that is in them, and so with where images lie and with what is not reviewed.
    places = digest([[r.id, r.path, r.split] for r in reviewed] + others)[:8]
    name = f"{card['version']}-{places}"
    card |= _write_splits(project, fresh, name, reviewed, stored, facts)
    card["states"] = Counter(facts.states.get(r.id, "unlabeled") for r in records)
    card["files"] = {split: f"data/{split}-{name}.parquet" for split in card["splits"]}
    if others:
        card["files"]["unreviewed"] = f"unreviewed/unreviewed-{name}.parquet"
        parquet.write(fresh / card["files"]["unreviewed"], others, parquet.unreviewed_features())
    card["labels"] = told
    text = dataset_card(project.settings.title, project.settings.schema, card)
    (fresh / "README.md").write_text(text, encoding="utf-8")
    card["readme"] = file_digest(fresh / "README.md")
    write_json(fresh / "dataset.json", card)
    excluded_too = f", {len(everything) - len(records)} excluded" if len(everything) > len(records) else ""
    return _summary(card) + excluded_too + _swap(fresh, project.dataset)


def _write_splits(
    project: Project,
    folder: Path,
    name: str,
    reviewed: Sequence[ImageRecord],
    stored: Stored,
    facts: _Facts,
) -> dict[str, Any]:
    """Write data/SPLIT-`name`.parquet, numbering the rows of all splits; what they hold, and what is lost.

    The splits are written side by side.
    StageError where no image has a row.
    """
    schema = project.settings.schema
    ignored = facts.ignored
    columns = parquet.features(schema, ignored)
    tallies = {split: Tally() for split in SPLITS}
    with progress("writing the dataset", len(reviewed)) as advance, ThreadPoolExecutor(len(SPLITS)) as pool:
        lock, first, futures = Lock(), 1, []

        def write(split: Split, records: Sequence[ImageRecord], first: int) -> None:
            rows = _rows(project, records, stored, tallies[split], partial(_locked, lock, advance), ignored)
            path = folder / "data" / f"{split}-{name}.parquet"
            parquet.write(path, ({"image_id": n} | row for n, row in enumerate(rows, first)), columns)
            if not tallies[split].images:
                path.unlink()

        for split in SPLITS:
            records = [r for r in reviewed if r.split == split]
            futures.append(pool.submit(write, split, records, first))
            first += sum(parquet.has_row(facts.counts[r.id], schema) for r in records)
        for future in futures:
            future.result()
    lost = sum((t.lost for t in tallies.values()), Counter[str]())
    tallies = {split: tally for split, tally in tallies.items() if tally.images}
    if not tallies:
        why = ", ".join(f"{n} {reason}" for reason, n in (+lost).items())
        raise StageError(f"no reviewed image has a row: {why}", "label some anew, then workflow pull")
    return {"splits": {split: tally.to_json() for split, tally in tallies.items()}, "lost": +lost}


def _rows(
    project: Project,
    records: Sequence[ImageRecord],
    stored: Stored,
    tally: Tally,
    advance: Callable[[], None],
    ignored: bool,
) -> Iterator[Row]:
    def read(record: ImageRecord) -> bytes:
        # What people saw and models are given: many a reader turns, scales or refuses the file itself.
        path = project.shown_path(record)
        if not path.exists():
            raise StageError(f"{path} is gone, but is labeled", "put it back, or run workflow catalog")
        return path.read_bytes()

    with closing(each_ahead(read, records, AHEAD)) as contents:
        for record, content in zip(records, contents, strict=True):
            sample = stored[record.id]
            tally.lost["relations, for which a dataset has no column"] += len(_relations(sample))
            row = parquet.to_row(record, content, sample.annotations, project.settings.schema, tally, ignored)
            advance()
            if row is not None:
                yield row


def _locked(lock: Lock, advance: Callable[[], None]) -> None:
    with lock:
        advance()


def _unreviewed(record: ImageRecord, states: Mapping[str, State]) -> dict[str, str]:
    state = "skipped" if states.get(record.id) == "skipped" else "unlabeled"
    return {"hash": record.id, "file": record.path, "split": record.split, "state": state}


def _swap(fresh: Path, target: Path) -> str:
    """Put a finished folder in place of the old one; a kill in between leaves none, never half.

    An old one in which somebody has put a file, or edited the card, is moved aside; that is what is returned.
    """
    if additions := _additions(target):
        moved = move_aside(target)
        fresh.rename(target)
        return f"; the old one had {', '.join(additions[:3])} of yours and is now {moved}"
    old = fresh.with_name("replaced")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return ""


def _additions(folder: Path) -> list[str]:
    """The files of a dataset folder that this stage did not write as they are."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    card = folder / "dataset.json"
    written = read_json(card).get("readme") if card.exists() else None
    own = [card, *folder.glob("*/*.parquet")]
    if written in (None, file_digest(folder / "README.md")):
        own.append(folder / "README.md")
    return [path.relative_to(folder).as_posix() for path in files if path not in own]


def _summary(card: dict[str, Any]) -> str:
    splits = ", ".join(f"{n['images']} {s}" for s, n in card["splits"].items())
    count = sum(n["annotations"] for n in card["splits"].values())
    empty = sum(n["empty"] for n in card["splits"].values())
    states = card["states"]
    waiting = states.get("predicted", 0) + states.get("unlabeled", 0)
    lost = "".join(f", {n} {reason}" for reason, n in card["lost"].items())
    did = f"{splits}: {count} {TASKS[card['task']].noun}, {empty} empty images"
    return f"{did}; left out {states.get('skipped', 0)} skipped, {waiting} unlabeled{lost}"

"""Build the Hugging Face dataset: reviewed images with their labels, as Parquet, with a card.

Reviewed and empty is a row without labels. Skipped and unlabeled images are listed in a config of
their own, `unreviewed`, so that neither is ever taken for a true negative.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow.dataset import parquet
from workflow.dataset.card import dataset_card
from workflow.errors import StageError
from workflow.labels.renames import lock_schema
from workflow.project.aside import move_aside
from workflow.project.paths import Project
from workflow.project.rows import (
    Row,
    annotation_to_row,
    digest,
    file_digest,
    read_catalog,
    read_json,
    read_samples,
    write_json,
)
from workflow.records import SPLITS, Annotation, ImageRecord, Sample, Split
from workflow.running.progress import progress
from workflow.running.runner import Outcome, Plan, Runner
from workflow.tasks import TASKS


def plan(project: Project) -> Plan:
    settings = project.settings.schema.to_json() | {"title": project.settings.title}
    inputs: dict[str, Path | str] = {"catalog": project.catalog, "labels": _labels_digest(project)}
    return Plan("dataset", 2, settings, inputs, (project.dataset / "dataset.json",))


def run(project: Project, force: bool = False) -> Outcome:
    """Write dataset/: data/SPLIT.parquet, unreviewed/, README.md and dataset.json.

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
    for name, value in project.settings.schema.to_json().items():
        if card.get(name) != value:
            other = "for another task" if name == "task" else f"with other {name}"
            raise StageError(f"{project.dataset} was built {other}", "workflow dataset")
    return card["version"]


def _labels_digest(project: Project) -> str:
    """Names what the labels say, not when or in which task they were given."""
    samples = read_samples(project.labels)
    return digest([[s.image, s.state, [_content(a) for a in s.annotations]] for s in samples.values()])


def _content(annotation: Annotation) -> Row:
    return annotation_to_row(annotation) | {"provenance": annotation.provenance.name}


def _build(project: Project, scratch: Path) -> str:
    records = read_catalog(project.catalog)
    samples = read_samples(project.labels)
    reviewed = [r for r in records if r.id in samples and samples[r.id].state == "reviewed"]
    if not reviewed:
        raise StageError("no image is reviewed yet", "label some in Label Studio, then workflow pull")
    fresh = scratch / "dataset"
    shutil.rmtree(fresh, ignore_errors=True)
    settings = project.settings
    columns = parquet.features(settings.schema)
    written = _Written(project, samples)
    with progress("writing the dataset", len(reviewed)) as advance:
        for split in SPLITS:
            mine = [r for r in reviewed if r.split == split]
            if mine:
                rows = written.rows(split, mine, advance)
                parquet.write(fresh / "data" / f"{split}.parquet", rows, columns)
    _drop_empty(fresh / "data", written)
    done = set(reviewed)
    others = [_unreviewed(r, samples) for r in records if r not in done]
    parquet.write(fresh / "unreviewed" / "unreviewed.parquet", others, parquet.unreviewed_features())
    schema = settings.schema.to_json()
    card = schema | {"splits": written.splits, "lost": +written.lost}
    card["states"] = Counter(samples[r.id].state if r.id in samples else "unlabeled" for r in records)
    card["version"] = digest(
        [project.settings.schema.to_json(), _labels_digest(project), [r.id for r in reviewed]]
    )
    text = dataset_card(settings.title, settings.schema, card)
    (fresh / "README.md").write_text(text, encoding="utf-8")
    card["readme"] = file_digest(fresh / "README.md")
    write_json(fresh / "dataset.json", card)
    return _summary(card) + _swap(fresh, project.dataset)


@dataclass
class _Written:
    """Turns reviewed images into rows, and counts what they hold and what they could not."""

    project: Project
    samples: dict[str, Sample]
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)

    def rows(self, split: Split, records: list[ImageRecord], advance: Callable[[], None]) -> Iterator[Row]:
        settings = self.project.settings
        schema = settings.schema
        counts = self.splits[split] = {"images": 0, "annotations": 0, "empty": 0}
        for record in records:
            path = self.project.image_path(record.path)
            if not path.exists():
                raise StageError(f"{path} is gone, but is labeled", "put it back, or run workflow catalog")
            annotations = self.samples[record.id].annotations
            relations = self.samples[record.id].meta.get("relations", ())
            self.lost["relations, for which a dataset has no column"] += len(relations)
            row = parquet.to_row(record, path.read_bytes(), annotations, schema, self.lost)
            advance()
            if row is None:
                continue
            held = len(parquet.from_row(row, schema))
            counts["images"] += 1
            counts["annotations"] += held
            counts["empty"] += not held
            yield row


def _drop_empty(folder: Path, written: _Written) -> None:
    """Take away splits none of whose images has a row. StageError where none has any."""
    for split in [s for s, n in written.splits.items() if not n["images"]]:
        (folder / f"{split}.parquet").unlink()
        del written.splits[split]
    if not written.splits:
        why = ", ".join(f"{n} {reason}" for reason, n in (+written.lost).items())
        raise StageError(f"no reviewed image has a row: {why}", "label some anew, then workflow pull")


def _unreviewed(record: ImageRecord, samples: dict[str, Sample]) -> dict[str, str]:
    skipped = record.id in samples and samples[record.id].state == "skipped"
    state = "skipped" if skipped else "unlabeled"
    return {"image_id": record.id, "file": record.path, "split": record.split, "state": state}


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
    found = sum(n["annotations"] for n in card["splits"].values())
    empty = sum(n["empty"] for n in card["splits"].values())
    states = card["states"]
    waiting = states.get("predicted", 0) + states.get("unlabeled", 0)
    lost = "".join(f", {n} {reason}" for reason, n in card["lost"].items())
    did = f"{splits}: {found} {TASKS[card['task']].noun}, {empty} empty images"
    return f"{did}; left out {states.get('skipped', 0)} skipped, {waiting} unlabeled{lost}"

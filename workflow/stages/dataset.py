"""Build the Hugging Face dataset: reviewed images with their labels, as Parquet, with a card.

Reviewed and empty is a row without objects. Skipped and unlabeled images are listed in a config of
their own, `unreviewed`, so that neither is ever taken for a true negative.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from workflow.errors import StageError
from workflow.formats import huggingface
from workflow.progress import progress
from workflow.project import Project
from workflow.records import SPLITS, Annotation, ImageRecord, Sample
from workflow.runner import Outcome, Plan, Runner
from workflow.schema import lock_classes
from workflow.store import digest, read_catalog, read_json, read_samples, write_json

ROW_GROUP = 64


def plan(project: Project) -> Plan:
    settings = {"classes": project.settings.classes, "title": project.settings.title}
    inputs: dict[str, Path | str] = {"catalog": project.catalog, "labels": _labels_digest(project)}
    return Plan("dataset", 1, settings, inputs, (project.dataset / "dataset.json",))


def run(project: Project, force: bool = False) -> Outcome:
    """Write dataset/: data/SPLIT.parquet, unreviewed/, README.md and dataset.json.

    StageError where nothing was pulled or nothing is reviewed yet.
    """
    if not project.labels.exists():
        raise StageError(f"{project.labels} does not exist: no labels were pulled", "workflow pull")
    lock_classes(project.data / "classes.json", project.settings.classes, project.labels)
    return Runner(project.marks).run(plan(project), lambda scratch: _build(project, scratch), force)


def version(project: Project) -> str:
    """Sixteen hex digits that name the dataset's content. StageError where none is of today's classes."""
    card = read_json(project.dataset / "dataset.json")
    if card is None:
        raise StageError(f"{project.dataset} holds no dataset", "workflow dataset")
    if tuple(card["classes"]) != project.settings.classes:
        raise StageError(f"{project.dataset} was built with other classes", "workflow dataset")
    return card["version"]


def _labels_digest(project: Project) -> str:
    """Names what the labels say, not when or in which task they were given."""
    samples = read_samples(project.labels)
    return digest([[s.image, s.state, [_content(a) for a in s.annotations]] for s in samples.values()])


def _content(a: Annotation) -> list[Any]:
    geometry = a.box or (a.rotated_box and [a.rotated_box.cx, a.rotated_box.cy, a.rotated_box.angle])
    return [a.label, geometry, a.id, a.provenance.name]


def _build(project: Project, scratch: Path) -> str:
    records = read_catalog(project.catalog)
    samples = read_samples(project.labels)
    reviewed = [r for r in records if r.id in samples and samples[r.id].state == "reviewed"]
    if not reviewed:
        raise StageError("no image is reviewed yet", "label some in Label Studio, then workflow pull")
    fresh = scratch / "dataset"
    shutil.rmtree(fresh, ignore_errors=True)
    counts: dict[str, dict[str, int]] = {}
    lost: Counter[str] = Counter()
    with progress("writing the dataset", len(reviewed)) as advance:
        for split in SPLITS:
            mine = [r for r in reviewed if r.split == split]
            if mine:
                rows = _rows(project, mine, samples, lost, advance)
                schema = huggingface.features(project.settings.classes)
                _write_parquet(fresh / "data" / f"{split}.parquet", rows, schema)
                counts[split] = _counts(mine, samples)
    states = Counter(samples[r.id].state if r.id in samples else "unlabeled" for r in records)
    done = set(reviewed)
    others = [_unreviewed(r, samples) for r in records if r not in done]
    _write_parquet(fresh / "unreviewed" / "unreviewed.parquet", others, huggingface.unreviewed_features())
    card = {"classes": project.settings.classes, "splits": counts, "states": states, "lost": lost}
    card["version"] = digest([project.settings.classes, _labels_digest(project), [r.id for r in reviewed]])
    (fresh / "README.md").write_text(_card(project, card))
    write_json(fresh / "dataset.json", card)
    _swap(fresh, project.dataset)
    return _summary(card)


def _rows(
    project: Project, records: list[ImageRecord], samples: dict[str, Sample], lost: Counter[str], advance: Any
) -> Iterator[dict[str, Any]]:
    for record in records:
        annotations = samples[record.id].annotations
        lost["rotated boxes as the boxes round them"] += sum(a.rotated_box is not None for a in annotations)
        path = project.image_path(record.path)
        if not path.exists():
            raise StageError(f"{path} is gone, but is labeled", "put it back, or run workflow catalog")
        yield huggingface.to_row(record, path.read_bytes(), annotations, project.settings.classes)
        advance()


def _unreviewed(record: ImageRecord, samples: dict[str, Sample]) -> dict[str, str]:
    skipped = record.id in samples and samples[record.id].state == "skipped"
    state = "skipped" if skipped else "unlabeled"
    return {"image_id": record.id, "file": record.path, "split": record.split, "state": state}


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]], features: Any) -> None:
    """Stream rows into row groups, so that memory stays flat however many images there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    schema = features.arrow_schema
    with pq.ParquetWriter(path, schema) as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema))


def _counts(records: list[ImageRecord], samples: dict[str, Sample]) -> dict[str, int]:
    found = [samples[r.id].annotations for r in records]
    return {"images": len(found), "boxes": sum(map(len, found)), "empty": sum(not a for a in found)}


def _swap(fresh: Path, target: Path) -> None:
    """Put a finished folder in place of the old one; a kill in between leaves none, never half."""
    old = fresh.with_name("replaced")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _summary(card: dict[str, Any]) -> str:
    splits = ", ".join(f"{n['images']} {s}" for s, n in card["splits"].items())
    boxes = sum(n["boxes"] for n in card["splits"].values())
    empty = sum(n["empty"] for n in card["splits"].values())
    states = card["states"]
    waiting = states.get("predicted", 0) + states.get("unlabeled", 0)
    lost = "".join(f", {n} {reason}" for reason, n in card["lost"].items() if n)
    did = f"{splits}: {boxes} boxes, {empty} empty images"
    return f"{did}; left out {states.get('skipped', 0)} skipped, {waiting} unlabeled{lost}"


def _card(project: Project, card: dict[str, Any]) -> str:
    """The dataset card, with the YAML head by which `datasets.load_dataset` finds the files."""
    files = "\n".join(f"      - split: {s}\n        path: data/{s}.parquet" for s in card["splits"])
    table = "\n".join(
        f"| {s} | {n['images']} | {n['boxes']} | {n['empty']} |" for s, n in card["splits"].items()
    )
    skipped = card["states"].get("skipped", 0)
    return f"""---
task_categories: [object-detection]
configs:
  - config_name: default
    data_files:
{files}
  - config_name: unreviewed
    data_files:
      - split: unreviewed
        path: unreviewed/unreviewed.parquet
---
# {project.settings.title}

Labeled by people in Label Studio on top of a model's guesses. Version `{card["version"]}`.

```python
from datasets import load_dataset
dataset = load_dataset("PATH/TO/THIS/FOLDER")                  # reviewed images
rest = load_dataset("PATH/TO/THIS/FOLDER", "unreviewed")       # skipped and unlabeled ones, by name
```

| split | images | boxes | empty (true negatives) |
|---|---|---|---|
{table}

- Classes, in order: {", ".join(project.settings.classes)}.
- `objects.bbox` is x, y, width, height in pixels of the upright image (EXIF applied).
- An image without objects was looked at and holds none. Skipped ({skipped}) and unlabeled images are in the
  config `unreviewed` only.
"""


def read_dataset(
    folder: Path, split: str, classes: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], list[Annotation]]]:
    """Stream a split's rows, image bytes undecoded, with their annotations; none where it is absent."""
    import pyarrow.parquet as pq

    path = folder / "data" / f"{split}.parquet"
    if not path.exists():
        return
    for part in pq.ParquetFile(path).iter_batches(ROW_GROUP):
        for row in part.to_pylist():
            yield row, huggingface.from_row(row, classes)

"""The documents of the App's samples, and how they get into its database."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workflow.formats.fiftyone import REGION
from workflow.records import ImageRecord
from workflow.shown.app.kind import LISTS, Document, Kind, Shown
from workflow.shown.app.names import EVALUATED, PEOPLE, errors_field, gained_field, precision_field

BATCH = 1000


def place_of(row: ImageRecord, shown: Shown) -> float:
    """Where an image comes: what counts first, the worst of the last model before all."""
    if row.id not in shown.sizes:
        return 1.0
    return -shown.weight(shown.last, row) if shown.last else 0.0


def insert(collection: Any, samples: Iterator[dict[str, Any]]) -> None:
    """Insert documents in batches; the database takes one while the next is made."""
    with ThreadPoolExecutor(1) as pool:
        on_its_way = None
        while batch := list(itertools.islice(samples, BATCH)):
            if on_its_way:
                on_its_way.result()
            on_its_way = pool.submit(collection.insert_many, batch, ordered=False)
        if on_its_way:
            on_its_way.result()


def sample_of(dataset: Any, row: ImageRecord, root: Path, shown: Shown, kind: Kind) -> dict[str, Any]:
    """One sample's document, as FiftyOne itself would have written it."""
    now = datetime.now(UTC)
    counts = row.id in shown.sizes
    sample = {
        "filepath": str(root / row.path),
        "tags": [row.split] + [EVALUATED] * counts,
        "metadata": {"_cls": "ImageMetadata", "width": row.width, "height": row.height},
        "_rand": random.random(),
        "_media_type": "image",
        "_dataset_id": dataset._doc.id,
        "created_at": now,
        "last_modified_at": now,
        "image_id": row.id,
        "split": row.split,
    }
    if counts:
        weights = {field: shown.weight(field, row) for field in shown.numbers}
        sample |= {errors_field(field): weight for field, weight in weights.items()}
        first, *others = weights or [""]
        sample |= {gained_field(field): weights[first] - weights[field] for field in others}
        for field, by_image in kind.precision.items():
            sample[precision_field(field)] = by_image.get(row.id)
    labels = kind.labels(row)
    if done := shown.facts.done.get(row.id):
        _say_what_was_done(labels, done)
    return {**sample, **shown.facts.images.get(row.id, {}), **labels}


def _say_what_was_done(labels: Document, done: Mapping[str, str]) -> None:
    """Mark the labels whose regions people worked on."""
    for field in labels.values():
        if isinstance(field, dict):
            for document in field.get(LISTS.get(field.get("_cls", ""), ""), [field]):
                if action := done.get(document.get(REGION)):
                    document[PEOPLE] = action

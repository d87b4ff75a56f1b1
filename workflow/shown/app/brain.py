"""Maps, similarity, uniqueness and near-duplicates in the App, from vectors that `workflow embed` kept.

FiftyOne's own brain computes them, given the vectors; what takes time is kept beside these, and read the next
time that the same images are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workflow.features.map import points
from workflow.features.store import Store
from workflow.project.rows import digest, read_json, write_json
from workflow.shown.app.names import NEAR, UNIQUENESS, map_key, model_fields, similarity_key

# Cosine distance: closer images are taken to be nearly the same.
CLOSE = 0.02
# What a file of an earlier workflow says is computed anew.
VERSION = 1


def look(dataset: Any, stores: Sequence[Store]) -> list[str]:
    """Add what the vectors tell to the dataset; the names of the annotators they are of.

    Of vectors that some image lacks nothing is told. Uniqueness and near-duplicates are those of the first.
    """
    ids, images = dataset.values(["id", "image_id"])
    names = model_fields(store.folder.name for store in stores)
    told: list[str] = []
    for store in stores:
        vectors = store.of(images)
        if vectors is None or len(images) < 2:
            continue
        _look(dataset, store, names[store.folder.name], ids, images, vectors.astype(np.float32), not told)
        told.append(store.folder.name)
    return told


def _look(
    dataset: Any,
    store: Store,
    name: str,
    ids: Sequence[str],
    images: Sequence[str],
    vectors: np.ndarray,
    first: bool,
) -> None:
    import fiftyone.brain as fob

    fob.compute_visualization(dataset, points=points(store, images, vectors), brain_key=map_key(name))
    index = fob.compute_similarity(
        dataset, embeddings=vectors, brain_key=similarity_key(name), backend="sklearn", metric="cosine"
    )
    if not first:
        return
    path = store.folder / "found.json"
    key = digest([VERSION, CLOSE, store.digest(), list(images)])
    found = read_json(path, {})
    if found.get("key") != key:
        fob.compute_uniqueness(dataset, uniqueness_field=UNIQUENESS, similarity_index=index)
        index.find_duplicates(thresh=CLOSE)
        image_of = dict(zip(ids, images, strict=True))
        near = {
            image_of[other]: image_of[kept]
            for kept, others in index.neighbors_map.items()
            for other, _ in others
        }
        unique = dict(zip(images, dataset.values(UNIQUENESS), strict=True))
        found = {"key": key, "uniqueness": unique, "near": near}
        write_json(path, found)
    dataset.set_values(UNIQUENESS, [found["uniqueness"][image] for image in images])
    dataset.set_values(NEAR, [found["near"].get(image) for image in images])

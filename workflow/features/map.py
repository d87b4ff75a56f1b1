"""Vectors in two dimensions, to be looked at: by UMAP where umap-learn is installed, else principal axes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from workflow.features.store import Store, Vectors
from workflow.project.rows import atomic, digest

Points = NDArray[np.float64]
# Of fewer images UMAP makes nothing.
FEWEST = 16


def way(images: int) -> str:
    """How so many vectors are brought into two dimensions here: umap or pca."""
    return "umap" if images >= FEWEST and find_spec("umap") else "pca"


def points(store: Store, images: Sequence[str], vectors: Vectors) -> Points:
    """The places (images, 2) of the images' `vectors`, computed once and kept beside them."""
    key = digest([store.digest(), list(images), way(len(images))])
    path = store.folder / "points.npz"
    if path.exists():
        with np.load(path) as kept:
            if str(kept["key"]) == key:
                return kept["points"]
    made = _umap(vectors) if way(len(images)) == "umap" else _axes(vectors)
    with atomic(path) as file:
        np.savez(file, key=np.array(key), points=made)
    return made


def _axes(vectors: Vectors) -> Points:
    """The first two principal axes, each turned so that its largest part is positive: the same every time."""
    centred = np.asarray(vectors, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    # Of the small square of numbers, so that a hundred thousand images take seconds.
    _, directions = np.linalg.eigh(centred.T @ centred)
    axes = directions[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])
    placed = centred @ axes
    return np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))


def _umap(vectors: Vectors) -> Points:
    import umap

    # With a seed it is the same every time, and works on one core.
    reducer = umap.UMAP(n_components=2, random_state=0, n_jobs=1)
    return np.asarray(reducer.fit_transform(np.asarray(vectors, dtype=np.float32)), dtype=np.float64)

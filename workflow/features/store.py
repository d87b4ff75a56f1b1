"""Vectors of images on disk: data/embeddings/ANNOTATOR/, appended to while new images come.

    card.json      whose they are, and how long a vector is
    vectors.f16    one after the other, float16, to be mapped into memory
    images.jsonl   {"image": id}, a line a vector, in their order

A line is written after its vector. So what a crash left is known, and cut off: the vectors that have no line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workflow.models import slug
from workflow.project.checks import BY_IMAGE
from workflow.project.paths import Project
from workflow.project.rows import append_rows, appending, cached_rows, digest, read_json, write_json

Vectors = NDArray[np.float16]


class Store:
    """The vectors of one annotator in `folder`; `images` are their images, in their order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card: dict[str, Any] = read_json(folder / "card.json", {})
        self.images: list[str] = []
        if self.card:
            self.images = [row["image"] for row in cached_rows(folder / "images.jsonl", BY_IMAGE)]
            self.images = self.images[: self._whole()]

    @property
    def width(self) -> int:
        """How many numbers a vector has; 0 before the first came."""
        return self.card.get("width", 0)

    def vectors(self) -> Vectors:
        """(images, width), read from the disk as they are used."""
        if not self.images:
            return np.zeros((0, self.width), dtype=np.float16)
        shape = (len(self.images), self.width)
        return np.memmap(self.folder / "vectors.f16", dtype=np.float16, mode="r", shape=shape)

    def of(self, images: Sequence[str]) -> Vectors | None:
        """The vectors of these images, in their order; None where one has none."""
        place = {image: n for n, image in enumerate(self.images)}
        if not images or any(image not in place for image in images):
            return None
        return np.asarray(self.vectors()[[place[image] for image in images]])

    def begin(self, name: str, revision: str) -> None:
        """Be those of this annotator: others are forgotten, since they can be had again."""
        if (self.card.get("model"), self.card.get("revision")) != (name, revision):
            for old in ("images.jsonl", "vectors.f16"):
                (self.folder / old).unlink(missing_ok=True)
            self.card, self.images = {"model": name, "revision": revision}, []
            write_json(self.folder / "card.json", self.card)
        known = len(self.images) * self.width * 2
        if (self.folder / "vectors.f16").exists():
            os.truncate(self.folder / "vectors.f16", known)

    def append(self, images: Sequence[str], vectors: Iterable[Vectors]) -> None:
        """Put more at the end."""
        rows = np.stack(list(vectors)).astype(np.float16)
        if not self.width:
            self.card["width"] = rows.shape[1]
            write_json(self.folder / "card.json", self.card)
        with appending(self.folder / "vectors.f16") as file:
            file.write(rows.tobytes())
            file.flush()
        with appending(self.folder / "images.jsonl") as file:
            append_rows(file, ({"image": image} for image in images))
        self.images += images

    def digest(self) -> str:
        """What decides the vectors: whose they are, and of which images."""
        return digest([self.card, self.images])

    def _whole(self) -> int:
        """How many vectors are there to their end."""
        file = self.folder / "vectors.f16"
        return file.stat().st_size // (2 * self.width) if self.width and file.exists() else 0


def store_of(project: Project, spec: str) -> Store:
    """The vectors of an annotator, keyed like its predictions."""
    return Store(project.data / "embeddings" / slug(spec))


def stores_of(project: Project) -> list[Store]:
    """All there are, by name."""
    folders = sorted((project.data / "embeddings").glob("*/card.json"))
    return [Store(card.parent) for card in folders]

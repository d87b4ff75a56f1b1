"""Which images of a split a model has as good as learned: those with a copy among the training images.

Where there are any, a score says less of images that are new. They are counted beside every metric.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from workflow.alike.hashes import hashes_of, is_hashed, pairs
from workflow.project.paths import Project
from workflow.project.rows import Row, read_catalog, read_rows
from workflow.records import ImageRecord
from workflow.running.progress import progress

# So many are named.
SHOWN = 20


def leakage(project: Project, split: str, tested: Collection[str], trained: Collection[str]) -> Row:
    """How many `images` of a split have a copy among the training images; both are named by ids.

    `exact` of them have one with the same pixels, as far as the size and all measures tell, `near` one that
    only looks alike (hashes.py). `unmeasured` images of either side could not be looked at. The nearest are
    listed, {image, train, bits}, by their paths.
    """
    records = {r.id: r for r in read_catalog(project.catalog)}
    measured = {row["id"]: row for row in read_rows(project.measures) if is_hashed(row)}
    sides = [sorted(image for image in side if image in measured) for side in (tested, trained)]
    rows = [[measured[image] for image in side] for side in sides]
    with progress("looking for copies in train", len(sides[0])) as advance:
        found = pairs(hashes_of(rows[0]), hashes_of(rows[1]), advance)
    nearest: dict[str, tuple[bool, int, str]] = {}
    for i, j, bits in zip(found.first.tolist(), found.second.tolist(), found.bits.tolist(), strict=True):
        image, other = sides[0][i], sides[1][j]
        same = not bits and _looks(measured[image], records[image]) == _looks(measured[other], records[other])
        pair = (not same, bits, records[other].path)
        nearest[image] = min(pair, nearest.get(image, pair))
    listed = sorted((*pair, records[image].path) for image, pair in nearest.items())
    exact = sum(not pair[0] for pair in nearest.values())
    return {
        "split": split,
        "images": len(tested),
        "exact": exact,
        "near": len(nearest) - exact,
        "unmeasured": len(set(tested) - set(sides[0])) + len(set(trained) - set(sides[1])),
        "pairs": [{"image": image, "train": other, "bits": bits} for _, bits, other, image in listed[:SHOWN]],
    }


def _looks(row: Row, record: ImageRecord) -> tuple[Any, ...]:
    keys = ("dhash", "down", "mirrored", "brightness", "blur")
    return (record.width, record.height, *(row[key] for key in keys))


def in_words(leak: Mapping[str, Any]) -> str:
    """What leaks, in a line, and what to do about it."""
    images, copies = leak["images"], leak["exact"] + leak["near"]
    unseen = f"; {leak['unmeasured']} images are not measured (workflow catalog --force)"
    rest = unseen if leak["unmeasured"] else ""
    if not copies:
        return f"leak: none of {images} {leak['split']} images has a copy or near-copy in train{rest}"
    have = "has" if copies == 1 else "have"
    of = f"leak: {copies} of {images} {leak['split']} images {have} a copy in train"
    return f"{of} ({leak['exact']} exact, {leak['near']} near): new images would score less{rest}"

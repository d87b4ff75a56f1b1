"""Near-copies go together: a group of images that hang together, which no split tears apart.

The key of an image is its group, or its id where it has none; from a hash of the key follows its split. An
image that is catalogued keeps its key, and so its split, whatever comes later. A new image takes the key of
a near-copy that is there already: of one in test before one in validation, of one there before one in train.
Images that are new together agree on one key. What the user's own rule groups hangs together as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workflow.alike.hashes import clusters, hashes_of, is_hashed, pairs
from workflow.project.paths import Project
from workflow.project.rows import Row, read_catalog, read_rows, write_rows
from workflow.records import ImageRecord, Split
from workflow.running.progress import progress

Pair = tuple[str, str]
# Whose side a new copy takes, where its near-copies are on several.
RANKS: dict[Split, int] = {"test": 0, "validation": 1, "train": 2}


def near_pairs(measures: Sequence[Row]) -> list[tuple[str, str, int]]:
    """The near-copies among images, by lines of measures.jsonl: two ids, and how many bits differ."""
    rows = [row for row in measures if is_hashed(row)]
    with progress("looking for near-copies", len(rows)) as advance:
        found = pairs(hashes_of(rows), advance=advance)
    columns = (found.first.tolist(), found.second.tolist(), found.bits.tolist())
    return [(rows[i]["id"], rows[j]["id"], bits) for i, j, bits in zip(*columns, strict=True)]


def keys_of(
    own: Mapping[str, str | None],
    near: Sequence[Pair],
    before: Mapping[str, str],
    split_of: Callable[[str], Split],
) -> dict[str, str]:
    """The key of each image. `own` is the group by the user's rule, or None; `near` are near-copies.

    `before` are the keys of what is catalogued. None of those changes.
    """
    images = sorted(own)
    number = {image: n for n, image in enumerate(images)}
    links = [(number[a], number[b]) for a, b in near]
    first: dict[str, int] = {}
    for image, group in own.items():
        if group is not None:
            links.append((first.setdefault(group, number[image]), number[image]))
    left, right = zip(*links, strict=True) if links else ((), ())
    together: dict[int, list[str]] = defaultdict(list)
    for image, lowest in zip(images, clusters(len(images), left, right).tolist(), strict=True):
        together[lowest].append(image)
    keys: dict[str, str] = {}
    for members in together.values():
        known = {before[image] for image in members if image in before}
        groups = {group for image in members if (group := own[image]) is not None}
        key = min(known, key=lambda name: (RANKS[split_of(name)], name)) if known else min(groups or members)
        keys |= {image: before.get(image, key) for image in members}
    return keys


def join(
    project: Project,
    records: list[ImageRecord],
    measures: Sequence[Row],
    split_of: Callable[[str], Split],
    search: bool,
) -> tuple[list[ImageRecord], str]:
    """The records with the groups and splits that near-copies give them, and what was done, for the summary.

    Without `search` near-copies are not looked for, and who was joined before stays so. groups.jsonl has a
    line an image whose key is not its own; a catalog that is written after it can be stopped in between.
    """
    own = {r.id: r.group for r in records}
    rows = {row["image"]: row for row in read_rows(project.groups)}
    if not search and not rows:
        return records, ""
    # Where the user's own rule says something else than it did, that counts.
    joined = {
        image: row["group"]
        for image, row in rows.items()
        if image in own and row["own"] == (own[image] or image)
    }
    old = [r.id for r in read_catalog(project.catalog)] if project.catalog.exists() else []
    before = {image: own[image] or image for image in old if image in own} | joined
    near = near_pairs(measures) if search else []
    keys = keys_of(own, [(a, b) for a, b, _ in near], before, split_of)
    named = {key for image, key in keys.items() if key != image}
    changed = [
        {"image": image, "own": own[image] or image, "group": key}
        for image, key in keys.items()
        if key != (own[image] or image)
    ]
    write_rows(project.groups, changed)
    result = [
        replace(r, group=keys[r.id] if keys[r.id] in named else None, split=split_of(keys[r.id]))
        for r in records
    ]
    return result, _summary(near, {r.id: r for r in result})


def _summary(near: Sequence[tuple[str, str, int]], records: Mapping[str, Any]) -> str:
    if not near:
        return ""
    copies = len({image for a, b, _ in near for image in (a, b)})
    apart = sum(records[a].split != records[b].split for a, b, _ in near)
    torn = f", {apart} pairs of them on different sides since before" if apart else ""
    return f"; {copies} images with near-copies{torn} (workflow duplicates)"

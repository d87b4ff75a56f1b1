"""Sets of images that are looked at by themselves, since a model may be good on most and bad on some."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath

from workflow.records import ImageRecord

# Of fewer images little can be told, and of many slices nothing.
LEAST = 5
MOST = 12
# What the lowest, the middle and the highest third of a measure are called.
THIRDS = {
    "brightness": ("darkest third", "middle third by brightness", "brightest third"),
    # The variance of the Laplacian: the lower, the more blurred.
    "blur": ("most blurred third", "middle third by blur", "sharpest third"),
}
Slices = dict[str, list[int]]


def slices_of(
    records: Sequence[ImageRecord],
    measures: Mapping[str, Mapping[str, float]] | None = None,
    tags: Mapping[str, Collection[str]] | None = None,
) -> Slices:
    """The numbers of the images of each slice, by what to call it; `records` stand in the order of their ids.

    Slices are the source folders, where there are several; the thirds of all measured images by brightness
    and by blur, of `measures` {id: {name: value}}; and `tags`, {tag: ids}. Slices of fewer than `LEAST`
    images and such as hold all are left out, and of more than `MOST` folders or tags the smallest.
    """
    folders: Slices = defaultdict(list)
    for number, record in enumerate(records):
        folders[f"folder {PurePosixPath(record.path).parent}"].append(number)
    tagged = {
        f"tag {tag}": [n for n, record in enumerate(records) if record.id in ids]
        for tag, ids in (tags or {}).items()
    }
    slices = _largest(folders, len(records))
    for name in THIRDS:
        known = {
            n: row[name] for n, r in enumerate(records) if name in (row := (measures or {}).get(r.id, {}))
        }
        slices |= {third: some for third, some in _thirds(name, known).items() if len(some) >= LEAST}
    return slices | _largest(tagged, len(records))


def _largest(groups: Slices, images: int) -> Slices:
    some = {name: numbers for name, numbers in groups.items() if LEAST <= len(numbers) < images}
    return {
        name: some[name] for name in sorted(sorted(some, key=lambda name: (-len(some[name]), name))[:MOST])
    }


def _thirds(name: str, values: Mapping[int, float]) -> Slices:
    """Images by rising value in three parts of one size; of equal values the earlier image comes first."""
    ranked = sorted(values, key=lambda number: (values[number], number))
    if not ranked or values[ranked[0]] == values[ranked[-1]]:
        return {}
    ends = [len(ranked) * part // 3 for part in range(4)]
    return {third: sorted(ranked[ends[part] : ends[part + 1]]) for part, third in enumerate(THIRDS[name])}

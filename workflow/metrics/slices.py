"""Sets of images that are looked at by themselves, since a model may be good on most and bad on some."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from workflow.records import ImageRecord

# Of fewer images little can be told, and of many slices nothing.
LEAST = 5
MOST = 12


def slices_of(records: Sequence[ImageRecord]) -> dict[str, list[int]]:
    """The numbers of the images of each source folder, by what to call it, where there are several.

    `records` stand in the order of their ids. Folders of fewer than `LEAST` images are left out, and of
    more than `MOST` the smallest.
    """
    folders: dict[str, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        folders[str(PurePosixPath(record.path).parent)].append(number)
    if len(folders) < 2:
        return {}
    large = sorted(folders, key=lambda name: (-len(folders[name]), name))[:MOST]
    return {f"folder {name}": folders[name] for name in sorted(large) if len(folders[name]) >= LEAST}

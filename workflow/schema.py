"""The locked class schema: once labels exist, an index means one class for good.

Classes may be added at the end. A class removed, renamed or moved would change what old labels and
models mean, so that is refused while labels are in place.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from workflow.errors import ConfigError
from workflow.store import read_json, read_rows, write_json


def lock_schema(data: Path, classes: tuple[str, ...], keypoints: tuple[str, ...], labels: Path) -> None:
    """Lock the names of classes and those of keypoints, each in a file of their own."""
    lock_names(data / "classes.json", classes, labels)
    lock_names(data / "keypoints.json", keypoints, labels)


def lock_names(path: Path, names: tuple[str, ...], labels: Path) -> None:
    """Keep `names` in `path`, or raise ConfigError where labels in use would change their meaning."""
    locked = tuple(read_json(path, []))
    if locked == names:
        return
    if names[: len(locked)] != locked and labels.exists():
        reviewed = (row for row in read_rows(labels) if row["state"] == "reviewed")
        used = Counter(a["label"] for row in reviewed for a in row["annotations"])
        in_use = ", ".join(f"{name} ({used[name]})" for name in locked if used[name])
        if in_use:
            what = f"{path.stem}: {list(names)} does not begin with the locked {list(locked)}"
            raise ConfigError([f"{what}; labels in use: {in_use}"], f"add new {path.stem} at the end")
    write_json(path, list(names))

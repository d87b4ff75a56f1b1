"""Changes of what tasks say of their images, as few requests as there are different changes.

Label Studio has an action of the data manager that sets a field of many tasks, or replaces a text in it:
`add_data_field`. It changes nothing but the tasks' data, so a pull finds them untouched.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflow.errors import LabelStudioError, LostAnswer
from workflow.labelstudio.client import Client
from workflow.labelstudio.push.difference import ServerTask

# What the action takes for syntax, or a text in quotes may not hold.
SYNTAX = set("(),;[]'\"\\")


@dataclass(frozen=True)
class Change:
    """What a field becomes: `value`, or what it was with `old` replaced by it."""

    key: str
    value: str
    old: str = ""

    def of(self, text: str) -> str:
        return text.replace(self.old, self.value) if self.old else self.value


def changes(
    tasks: Sequence[ServerTask], now: Sequence[tuple[str, ...]], keys: Sequence[str]
) -> Mapping[Change, list[int]]:
    """Change -> the numbers of the tasks that need it; each of `now` has a task's values of the `keys`."""
    grouped: dict[Change, list[int]] = defaultdict(list)
    for task, values in zip(tasks, now, strict=True):
        for key, old, new in zip(keys, task.data, values, strict=True):
            if old != new:
                grouped[_replacement(key, old, new)].append(task.number)
    return grouped


def notes(tasks: Sequence[ServerTask], now: Sequence[tuple[str, ...]], unchanged: bool) -> list[str]:
    """Which addresses of images change, where some do.

    `unchanged`: ours are those of the last push, so that, where no file has moved, somebody has set others.
    """
    pairs = [(task.data, values) for task, values in zip(tasks, now, strict=True)]
    moved = [(old, new) for old, new in pairs if old[0] != new[0]]
    if not moved:
        return []
    (old, *_), (new, *_) = moved[0]
    lines = [f"{len(moved)} images have another address: {old} is now {new}"]
    if unchanged and all(old[1] == new[1] for old, new in moved):
        what = "another folder pushes to this project too, and each rewrites the other's addresses"
        lines.append(f"{what} -> push from one folder, or set one push.image_url in both")
    return lines


def apply(client: Client, project: int, change: Change, numbers: Sequence[int]) -> None:
    """Change tasks in one request; one by one where the server knows no such action."""
    kind, value = "String", change.value
    if change.old:
        kind, value = "Expression", f'replace("{change.old}","{change.value}")'
    body = {"selectedItems": {"all": False, "included": list(numbers)}}
    path = f"api/dm/actions?id=add_data_field&project={project}"
    try:
        client.post(path, body | {"value_name": change.key, "value_type": kind, "value": value})
    except LostAnswer:
        raise
    except LabelStudioError:
        for number in numbers:
            data = (client.get(f"api/tasks/{number}/") or {}).get("data", {})
            data[change.key] = change.of(str(data.get(change.key)))
            client.patch(f"api/tasks/{number}/", {"data": data})


def _replacement(key: str, old: str, new: str) -> Change:
    """The change by what differs at the beginning, which many images share, if that says the same."""
    shared = len(os.path.commonprefix([old[::-1], new[::-1]]))
    was, becomes = old[: len(old) - shared], new[: len(new) - shared]
    change = Change(key, becomes, was)
    exact = was and not SYNTAX & set(was + becomes) and change.of(old) == new
    return change if exact else Change(key, new)

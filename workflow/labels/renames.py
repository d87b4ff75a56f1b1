"""The locked class schema: once labels exist, changing the classes must not change what labels mean.

Labels are kept by name, so classes may be added and put in another order at will; datasets and runs carry
the names they were made with. A class that is renamed (`renamed_from` in project.toml) is renamed in
labels.jsonl and ledger.jsonl; on the server, where annotations are people's work, it keeps the name it is
stored under, and is only shown by the new one. A class that labels use cannot be removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from workflow.errors import ConfigError
from workflow.labels import history
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, read_json, read_rows, write_json


def lock_schema(project: Project) -> str:
    """Lock the names of classes and keypoints, and migrate labels where some were renamed; what was done.

    Killed in between and run again, it goes on. ConfigError where labels would lose their class.
    """
    settings = project.settings
    locked = {name: tuple(read_json(project.data / f"{name}.json", [])) for name in ("classes", "keypoints")}
    wanted = {"classes": settings.classes, "keypoints": settings.keypoints}
    if locked == wanted:
        return ""
    _refuse_stored(project)
    renamed: dict[str, str] = {}
    for kind, names in wanted.items():
        renamed |= _renamed(kind, locked[kind], names, settings.renamed_from)
    _refuse_removal(project, locked, wanted, renamed)
    did = _rename(project, renamed) if renamed else ""
    for kind, names in wanted.items():
        if locked[kind] != names:
            write_json(project.data / f"{kind}.json", list(names))
    return did


def stored_names(project: Project) -> Mapping[str, str]:
    """The name under which the server keeps a class, where it is another than today's."""
    return read_json(_stored_path(project), {})


def _stored_path(project: Project) -> Path:
    return project.data / "stored-names.json"


def _refuse_stored(project: Project) -> None:
    """A new class must not have the name under which the server keeps another."""
    for name, stored in stored_names(project).items():
        if stored in project.settings.labels and name in project.settings.labels:
            what = f"classes: {stored!r} is the name under which Label Studio keeps {name!r}"
            raise ConfigError([what], "give the new class another name")


def _renamed(
    kind: str, locked: tuple[str, ...], names: tuple[str, ...], renamed_from: Mapping[str, str]
) -> dict[str, str]:
    """Old name -> new name of what is renamed now; what was renamed before, or never was, is not in it."""
    new_names = {old: new for new, old in renamed_from.items() if old in locked and new in names}
    for old, new in new_names.items():
        if new in locked:
            what = f"renamed_from: {new!r} and {old!r} are two {kind} already, and would become one"
            raise ConfigError([what], f"give {old!r} a name of its own")
    return new_names


def _refuse_removal(
    project: Project,
    locked: Mapping[str, tuple[str, ...]],
    wanted: Mapping[str, tuple[str, ...]],
    renamed: Mapping[str, str],
) -> None:
    problems = []
    for kind, names in wanted.items():
        if not (gone := [n for n in locked[kind] if n not in names and n not in renamed]):
            continue
        reviewed = (row for row in read_rows(project.labels) if row["state"] == "reviewed")
        used = Counter(a["label"] for row in reviewed for a in row["annotations"])
        if in_use := ", ".join(f"{name!r} ({used[name]})" for name in gone if used[name]):
            problems.append(f"{kind}: labels in use would lose their class: {in_use}")
    if problems:
        fix = 'put them back, rename them (renamed_from = {NEW = "OLD"}), or relabel them in Label Studio'
        raise ConfigError(problems, fix)


def _rename(project: Project, renamed: Mapping[str, str]) -> str:
    """Rename in our files; the names the server stores first, without which a pull would not know them."""
    stored = dict(stored_names(project))
    for old, new in renamed.items():
        stored[new] = stored.pop(old, old)
    # A second run of a killed one finds the new name there, and its old one in `stored` as it should be.
    kept = dict(stored_names(project))
    write_json(_stored_path(project), stored | {new: kept[new] for new in renamed.values() if new in kept})
    did = ", ".join(f"{old} to {new}" for old, new in sorted(renamed.items()))
    labels, changed = RowFile(project.labels), 0
    for image in labels:
        row = labels.row(image) or {}
        changed += sum(a["label"] in renamed for a in row["annotations"])
        labels.put(image, history.with_names(row, renamed))
    if project.labels.exists():
        history.save(project, labels, f"rename {did}", renamed)
    ledger = RowFile(project.ledger)
    for image in ledger:
        rows = ledger.rows(image)
        for row in rows:
            row["actions"] = [_with(action, renamed, "label", "was") for action in row["actions"]]
        ledger.put(image, *rows)
    if project.ledger.exists():
        ledger.write()
    _rename_disputes(project, renamed)
    return f"{changed} labels renamed: {did}"


def _rename_disputes(project: Project, renamed: Mapping[str, str]) -> None:
    disputes = RowFile(project.disagreements)
    for image in disputes:
        row = disputes.row(image) or {}
        for place in row["on"]:
            place["labels"] = {renamed.get(name, name): who for name, who in place["labels"].items()}
        disputes.put(image, row)
    if project.disagreements.exists():
        disputes.write()


def _with(row: Row, renamed: Mapping[str, str], *keys: str) -> Row:
    return row | {key: renamed.get(row[key], row[key]) for key in keys if row.get(key) is not None}

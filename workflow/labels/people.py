"""What the people who label are called: by name, by initials or by number, as `pull.people` says.

`data/people.json` has them by the number that ledger and labels keep; a name is looked up when it is shown,
so that who asks to be called otherwise is, in every figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from workflow.project.paths import Project
from workflow.project.rows import read_json, write_json

Names = Mapping[str, tuple[str, str]]


def keep(project: Project, people: Callable[[], Names], known: set[str]) -> None:
    """Write down what those of `known` are called whom the file lacks; `people` has (name, initials) of all.

    What is not to be shown is not kept either: numbers need no file, initials no names.
    """
    style = project.settings.pull.people
    kept: dict[str, dict[str, str]] = read_json(project.people, {})
    if style == "numbers":
        project.people.unlink(missing_ok=True)
        return
    wanted = "name" if style == "names" else "initials"
    fits = all(set(entry) == {wanted} for entry in kept.values())
    if not known or (fits and known <= kept.keys()):
        return
    called = {number: {wanted: both[style == "initials"]} for number, both in people().items()}
    now = {number: called.get(number, {wanted: ""}) for number in sorted(known | kept.keys())}
    if now != kept:
        write_json(project.people, now)


def called(project: Project) -> Callable[[str], str]:
    """What a person of the ledger is called; of several ("1, 2") each. Two of one name are told by number."""
    if project.settings.pull.people == "numbers":
        return lambda person: person
    entries: dict[str, dict[str, str]] = read_json(project.people, {})
    names = {number: entry.get("name") or entry.get("initials") or "" for number, entry in entries.items()}
    often = Counter(names.values())
    shown = {n: f"{name} ({n})" if often[name] > 1 else name for n, name in names.items() if name}
    return lambda person: ", ".join(shown.get(one, one) for one in person.split(", "))

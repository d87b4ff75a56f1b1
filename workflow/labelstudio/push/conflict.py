"""What somebody changed in a project's settings on the server since we last set them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from workflow.errors import LabelStudioError
from workflow.labelstudio.config import meant_by
from workflow.project.rows import digest
from workflow.records import Json
from workflow.review import Whose

# What Label Studio calls a setting -> what people call it.
WORDS = {
    "label_config": "labeling interface",
    "sampling": "order of tasks",
    "maximum_annotations": "annotations per task",
    "expert_instruction": "instructions",
    "show_instruction": "showing instructions before labeling",
}


@dataclass(frozen=True)
class Changes:
    """`send` are the settings to be sent, `conflicts` those that somebody else changed, in words each.

    `kept` names, for the next push, what was left as it is there.
    """

    send: Json
    conflicts: dict[str, list[str]]
    kept: dict[str, str]

    def lines(self) -> list[str]:
        return [
            f"{WORDS[key]}, changed in Label Studio: {what}"
            for key, differences in self.conflicts.items()
            for what in differences
        ]


def compare(wanted: Mapping[str, Any], server: Json, known: Json, whose: Whose) -> Changes:
    """Settings that differ from the `server`'s: ours to be sent, or changed there by somebody.

    `known` says what we last `sent`, and what of theirs was `kept` beside ours. Where it does not, as an
    older version wrote it, only labels that would go are somebody's change.
    """
    changes = Changes({}, {}, {})
    for key, ours in wanted.items():
        theirs, sent = server.get(key) or type(ours)(), known.get("sent", {}).get(key)
        if theirs == ours:
            continue
        if whose != "ours" and known.get("kept", {}).get(key) == digest([theirs, ours]):
            changes.kept[key] = digest([theirs, ours])
        elif not _by_somebody(key, theirs, ours, sent):
            changes.send[key] = ours
        else:
            changes.conflicts[key] = list(differences(key, theirs, ours))
            if whose == "ours":
                changes.send[key] = ours
            elif whose == "theirs":
                changes.kept[key] = digest([theirs, ours])
    return changes


def refuse(changes: Changes, number: int) -> None:
    """LabelStudioError where somebody else's change would be lost, and nobody said whose counts."""
    undecided = [key for key in changes.conflicts if key not in changes.send and key not in changes.kept]
    if not undecided:
        return
    what = "; ".join(f"{WORDS[key]}: {', '.join(changes.conflicts[key])}" for key in undecided)
    raise LabelStudioError(
        f"project {number} was changed in Label Studio ({what})",
        "workflow push --keep-theirs leaves it as it is there, --ours puts the project's back",
    )


def differences(key: str, theirs: Any, ours: Any) -> Iterator[str]:
    """In words: the labels that only one of two interfaces has, or that it is something else."""
    if key == "expert_instruction":
        yield "other words there than in instructions.md"
        return
    if key != "label_config":
        yield f"{theirs!r} there, {ours!r} here"
        return
    their_labels, our_labels = labels_of(theirs), labels_of(ours)
    if their_labels is None or our_labels is None or their_labels == our_labels:
        yield (
            "other than the project's, with the same labels" if their_labels == our_labels else "no XML there"
        )
        return
    for words, names in (("only there", their_labels - our_labels), ("only here", our_labels - their_labels)):
        yield from (f"label {label!r} of {control!r} is {words}" for control, label in sorted(names))


def labels_of(config: str) -> set[tuple[str, str]] | None:
    """The labels of an interface, each with its control's name; None where it is no XML."""
    try:
        root = ElementTree.fromstring(config)
    except ElementTree.ParseError:
        return None
    labels = set()
    for control in root.iter():
        for label in control.iter():
            if label.tag in ("Label", "Choice") and "name" in control.attrib:
                labels.add((control.get("name", ""), meant_by(label.get("value", ""))))
    return labels


def _by_somebody(key: str, theirs: Any, ours: Any, sent: Any) -> bool:
    if sent is not None:
        return theirs != sent
    if key == "expert_instruction":
        return bool(theirs)
    if key != "label_config":
        return False
    their_labels, our_labels = labels_of(theirs), labels_of(ours)
    return their_labels is None or bool(their_labels - (our_labels or set()))

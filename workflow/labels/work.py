"""What people did to one image, as whichever tool they review in tells it."""

from __future__ import annotations

from dataclasses import dataclass

from workflow.labels.agreement import Opinion
from workflow.labels.blind import Blind
from workflow.records import Annotation


@dataclass(frozen=True)
class Guesses:
    """What somebody was shown: `annotations`, a planted probe among them, and whose (NAME@REVISION)."""

    version: str = ""
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class Work:
    """One task of an image: each person's latest `opinions`, and the guesses each of them started from.

    `latest` are the guesses who opens the task now is shown. `blind` says why nobody was to be shown any,
    and is empty where they were. `unknown` are (person, label) of labels that are no class of the project:
    with one of them, an image's labels cannot be told.
    """

    image: str
    task: int
    opinions: tuple[Opinion, ...]
    started_from: tuple[Guesses, ...]
    latest: Guesses
    blind: Blind = ""
    unknown: tuple[tuple[str, str], ...] = ()

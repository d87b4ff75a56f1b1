"""What the product asks of the tool in which people review: another one would be a second wing.

The stages and commands speak with these protocols only; `workflow.wing` says which tool is in use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from workflow.labels.work import Work
from workflow.models import Pixels
from workflow.project.paths import Project
from workflow.project.rows import Row
from workflow.records import ImageRecord, Point, Sample

# Whose labeling interface stays where somebody has changed it on the server: nobody has said, or who.
Whose = Literal["", "theirs", "ours"]


@dataclass(frozen=True)
class Delivery:
    """What a push did, or would do: in words, with `lines` of detail, and whether it `changed` anything."""

    did: str
    changed: bool
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flagged:
    """How many tasks were told why somebody should look again, and of how many that was taken back.

    `missing` are the images that have no task; `page` is where people find them.
    """

    told: int
    taken_back: int
    missing: tuple[str, ...]
    page: str


class WorkReader(Protocol):
    """Reads the people's work, task by task.

    `losses` count by reason what could not be carried; `seen` are the numbers of the tasks that were read;
    `absent` leads from an image that is not in the catalog to its task, for when it is back.
    """

    losses: Counter[str]
    seen: set[int]
    absent: dict[str, int]

    def read(self, since: datetime | None = None, tasks: Sequence[int] | None = None) -> Iterator[Work]:
        """The work on all tasks, on those changed `since` (by the server's clock), or on those numbered."""
        ...


class Guesser(Protocol):
    """A loaded annotator that helps people while they label; `name` and `revision` are its own."""

    name: str
    revision: str

    def known(self, record: ImageRecord) -> Sample | None:
        """What it said of the image before; None where it must be asked."""
        ...

    def guess(self, records: Sequence[ImageRecord]) -> Iterable[Sample]:
        """What it says of images; one that cannot be read is left out."""
        ...

    def close(self) -> None: ...


class Segmenter(Protocol):
    """A promptable model: it looks at an image once, and then draws the mask that points or a box mean."""

    name: str
    revision: str

    def embed(self, image: Pixels) -> Any: ...

    def mask(
        self,
        image: Any,
        points: Sequence[Point],
        positive: Sequence[bool],
        box: tuple[float, float, float, float] | None = None,
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Help:
    """What live help is made of. `guesser` and `segmenter` load a model, when they are called; None for no
    masks. `pixels` decodes an image; `find` has it by its id. `pull` takes what people submitted, and says
    whether it could. `say` tells who runs it.
    """

    guesser: Callable[[], Guesser]
    segmenter: Callable[[], Segmenter] | None
    find: Callable[[str], ImageRecord | None]
    pixels: Callable[[ImageRecord], Pixels]
    pull: Callable[[], bool]
    say: Callable[[str], None]


class ReviewTool(Protocol):
    """A connection to one server of the tool. Where a project is not there yet, StageError says: push."""

    url: str

    def place(self, project: Project) -> Row | None:
        """Which project of the server is this one: its `url` and number; None where nothing was pushed."""
        ...

    def page(self, project: Project, to_review: bool = False) -> str:
        """The address at which people find the project, or, `to_review`, what waits there one by one."""
        ...

    def waiting(self, project: Project) -> tuple[int, int]:
        """How many tasks wait for a person, and how many there are."""
        ...

    def now(self) -> datetime:
        """The server's clock, which may differ from ours."""
        ...

    def push(self, project: Project, guesses: Path, whose: Whose = "") -> Delivery:
        """Bring tasks and guesses up to date. LabelStudioError where somebody changed the labeling interface
        on the server, and nobody says `whose` counts.
        """
        ...

    def preview(self, project: Project, guesses: Path) -> Delivery:
        """What a push would send."""
        ...

    def work(
        self,
        project: Project,
        records: Mapping[str, ImageRecord],
        model_of: Callable[[str, int], str],
    ) -> WorkReader:
        """What people did. `model_of` an image and an annotation's number is whose guesses its person saw,
        where an earlier pull wrote that down.
        """
        ...

    def reads_by(self, project: Project) -> Row:
        """What decides how the people's work is read: it must be read anew where this has changed."""
        ...

    def mark_truth(self, project: Project, task: int, person: str = "") -> str:
        """Mark a task's annotation as ground truth: the last one, or that of a person, by number.

        Who made it. LabelStudioError where there is none.
        """
        ...

    def people(self) -> Mapping[str, tuple[str, str]]:
        """Everybody's name (or address) and initials, by the number that `Opinion.person` has."""
        ...

    def point_out(self, project: Project, title: str, tasks: Sequence[int]) -> None:
        """Show people these tasks under a title of their own, as long as there are any."""
        ...

    def review(self, project: Project, truth: Mapping[str, Row], limit: int | None) -> tuple[int, int]:
        """Let the simulated reviewer correct what waits; how many tasks, and how many of them it skipped."""
        ...

    def flag(self, project: Project, reasons: Mapping[str, str]) -> Flagged:
        """Say on the tasks of images why somebody should look again, empty where nobody need.

        What people did there is left alone, and nothing is sent twice.
        """
        ...

    def helping(self, project: Project, help: Help, port: int | None) -> AbstractContextManager[str]:
        """Serve live help to the project's people, and pull after what they submit: the address of it."""
        ...

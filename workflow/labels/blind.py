"""Which images are pushed without guesses, so that figures have something unanchored to stand on."""

from __future__ import annotations

from typing import Literal

from workflow.project.rows import digest
from workflow.project.settings import Push
from workflow.records import ImageRecord

Blind = Literal["", "split", "control"]


def blindness(record: ImageRecord, settings: Push) -> Blind:
    """Why an image is pushed blind: for its `split`, as `control`; empty where it is not.

    The control share follows from the image's id, so that it stays the same over all rounds.
    """
    if record.split in settings.blind:
        return "split"
    return "control" if chance(record.id, "control") < settings.control else ""


def chance(image: str, what: str) -> float:
    """A number in [0, 1) that follows from an image's id."""
    return int(digest([what, image]), 16) / 16**16

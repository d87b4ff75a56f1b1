"""Answers, which are what annotators said before anything is chosen: asked for, and as lines of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from workflow.models import Counted, Full, Guesses, Pixels, Size, Whole, lines_of
from workflow.models.chain import Chain
from workflow.models.choice import Answer
from workflow.project.checks import answer_shape
from workflow.project.rows import Row, annotation_from_row, annotation_to_row
from workflow.records import Provenance

# Whose guesses are chosen gets its name and revision then.
_KEPT = {"kind": "model", "name": ""}
SHAPE = answer_shape(annotation_from_row)


class Answering:
    """A chain that is asked for answers, as annotators are for guesses."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.name, self.asked = chain.name, chain.asked

    @property
    def revision(self) -> str:
        return self._chain.revision

    @property
    def names(self) -> tuple[str, ...]:
        return self._chain.names

    @property
    def engines(self) -> tuple[str, ...]:
        return self._chain.engines

    @property
    def counted(self) -> Counted:
        """What is told of all answers, whatever is chosen of them; the rest a `Choice` tells."""
        return {} if self.asked.later else self._chain.counted

    @property
    def shortfalls(self) -> tuple[str, ...]:
        return lines_of(self.counted)

    def close(self) -> None:
        self._chain.close()

    def least(self, height: int, width: int) -> Size | None:
        return self._chain.least(height, width)

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Answer]:
        return self._chain.answers(images, prior, classes)

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Answer]:
        return self._chain.answers_reduced(images, wholes, classes)


def to_row(image: str, answer: Answer) -> Row:
    """{image, height, width, guesses, full}: guesses without their provenance, which all of a file share."""
    rows = [annotation_to_row(replace(a, provenance=_NOBODY)) for a in answer.guesses]
    guesses = [{name: value for name, value in one.items() if name != "provenance"} for one in rows]
    row: Row = {"image": image, "height": answer.height, "width": answer.width, "guesses": guesses}
    return row | ({"full": [[one.limit, one.score] for one in answer.full]} if answer.full else {})


def from_row(row: Row, least: float | None = None) -> Answer:
    """The answer of a line, without the guesses whose score is below `least`."""
    rows = row["guesses"]
    if least is not None:
        rows = [a for a in rows if a.get("score") is None or a["score"] >= least]
    guesses = tuple(annotation_from_row(a | {"provenance": _KEPT}) for a in rows)
    full = tuple(Full(*one) for one in row.get("full", ()))
    return Answer(guesses, row["height"], row["width"], full)


_NOBODY = Provenance("model", "")

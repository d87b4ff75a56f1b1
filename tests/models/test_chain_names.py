"""A model that names whole images, after one that draws, names what was drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from workflow.models import Guesses, Later, Pixels
from workflow.models.chain import Chain
from workflow.records import Annotation, Provenance
from workflow.tasks import TaskName

MODEL = Provenance("model", "m")


class Boxes:
    """Draws the same two boxes on every image, of names no project has."""

    name, revision, names = "boxes", "1", ("thing", "other")
    task: TaskName = "detection"
    later: frozenset[Later] = frozenset()

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        drawn = (
            Annotation("thing", MODEL, box=(0.0, 0.0, 10.0, 10.0), score=0.9),
            Annotation("other", MODEL, box=(10.5, 0.0, 20.0, 10.0), score=0.8),
        )
        return [tuple(a for a in drawn if a.label in classes) for _ in images]

    def close(self) -> None: ...


class Brightness:
    """Names a cutting by how bright it is: the score is its share of white."""

    name, revision, names = "brightness", "1", ()
    task: TaskName = "classification"
    later: frozenset[Later] = frozenset()

    def annotate(
        self, images: Sequence[Pixels], prior: Sequence[Guesses], classes: Sequence[str]
    ) -> list[Guesses]:
        shares = [float(image.mean()) / 255 for image in images]
        named = [("light", share) if share > 0.5 else ("dark", 1 - share) for share in shares]
        return [
            (Annotation(label, MODEL, score=score),) if label in classes else () for label, score in named
        ]

    def close(self) -> None: ...


@pytest.fixture
def half() -> Pixels:
    """Black on the left, a light gray on the right."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = 204
    return image


def test_what_was_drawn_gets_the_name_of_its_cutting(half: Pixels) -> None:
    chain = Chain([Boxes(), Brightness()], "detection")
    (found,) = chain.annotate([half], [()], ("light", "dark"))
    assert [(a.label, a.box, a.score) for a in found] == [
        ("dark", (0.0, 0.0, 10.0, 10.0), 1.0),
        ("light", (10.5, 0.0, 20.0, 10.0), pytest.approx(0.8)),
    ]
    assert {a.provenance.name for a in found} == {"boxes > brightness"}


def test_what_gets_no_name_is_no_guess(half: Pixels) -> None:
    (found,) = Chain([Boxes(), Brightness()], "detection").annotate([half], [()], ("light",))
    assert [a.label for a in found] == ["light"]


def test_alone_it_names_the_image(half: Pixels) -> None:
    chain = Chain([Brightness()], "classification")
    (found,) = chain.annotate([half], [()], ("light", "dark"))
    assert [(a.label, a.geometry) for a in found] == [("dark", "")]
    assert chain.names == ()


def test_the_last_word_on_names_is_the_namers() -> None:
    assert Chain([Boxes(), Brightness()]).names == ()
    assert Chain([Boxes(), Brightness()]).task == "detection"
    assert Chain([Boxes()]).names == ("thing", "other")

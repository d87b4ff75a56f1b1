"""Names that differ from a class by their case only: one rule for models and imports."""

from __future__ import annotations

import pytest

from workflow.schema import CaseMatch


@pytest.mark.parametrize(
    ("names", "classes", "taken", "unclear"),
    [
        (["person"], ["person"], {}, {}),
        (["Person", "dog"], ["person"], {"Person": "person"}, {}),
        (["STRASSE "], ["straße"], {"STRASSE ": "straße"}, {}),
        (["Person", "person"], ["person"], {}, {"Person": ("person",)}),
        (["Person", "PERSON"], ["person"], {}, {"PERSON": ("person",), "Person": ("person",)}),
        (["PERSON"], ["person", "Person"], {}, {"PERSON": ("person", "Person")}),
        (["Person"], ["person", "Person"], {}, {}),
    ],
)
def test_one_like_one_class_is_taken_and_nothing_is_guessed(
    names: list[str], classes: list[str], taken: dict[str, str], unclear: dict[str, tuple[str, ...]]
) -> None:
    match = CaseMatch.of(names, classes)
    assert (match.taken, match.unclear) == (taken, unclear)


def test_of_peoples_labels_every_spelling_of_one_class_is_taken() -> None:
    match = CaseMatch.of(["CAT", "Cat", "cat", "a"], ["cat", "A", "a"], spellings=True)
    assert (match.taken, match.unclear) == ({"CAT": "cat", "Cat": "cat"}, {})
    assert CaseMatch.of(["B"], ["b", "β", "ß", "Ss"], spellings=True).taken == {"B": "b"}
    assert CaseMatch.of(["SS"], ["ß", "Ss"], spellings=True).unclear == {"SS": ("ß", "Ss")}

"""Whose word counts where several people labeled one image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workflow.labels.agreement import Opinion, Verdict, decide, disagreements
from workflow.project.settings import Pull
from workflow.records import Annotation, Provenance, Relation
from workflow.shapes import masks

LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)


def box(person: str, label: str, place: tuple[float, float, float, float], name: str = "") -> Annotation:
    return Annotation(label, Provenance("person", person), box=place, id=name)


def moved(place: tuple[float, float, float, float], by: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = place
    return (x1 + by, y1, x2 + by, y2)


def opinion(person: str, *annotations: Annotation, at: str = "1", truth: bool = False) -> Opinion:
    return Opinion(person, int(person), at, False, truth, annotations, 2.0)


def skip(person: str, at: str = "1") -> Opinion:
    return Opinion(person, int(person), at, True, False, ())


def policy(annotators: str, minimum: int = 2) -> Pull:
    return Pull(annotators=annotators, minimum=minimum)  # type: ignore[arg-type]


def told(verdict: Verdict) -> tuple[str | None, list[tuple[str, str]]]:
    """The state, and of each region its label and whose it is."""
    return verdict.state, [(a.label, a.provenance.name) for a in verdict.annotations]


A, B, C = (opinion(p, box(p, "cat", moved(LEFT, int(p)), "r"), at=p) for p in "123")


@pytest.mark.parametrize(
    ("annotators", "opinions", "expected"),
    [
        ("latest", [], (None, [])),
        ("latest", [A, B], ("reviewed", [("cat", "2")])),
        ("latest", [B, A], ("reviewed", [("cat", "2")])),
        ("latest", [A, skip("2", at="9")], ("reviewed", [("cat", "1")])),
        ("latest", [skip("1")], ("skipped", [])),
        ("ground-truth", [A, B], (None, [])),
        ("ground-truth", [opinion("1", truth=True), B], ("reviewed", [])),
        ("all", [A, B], ("reviewed", [("cat", "1"), ("cat", "2")])),
        ("all", [skip("1")], ("skipped", [])),
        ("agreement", [A], (None, [])),
        ("agreement", [A, B], ("reviewed", [("cat", "1")])),
        # The one in the middle overlaps the others most.
        ("agreement", [A, B, C], ("reviewed", [("cat", "2")])),
        ("agreement", [A, opinion("2")], (None, [])),
        ("agreement", [A, opinion("2"), opinion("3")], ("reviewed", [])),
        ("agreement", [A, B, opinion("3")], ("reviewed", [("cat", "1")])),
        ("agreement", [A, skip("2")], (None, [])),
        ("agreement", [A, skip("2"), skip("3")], ("skipped", [])),
        ("agreement", [A, B, skip("3")], ("reviewed", [("cat", "1")])),
    ],
)
def test_whose_word_counts(annotators: str, opinions: list[Opinion], expected: object) -> None:
    assert told(decide(opinions, policy(annotators))) == expected


def test_a_class_is_put_to_the_vote_where_people_agree_on_the_place() -> None:
    dog = opinion("3", box("3", "dog", LEFT))
    assert told(decide([A, B, dog], policy("agreement"))) == ("reviewed", [("cat", "1")])
    assert disagreements([A, B, dog], policy("agreement")) == []
    assert decide([A, dog], policy("agreement")).state is None
    (row,) = disagreements([A, dog], policy("agreement"))
    assert row == {"what": "label", "labels": {"cat": ["1"], "dog": ["3"]}, "box": [1.0, 0.0, 11.0, 10.0]}


def test_a_minimum_of_three_is_met_by_three_only() -> None:
    assert decide([A, B], policy("agreement", 3)).state is None
    assert decide([A, B, C], policy("agreement", 3)).state == "reviewed"


def test_two_against_two_is_no_majority() -> None:
    four = [A, B, opinion("3"), opinion("4")]
    assert decide(four, policy("agreement")).state is None
    (row,) = disagreements(four, policy("agreement"))
    assert (row["what"], row["labels"]) == ("presence", {"cat": ["1", "2"]})


def test_without_agreement_whatever_not_all_say_alike_is_listed() -> None:
    more = opinion("2", box("2", "cat", LEFT), box("2", "dog", RIGHT))
    one = opinion("1", box("1", "cat", LEFT))
    assert disagreements([one, more], policy("latest")) == [
        {"what": "presence", "labels": {"dog": ["2"]}, "box": list(RIGHT)}
    ]
    assert disagreements([one], policy("latest")) == []
    assert disagreements([one, replaced(one, "2")], policy("latest")) == []


def replaced(said: Opinion, person: str) -> Opinion:
    return opinion(person, *(box(person, a.label, a.box or LEFT, a.id) for a in said.annotations))


def test_a_region_is_matched_to_one_region_of_another_person_at_most() -> None:
    twice = opinion("1", box("1", "cat", LEFT, "a"), box("1", "cat", moved(LEFT, 1), "b"))
    once = opinion("2", box("2", "cat", moved(LEFT, 1), "a"))
    (row,) = disagreements([twice, once], policy("latest"))
    assert row == {"what": "presence", "labels": {"cat": ["1"]}, "box": list(LEFT)}


def test_whole_image_labels() -> None:
    def named(person: str, *labels: str) -> Opinion:
        return opinion(person, *(Annotation(label, Provenance("person", person)) for label in labels))

    several = [named("1", "cat", "dog"), named("2", "cat"), named("3", "cat")]
    assert told(decide(several, policy("agreement"))) == ("reviewed", [("cat", "1")])
    single = [named("1", "cat"), named("2", "dog")]
    assert decide(single, policy("agreement"), single=True).state is None
    (row,) = disagreements(single, policy("latest"), single=True)
    assert row == {"what": "label", "labels": {"cat": ["1"], "dog": ["2"]}}
    assert told(decide([*single, named("3", "dog")], policy("agreement"), single=True)) == (
        "reviewed",
        [("dog", "2")],
    )


def test_ids_two_people_use_stay_apart_and_points_stay_with_their_object() -> None:
    def person(name: str, by: float) -> Opinion:
        me = Provenance("person", name)
        point = Annotation("eye", me, keypoints=((5.0 + by, 5.0),), id="p", parent="r")
        return opinion(name, box(name, "cat", moved(LEFT, by), "r"), point)

    pooled = decide([person("1", 0), person("2", 1)], policy("all")).annotations
    assert [(a.id, a.parent) for a in pooled] == [("1/r", ""), ("1/p", "1/r"), ("2/r", ""), ("2/p", "2/r")]
    agreed = decide([person("1", 0), person("2", 1), person("3", 2)], policy("agreement")).annotations
    names = {a.label: a for a in agreed}
    assert names["eye"].parent == names["cat"].id
    assert len(agreed) == 2


def test_masks_are_the_same_by_their_pixels() -> None:
    import numpy as np

    def painted(person: str, width: int) -> Opinion:
        pixels = np.zeros((20, 20), bool)
        pixels[:, :width] = True
        return opinion(person, Annotation("sky", Provenance("person", person), mask=masks.encode(pixels)))

    assert disagreements([painted("1", 10), painted("2", 8)], policy("latest")) == []
    assert len(disagreements([painted("1", 10), painted("2", 3)], policy("latest"))) == 2


def test_the_verdict_says_on_whom_it_rests() -> None:
    assert [o.person for o in decide([A, B, C], policy("agreement")).of] == ["1", "2", "3"]
    assert [o.person for o in decide([A, B, C], policy("latest")).of] == ["3"]


def related(person: str, *pairs: tuple[str, str], at: str = "1") -> Opinion:
    """Two boxes, `l` and `r`, a little elsewhere for each person, and relations between them."""
    boxes = (box(person, "cat", moved(LEFT, int(person)), "l"), box(person, "dog", RIGHT, "r"))
    relations = tuple(Relation(first, last) for first, last in pairs)
    return replace(opinion(person, *boxes, at=at), relations=relations)


@pytest.mark.parametrize(
    ("annotators", "pairs", "severed"),
    [
        ("latest", [("l", "r")], 0),
        ("all", [("1/l", "1/r"), ("1/r", "1/l"), ("2/l", "2/r")], 0),
        ("agreement", [("l", "r")], 1),
    ],
)
def test_relations_are_between_what_counts(
    annotators: str, pairs: list[tuple[str, str]], severed: int
) -> None:
    said = [related("1", ("l", "r"), ("r", "l")), related("2", ("l", "r"), at="2")]
    verdict = decide(said, policy(annotators))
    assert [(r.first, r.last) for r in verdict.relations] == pairs
    assert verdict.severed == severed
    ids = {a.id for a in verdict.annotations}
    assert {end for pair in pairs for end in pair} <= ids


def test_a_relation_to_what_does_not_count_is_counted() -> None:
    """As to a probe, which is taken out of what a person said."""
    said = replace(related("1", ("l", "r"), ("l", "gone")), annotations=(box("1", "cat", LEFT, "l"),))
    verdict = decide([said], policy("latest"))
    assert (verdict.relations, verdict.severed) == ((), 2)


def test_a_relation_drawn_twice_is_one_persons_word() -> None:
    said = [related("1", ("l", "r"), ("l", "r")), related("2", at="2"), related("3", at="3")]
    verdict = decide(said, policy("agreement"))
    assert len(verdict.annotations) == 2
    assert (verdict.relations, verdict.severed) == ((), 1)


def ignoring(person: str, label: str = "cat", at: str = "1") -> Opinion:
    return opinion(person, replace(box(person, label, LEFT, "r"), ignored=True), at=at)


def test_what_is_ignored_by_one_of_two_is_a_disagreement_and_told_as_such() -> None:
    two = [A, ignoring("2")]
    (row,) = disagreements(two, policy("latest"))
    assert row == {
        "what": "ignored",
        "labels": {"cat": ["1", "2"]},
        "ignored": ["2"],
        "box": [1.0, 0.0, 11.0, 10.0],
    }
    assert decide(two, policy("agreement")).state is None
    assert disagreements([ignoring("1"), ignoring("2")], policy("latest")) == []
    (other,) = disagreements([A, ignoring("2", "dog")], policy("latest"))
    assert (other["what"], other["ignored"]) == ("label", ["2"])


def test_whether_something_is_ignored_is_put_to_the_vote() -> None:
    verdict = decide([A, ignoring("2"), ignoring("3")], policy("agreement"))
    assert [(a.label, a.ignored, a.provenance.name) for a in verdict.annotations] == [("cat", True, "2")]
    assert disagreements([A, ignoring("2"), ignoring("3")], policy("agreement")) == []
    (kept,) = decide([A, B, ignoring("3")], policy("agreement")).annotations
    assert not kept.ignored

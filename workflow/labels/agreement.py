"""Several people, one image: whose word counts, and where they disagree.

Regions of different people are the same where they overlap (IoU) enough: the assignment that maximises
the sum of IoUs, one person after the other (Hungarian method, scipy's `linear_sum_assignment`). A region
is agreed on where at least `minimum` people, and more than half of them, drew it with one label; and
agreed to be nothing where as many did not draw it. The rest is a disagreement, for people to settle. What
is ignored is another label than the same one that is not: a car and "ignore this car" are no agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from workflow.project.rows import Row
from workflow.project.settings import Pull
from workflow.records import Annotation, Relation
from workflow.shapes import overlap


@dataclass(frozen=True)
class Opinion:
    """What one person last submitted of one image; `number` is the annotation's on the server.

    `relations` lead from one of the annotations to another.
    """

    person: str
    number: int
    at: str
    skipped: bool
    ground_truth: bool
    annotations: tuple[Annotation, ...]
    seconds: float = 0.0
    parent: int | None = None
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What counts: `state` is None while that is open; `of` are the opinions it rests on.

    Of their `relations` so many are `severed`: a region they lead to does not count, or too few said so.
    """

    state: Literal["reviewed", "skipped"] | None
    annotations: tuple[Annotation, ...] = ()
    of: tuple[Opinion, ...] = ()
    relations: tuple[Relation, ...] = ()
    severed: int = 0


# What somebody says of a place: a label, and whether it is ignored.
Said = tuple[str, bool]
NOTHING: Said = ("", False)


@dataclass
class Place:
    """What people said of one place in an image: a region each at most."""

    by_person: dict[str, Annotation] = field(default_factory=dict)

    def winner(self) -> tuple[Said, int]:
        """What most people said of it, the first by name among equals, and how many."""
        votes = Counter((a.label, a.ignored) for a in self.by_person.values())
        return min(votes.items(), key=lambda item: (-item[1], item[0]))

    def best(self, said: Said) -> tuple[str, Annotation]:
        """Of the regions of which that was said, the one that overlaps the others most, and whose it is."""
        own = {person: a for person, a in self.by_person.items() if (a.label, a.ignored) == said}
        shared = overlap.iou(list(own.values()), list(own.values())).sum(axis=1)
        return list(own.items())[int(np.argmax(shared))]


def decide(opinions: Sequence[Opinion], policy: Pull, single: bool = False) -> Verdict:
    """Whose labels count by the project's policy; with `single` an image has one label as a whole."""
    opinions = sorted(opinions, key=lambda o: (o.at, o.number))
    submitted = [o for o in opinions if not o.skipped]
    if policy.annotators == "ground-truth":
        opinions = submitted = [o for o in opinions if o.ground_truth]
    if not opinions:
        return Verdict(None)
    if policy.annotators == "agreement":
        return _agreed(opinions, policy, single)
    if policy.annotators == "all" and submitted:
        regions = [(o.person, a) for o in submitted for a in o.annotations]
        names = Names(regions)
        return _verdict(names.of(regions), names, submitted)
    latest = (submitted or opinions)[-1]
    if latest.skipped:
        return Verdict("skipped", of=(latest,))
    return _verdict(latest.annotations, lambda who, name: name, [latest])


def disagreements(opinions: Sequence[Opinion], policy: Pull, single: bool = False) -> list[Row]:
    """Where people who submitted an image differ, a row a place: {what, labels: label -> people, box}.

    `what` is label, ignored (the label is one, and `ignored` names who would have it ignored) or presence.
    Under the policy of agreement what the majority settles is none; else whatever not all say alike.
    """
    submitted = [o for o in opinions if not o.skipped]
    if len(submitted) < 2:
        return []
    rows = []
    by_all = policy.model_copy(update={"minimum": len(submitted)})
    strict = policy if policy.annotators == "agreement" else by_all
    for place in _places(submitted, policy.agreement_iou, single):
        if _settled(place, len(submitted), strict, single) is None:
            people: dict[str, list[str]] = defaultdict(list)
            for person, annotation in place.by_person.items():
                people[annotation.label].append(person)
            box = next((overlap.as_box(a) for a in place.by_person.values() if a.geometry), None)
            ignored = [person for person, a in place.by_person.items() if a.ignored]
            mixed = 0 < len(ignored) < len(place.by_person)
            what = "label" if len(people) > 1 else "ignored" if mixed else "presence"
            row: Row = {"what": what, "labels": dict(people)}
            row |= {"ignored": ignored} if ignored else {}
            rows.append(row | ({"box": list(box)} if box else {}))
    skipped = sorted(o.person for o in opinions if o.skipped)
    return rows + ([{"what": "skipped", "labels": {"": skipped}}] if skipped else [])


def _agreed(opinions: Sequence[Opinion], policy: Pull, single: bool) -> Verdict:
    submitted = [o for o in opinions if not o.skipped]
    if _enough(len(opinions) - len(submitted), len(opinions), policy):
        return Verdict("skipped", of=tuple(o for o in opinions if o.skipped))
    if len(submitted) < policy.minimum or len(submitted) <= len(opinions) / 2:
        return Verdict(None)
    regions: list[tuple[str, Annotation]] = []
    twins: dict[tuple[str, str], str] = {}
    for place in _places(submitted, policy.agreement_iou, single):
        settled = _settled(place, len(submitted), policy, single)
        if settled is None:
            return Verdict(None)
        if settled != NOTHING:
            person, annotation = place.best(settled)
            regions.append((person, annotation))
            twins |= {(who, a.id): f"{person}/{annotation.id}" for who, a in place.by_person.items() if a.id}
    # A point whose person's own box lost against another's belongs to that one.
    names = Names(regions, twins)
    return _verdict(names.of(regions), names, submitted, lambda n: _enough(n, len(submitted), policy))


def _enough(votes: int, of: int, policy: Pull) -> bool:
    return votes >= policy.minimum and votes > of / 2


def _settled(place: Place, people: int, policy: Pull, single: bool) -> Said | None:
    """What is agreed on; NOTHING where it is agreed that nothing is there; None where neither."""
    said, votes = place.winner()
    if _enough(votes, people, policy):
        return said
    # Of an image's one label nobody says that it is not there: they say another.
    return NOTHING if not single and _enough(people - len(place.by_person), people, policy) else None


def _places(opinions: Sequence[Opinion], iou: float, single: bool) -> list[Place]:
    """Everything anybody drew, put together by place; labels of the whole image by name."""
    places: list[Place] = []
    for opinion in sorted(opinions, key=lambda o: o.person):
        for a in (a for a in opinion.annotations if not a.geometry):
            name = "" if single else a.label
            place = next((p for p in places if _name(p, single) == name and not _drawn(p)), None)
            if place is None or opinion.person in place.by_person:
                places.append(place := Place())
            place.by_person[opinion.person] = a
        _join(places, opinion.person, [a for a in opinion.annotations if a.geometry], iou)
    return places


def _name(place: Place, single: bool) -> str:
    return "" if single else next(iter(place.by_person.values())).label


def _drawn(place: Place) -> bool:
    return any(a.geometry for a in place.by_person.values())


def _join(places: list[Place], person: str, drawn: list[Annotation], iou: float) -> None:
    """Put a person's regions where the others have theirs, each at most once, or in new places."""
    from scipy.optimize import linear_sum_assignment

    drawn_before = [place for place in places if _drawn(place)]
    taken = set()
    if drawn_before and drawn:
        shared = np.array([_shared(place, drawn) for place in drawn_before])
        for row, column in zip(*linear_sum_assignment(-shared), strict=True):
            if shared[row, column] >= iou:
                drawn_before[row].by_person[person] = drawn[column]
                taken.add(column)
    places += [Place({person: a}) for n, a in enumerate(drawn) if n not in taken]


def _shared(place: Place, drawn: Sequence[Annotation]) -> np.ndarray:
    """How well each region fits the place: its mean IoU with what is there; none for another point's name."""
    label = place.winner()[0][0]
    apart = [a.keypoints is not None and a.label != label for a in drawn]
    return np.where(apart, 0.0, overlap.iou(list(place.by_person.values()), drawn).mean(axis=0))


class Names:
    """The ids of several people's regions in one image: those that two of them use get the person's before.

    `twins` leads from (person, region) to the "person/region" that counts in its place.
    """

    def __init__(
        self, regions: Sequence[tuple[str, Annotation]], twins: Mapping[tuple[str, str], str] | None = None
    ) -> None:
        used = {(who, a.id) for who, a in regions if a.id}
        self._shared = Counter(name for _, name in used)
        self._twins = twins or {}

    def __call__(self, person: str, region: str) -> str:
        """What the region is called of those that count."""
        owner, _, name = self._twins.get((person, region), f"{person}/{region}").partition("/")
        return f"{owner}/{name}" if self._shared[name] > 1 else name

    def of(self, regions: Sequence[tuple[str, Annotation]]) -> tuple[Annotation, ...]:
        """The regions by those names."""
        return tuple(
            replace(a, id=a.id and self(who, a.id), parent=a.parent and self(who, a.parent))
            for who, a in regions
        )


def _verdict(
    annotations: tuple[Annotation, ...],
    names: Callable[[str, str], str],
    of: Sequence[Opinion],
    enough: Callable[[int], bool] = bool,
) -> Verdict:
    """The annotations that count, with the relations between them that `enough` people said."""
    if not any(opinion.relations for opinion in of):
        return Verdict("reviewed", annotations, tuple(of))
    ids = {a.id for a in annotations}
    # Drawn twice by one person, a relation is one person's word all the same.
    people: dict[Relation, set[str]] = defaultdict(set)
    severed = 0
    for opinion in of:
        own = {a.id for a in opinion.annotations}
        for relation in opinion.relations:
            first, last = (names(opinion.person, end) for end in (relation.first, relation.last))
            if {relation.first, relation.last} <= own and {first, last} <= ids:
                people[replace(relation, first=first, last=last)].add(opinion.person)
            else:
                severed += 1
    relations = tuple(relation for relation, who in people.items() if enough(len(who)))
    severed += sum(len(who) for who in people.values() if not enough(len(who)))
    return Verdict("reviewed", annotations, tuple(of), relations, severed)

"""From what people did to one image to what counts: its labels, the ledger's entries, the disagreements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from workflow.labels import agreement, ledger, probes
from workflow.labels.agreement import Opinion
from workflow.labels.duplicates import collapse
from workflow.labels.work import Guesses, Work
from workflow.project.rows import Row, relation_to_row
from workflow.project.settings import Pull
from workflow.records import Annotation, ImageRecord, Sample, State


@dataclass(frozen=True)
class Judgement:
    """An image's line of labels.jsonl as a `sample`, its `entries` in the ledger, and its disagreement.

    `shown` are the guesses of whoever's word counts that were ignored: what they saw, and could undo.
    `losses` count, by reason, what does not count or could not be carried.
    """

    sample: Sample
    entries: tuple[Row, ...]
    disagreement: Row | None
    losses: Counter[str] = field(default_factory=Counter)
    shown: tuple[Annotation, ...] = ()


def judge(work: Work, record: ImageRecord, policy: Pull, exclusive: bool) -> Judgement:
    """What counts of an image by the project's policy; with `exclusive` an image has one label."""
    losses: Counter[str] = Counter()
    opinions, entries = [], []
    for given, shown in zip(work.opinions, work.started_from, strict=True):
        opinion, planted = _checked(given, shown, losses)
        opinions.append(opinion)
        entries.append(_entry(record, work, opinion, shown, planted, exclusive))
    verdict = agreement.decide(opinions, policy, exclusive)
    if verdict.state is None:
        losses["images people have not agreed on"] += bool(opinions)
        guesses = probes.without(work.latest.annotations)
        state: State = "predicted" if guesses else "unlabeled"
        sample = Sample(record.id, state, guesses, {"task": work.task})
    else:
        meta = _signed(work.task, verdict.of)
        if verdict.relations:
            meta["relations"] = [relation_to_row(relation) for relation in verdict.relations]
        annotations = verdict.annotations if verdict.state == "reviewed" else ()
        losses["relations whose regions do not count"] += verdict.severed
        losses["images with several labels"] += exclusive and len(annotations) > 1
        sample = Sample(record.id, verdict.state, annotations, meta)
    rows = agreement.disagreements(opinions, policy, exclusive)
    disagreement = _disagreement(record, work.task, opinions, rows) if rows else None
    people = {opinion.number for opinion in verdict.of}
    given_to = [s for o, s in zip(work.opinions, work.started_from, strict=True) if o.number in people]
    seen = (a for shown in given_to for a in shown.annotations if a.ignored)
    return Judgement(sample, tuple(entries), disagreement, +losses, tuple(seen))


def _checked(opinion: Opinion, shown: Guesses, losses: Counter[str]) -> tuple[Opinion, list[Row]]:
    """An opinion without doubles and without the probe its person left untouched, and what became of it."""
    annotations, relations, doubled = collapse(opinion.annotations, opinion.relations)
    losses["labels drawn twice in the same place (one is kept)"] += doubled
    left, planted = probes.judge(shown.annotations, annotations)
    return replace(opinion, annotations=left, relations=relations), [] if opinion.skipped else planted


def _entry(
    record: ImageRecord, work: Work, opinion: Opinion, shown: Guesses, planted: list[Row], exclusive: bool
) -> Row:
    """The ledger's row of what one person did to the guesses they were shown."""
    guesses = collapse(probes.without(shown.annotations))[0]
    blind = "" if guesses else work.blind
    row = _signed(work.task, (opinion,)) | {
        "image": record.id,
        "split": record.split,
        "model": "" if blind else shown.version,
        "blind": bool(blind),
        "control": blind == "control",
        "skipped": opinion.skipped,
    }
    row["actions"] = [] if opinion.skipped else ledger.compare(guesses, opinion.annotations, exclusive)
    return row | ({"probes": planted} if planted else {})


def _signed(task: int, opinions: Sequence[Opinion]) -> Row:
    """Who decided, when, in how many seconds; of several people the names together, and the last's time."""
    latest = max(opinions, key=lambda o: (o.at, o.number))
    names = ", ".join(opinion.person for opinion in opinions)
    row = {"task": task, "annotation": latest.number, "person": names, "at": latest.at}
    return row | {"lead_time": sum(opinion.seconds for opinion in opinions)}


def _disagreement(record: ImageRecord, task: int, opinions: Sequence[Opinion], places: list[Row]) -> Row:
    people = [opinion.person for opinion in opinions]
    return {"image": record.id, "file": record.path, "task": task, "people": people, "on": places}

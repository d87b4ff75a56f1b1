"""Ledger: what people did to the guesses, in figures, and which thresholds would spare them work."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from workflow.errors import StageError
from workflow.labels.ledger import ACTIONS
from workflow.labels.ledger.account import Account, look
from workflow.labels.ledger.figures import FATES, Figures, Share, Tallies
from workflow.labels.ledger.lead_time import FEW, STATISTICS, LeadTime
from workflow.labels.ledger.thresholds import FEW as FEW_GUESSES
from workflow.labels.ledger.thresholds import Suggestion
from workflow.project.paths import Project
from workflow.project.settings import Settings

# Pairs of classes that are listed.
MOST = 5
KEYPOINTS = "none are suggested for keypoints: an object's points go with its box, at costs unknown here"


def run(project: Project) -> Account:
    """The figures of ledger.jsonl. StageError where nothing was pulled, or nobody has decided anything."""
    if not project.ledger.exists():
        raise StageError(f"{project.ledger} does not exist: nothing was pulled", "workflow pull")
    account = look(project)
    if account is None:
        raise StageError(
            f"{project.ledger} is empty: nobody has decided on any image",
            "review in Label Studio, then workflow pull",
        )
    return account


def as_json(project: Project, account: Account) -> str:
    """All figures as JSON; shares as {count, of, share, low, high}, None where there is nothing to share."""
    record: dict[str, Any] = {"project": project.name} | account.figures.to_json()
    record["thresholds"] = {"model": account.model, "classes": [s.to_json() for s in account.suggestions]}
    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()


def describe(project: Project, account: Account) -> str:
    figures, who = account.figures, account.figures.simulated_part
    none = f"; {figures.unguessed} where the model guessed nothing" if figures.unguessed else ""
    lines = [
        f"{project.name}: {figures.decisions} decisions on images with guesses, {figures.skipped} of them"
        f" skipped; {figures.blind} on blind images, {figures.control} of them the control share{none}",
        *([f"{who}: the simulated reviewer, a program that knows the truth"] if who else []),
        "In percent of the guesses, with the 95 % interval; added: in percent of the objects people left.",
        "",
    ]
    # A task knows only some of the words.
    words = [action for action in ACTIONS if figures.all.counts[action]]
    groups = {"class": figures.classes, "score": figures.scores}
    groups |= {"model": figures.models} if len(figures.models) < len(figures.rounds) else {}
    groups |= {"round": _numbered(figures.rounds), "person": figures.persons}
    lines += _table(figures, groups, words)
    if renamed := list(_renamed(figures)):
        lines += ["", *renamed]
    lines += ["", *_lead_time(figures.lead_time)]
    if figures.probes:
        lines += ["", *_probes(figures)]
    return "\n".join([*lines, "", *_suggestions(project.settings, account)])


def _numbered(rounds: Tallies) -> Tallies:
    return {f"{number} {name}": tally for number, (name, tally) in enumerate(rounds.items(), 1)}


def _table(figures: Figures, groups: dict[str, Tallies], words: Sequence[str]) -> Iterator[str]:
    width = max(len(name) for tallies in groups.values() for name in [*tallies, ""]) + 2
    heads = ("guesses", *words, "precision", "recall")
    yield " " * max(width, 9) + "".join(f"{head:>15}" for head in heads)
    for title, tallies in {"": {"all": figures.all}, **groups}.items():
        if title:
            yield f"by {title}"
        for name, tally in tallies.items():
            known = words if tally.missed is not None else [w for w in words if w in FATES]
            cells = {word: _share(tally.share(word)) for word in known}
            cells |= {"guesses": str(tally.guesses), "precision": _share(tally.precision)}
            cells["recall"] = _share(tally.recall)
            indent = "  " if title else ""
            yield f"{indent + name:<{max(width, 9)}}" + "".join(f"{cells.get(h, '-'):>15}" for h in heads)


def _share(share: Share | None) -> str:
    """Percent and interval, as "78 (75-81)"."""
    if share is None or share.value is None or share.interval is None:
        return "-"
    low, high = share.interval
    return f"{100 * share.value:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def _renamed(figures: Figures) -> Iterator[str]:
    """The classes that people most often put in place of a guess's; the report has all of them."""
    pairs = [
        (count, was, label)
        for was, row in figures.became.items()
        for label, count in row.items()
        if was and label and was != label
    ]
    if pairs:
        who = f" ({figures.simulated_part})" if figures.simulated else ""
        yield f"guesses most often relabelled{who}"
    for count, was, label in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:MOST]:
        yield f"  {was} -> {label}  {count} of {figures.classes[was].guesses}"


def _lead_time(times: LeadTime) -> Iterator[str]:
    title = f"seconds an image ({times.simulated_part})" if times.simulated else "seconds an image"
    yield f"{title}, with guesses ({len(times.guessed)}) and without ({len(times.blind)})"
    for name in STATISTICS:
        guessed, blind, saved = *times.of(name), times.saved(name)
        interval = times.intervals.get(name)
        shown = f"  saved {saved:.1f}" if saved is not None else ""
        shown += f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval else ""
        yield f"  {name:<7}{_seconds(guessed):>8}{_seconds(blind):>8}{shown}"
    if times.simulated:
        yield "  a cost model made the simulated times, so nothing is tested"
    elif times.p is None:
        yield f"  too few to say more: {FEW} of each are needed"
    else:
        yield f"  p = {times.p:.2g} that guesses make no difference (Mann-Whitney)"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _probes(figures: Figures) -> Iterator[str]:
    yield "planted wrong guesses that people caught"
    for person, share in (figures.probes | {"all": figures.all_probes}).items():
        yield f"  {person:<7}{share.count:>4} of {share.of}: {_share(share)} %"


def _suggestions(settings: Settings, account: Account) -> Iterator[str]:
    who = f" ({account.figures.simulated_part})" if account.figures.simulated else ""
    yield f"thresholds{who} by the costs of [review], on the guesses of {account.model}"
    if settings.schema.task.points:
        yield f"  {KEYPOINTS}"
        return
    if not account.suggestions:
        yield "  no guess has a score"
        return
    width = max(len("class"), *(len(s.label) for s in account.suggestions)) + 2
    heads = "".join(f"{head:>8}" for head in ("guesses", "lowest", "now", "best"))
    yield f"  {'class':<{width}}{heads}  seconds saved per 100 images"
    for s in account.suggestions:
        numbers = f"{s.guesses:>8}{s.lowest:>8.2f}{_threshold(s.now):>8}{_threshold(s.best):>8}"
        few = f" (of fewer than {FEW_GUESSES} guesses)" if s.guesses < FEW_GUESSES else ""
        yield f"  {s.label:<{width}}{numbers}{s.saved:>8.1f}{few}"
    own = "own: the model's own threshold. " if any(s.now is None for s in account.suggestions) else ""
    yield f"  {own}What scores below the lowest was never shown, and is unknown."
    if wanted := [s for s in account.suggestions if s.worthwhile]:
        yield "  To take them over, put this into project.toml, in place of its thresholds:"
        yield ""
        yield from as_toml(settings, wanted)


def _threshold(value: float | None) -> str:
    return "own" if value is None else f"{value:g}"


def as_toml(settings: Settings, wanted: Iterable[Suggestion]) -> list[str]:
    """The section [preannotate.thresholds] with the suggestions, and whatever else it holds today."""
    thresholds = settings.preannotate.thresholds | {s.label: s.best for s in wanted}
    lines = [
        f"{json.dumps(label, ensure_ascii=False)} = {thresholds[label]}"
        for label in settings.classes
        if label in thresholds
    ]
    return ["[preannotate.thresholds]", *lines]

"""Make a run the next pre-annotator, if it is not worse than today's, and costs people no more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from workflow import models
from workflow.alike import leakage
from workflow.commands.candidates import answers_of, key_of, labeled, leak_of
from workflow.errors import ConfigError, StageError
from workflow.guesses.annotate import guess
from workflow.guesses.ask import Labels, read_labels
from workflow.labels.ledger import expected
from workflow.labels.ledger.account import cost_model
from workflow.metrics import compare, weigh
from workflow.metrics.compare import Change
from workflow.metrics.resampling import Interval, draw, interval
from workflow.project.paths import Project
from workflow.project.promoted import RUN, preannotators, revision, standing, stands
from workflow.project.rows import Row, read_json, read_rows, sample_to_row, write_rows
from workflow.project.settings import PROMOTED
from workflow.records import ImageRecord
from workflow.running.runner import Outcome, Plan, Runner
from workflow.stages import dataset, evaluate, preannotate, train

# Whose seconds they are, wherever they are told.
SIMULATED = "simulated, by the cost model of [review]"


@dataclass(frozen=True)
class Trial:
    """A run beside who guesses now, on the same images: the score, and people's seconds an image.

    The seconds are simulated: what the cost model of [review] reckons of each one's guesses.
    """

    before: tuple[str, ...]
    after: str
    metric: str
    split: str
    score: Change
    seconds: tuple[Interval, Interval, Interval]
    margin: float
    leak: Row

    def against(self) -> list[str]:
        """Why the run is not to be promoted, in figures; nothing where it is."""
        low, (was, now, _) = self.score.difference.low, self.seconds
        reasons = []
        if low is None or low <= self.margin:
            shown = "unknown" if low is None else f"{low:+.3f}"
            reasons.append(
                f"{self.metric} may be worse: the interval's lower end {shown} is not above {self.margin:+g}"
            )
        if (now.value or 0.0) > (was.value or 0.0):
            reasons.append(
                f"it costs people more: {now.value:.2f} s an image instead of {was.value:.2f} ({SIMULATED})"
            )
        return reasons

    def in_words(self) -> list[str]:
        was, now, less = self.seconds
        return [
            f"{' > '.join(self.before)} -> {self.after}, on {self.score.images} {self.split} images",
            f"{self.metric} {_number(self.score.before)} -> {_number(self.score.after)},"
            f" difference {_span(self.score.difference, '+.3f')}: {compare.in_words(self.score)}",
            f"people's seconds an image ({SIMULATED}) {was.value:.2f} -> {now.value:.2f},"
            f" difference {_span(less, '+.2f')}",
            leakage.in_words(self.leak),
        ]

    def why(self) -> str:
        was, now, _ = self.seconds
        return (
            f"{self.metric} {_number(self.score.before)} -> {_number(self.score.after)},"
            f" {was.value:.2f} -> {now.value:.2f} s an image ({SIMULATED})"
        )

    def to_json(self) -> Row:
        names = ("before", "after", "difference")
        seconds = {name: asdict(side) for name, side in zip(names, self.seconds, strict=True)}
        record: dict[str, Any] = {"metric": self.metric, "split": self.split, "margin": self.margin}
        record |= {"score": self.score.to_json(), "simulated_seconds_an_image": seconds}
        return record | {"leakage": self.leak}


def run(
    project: Project, name: str = "", force: bool = False, device: str = "auto", refuse: bool = True
) -> Outcome:
    """Write a line of promotions.jsonl that makes the run, today's by default, the next pre-annotator.

    It is compared with who guesses now on the images of `evaluate.split`. Where it may be worse, or costs
    people more, StageError says so in figures, or, without `refuse`, the outcome does; `force` promotes it
    all the same. StageError also where there is no such run, or no labeled image.
    """
    start = time.perf_counter()
    name = (name or train.latest(project)).removeprefix(RUN)
    models.resolve(RUN + name, project.folder)
    pin = revision(project, name)
    if pin is None:
        raise StageError(f"{RUN}{name} has no model in {project.runs / name}", "workflow train")
    stack = standing(project)
    if stack and (stack[-1]["model"], stack[-1]["revision"]) == (RUN + name, pin):
        return Outcome("promote", 0.0, f"{RUN}{name} is the pre-annotator already", skipped=True)
    trial = compared(project, _others(project, stack, name), name, device)
    lines, against = trial.in_words(), trial.against()
    if against and not force:
        what = f"{RUN}{name} is not promoted: {'; '.join(against)}"
        if refuse:
            raise StageError(f"{what} ({'; '.join(lines)})", "label more and train again, or --force")
        return Outcome("promote", time.perf_counter() - start, what, skipped=True, lines=tuple(lines))
    row: Row = {"at": _now(), "model": RUN + name, "revision": pin, "before": list(trial.before)}
    row |= {"forced": bool(against), "why": trial.why(), "against": against}
    _write(project, row | {"dataset": dataset.version(project), "figures": trial.to_json()})
    did = f"{RUN}{name} is the pre-annotator now" + (", forced" if against else "")
    told = (*lines, *(f"forced although {reason}" for reason in against), *_unfollowed(project))
    return Outcome("promote", time.perf_counter() - start, did, lines=told)


def back(project: Project) -> Outcome:
    """Make who guessed before the pre-annotator again, by one more line of promotions.jsonl."""
    stack = standing(project)
    if not stack:
        raise StageError("nothing is promoted, so there is nobody to go back to", "workflow promote")
    gone = stack.pop()
    named = [stack[-1]["model"]] if stack else list(project.settings.preannotate.models)
    _write(project, {"at": _now(), "back": True, "model": " > ".join(named), "instead_of": gone["model"]})
    did = f"{' > '.join(named)} is the pre-annotator again, no longer {gone['model']}"
    return Outcome("promote", 0.0, did, lines=tuple(_unfollowed(project)))


def compared(project: Project, before: tuple[str, ...], run: str, device: str) -> Trial:
    """Both on the same images of `evaluate.split`, their answers kept. ConfigError for training images."""
    settings, split = project.settings, project.settings.evaluate.split
    if split == "train":
        what = "evaluate.split is train: what a run learned says nothing of whether it is better"
        raise ConfigError([what], 'evaluate.split = "test"')
    truth, records = labeled(project, split)
    sizes = {r.id: (r.width, r.height) for r in records}
    groups = [r.group or r.id for r in records]
    sides = (before, (RUN + run,))
    weighed = [
        weigh(
            settings.schema, sizes, truth, _said(project, specs, records, device), evaluate.rules_of(settings)
        )
        for specs in sides
    ]
    comparison = compare.compare(weighed[0][1], weighed[1][1], groups, settings.classes)
    seconds = [_seconds(project, records, truth, _shown(project, specs, records, device)) for specs in sides]
    return Trial(
        before,
        RUN + run,
        weighed[1][0].metric,
        split,
        comparison.score,
        _compare_seconds(groups, seconds),
        settings.promote.margin,
        leak_of(project, split),
    )


def _others(project: Project, stack: Sequence[Row], name: str) -> tuple[str, ...]:
    """Who guesses now; where that is gone, or was an earlier state of the same run, who did before it."""
    others = [row["model"] for row in stack if row["model"] != RUN + name and stands(project, row)]
    return (others[-1],) if others else project.settings.preannotate.models


def _said(project: Project, specs: tuple[str, ...], records: list[ImageRecord], device: str) -> Labels:
    """All that models say of the images: as the evaluation of today's run has it, if it asked them."""
    if _done(project, evaluate.plan):
        folder = project.runs / train.latest(project)
        card = read_json(folder / "metrics.json", {})
        sides = {card.get("before"): "base", RUN + folder.name: "tuned"}
        file = folder / "predictions" / f"{sides.get(' > '.join(specs))}.jsonl"
        if file.exists():
            return read_labels(file, records)
    return answers_of(project, specs, records, device)


def _done(project: Project, plan: Callable[[Project], Plan]) -> bool:
    """Whether what a stage made is what it would make now."""
    try:
        return Runner(project.marks).state(plan(project)) == "done"
    except StageError:
        return False


def _shown(project: Project, specs: tuple[str, ...], records: list[ImageRecord], device: str) -> Labels:
    """What people would be shown of the images: the guesses at the thresholds of [preannotate]; kept."""
    if _done(project, preannotate.plan) and preannotators(project) == specs:
        return read_labels(preannotate.predictions_path(project), records)
    path = project.data / "evaluations" / "shown" / f"{key_of(project, specs, records)}.jsonl"
    if not path.exists():
        with closing(preannotate.load(project, device, specs=specs)) as annotator:
            write_rows(path, map(sample_to_row, guess(project, annotator, records)))
    return read_labels(path, records)


def _seconds(project: Project, records: Sequence[ImageRecord], truth: Labels, shown: Labels) -> np.ndarray:
    """What each image would take people, (images,)."""
    review, one_label = project.settings.review, project.settings.schema.task.exclusive
    cost = cost_model(review)
    return np.array(
        [
            expected.seconds(shown.get(r.id, []), truth[r.id], cost, review.accept_iou, one_label)
            for r in records
        ]
    )


def _compare_seconds(
    groups: Sequence[str], sides: Sequence[np.ndarray]
) -> tuple[Interval, Interval, Interval]:
    """The means before and after and their difference, with intervals by the same draws of the images."""
    weights = draw(groups).astype(float)
    before, after = sides

    def of(seconds: np.ndarray) -> Interval:
        drawn = (weights @ seconds) / weights.sum(axis=1)
        return interval(float(seconds.mean()), drawn, least=-np.inf, most=np.inf)

    return of(before), of(after), of(after - before)


def _write(project: Project, row: Row) -> None:
    # Whole, as a person may have edited it.
    write_rows(project.promotions, [*read_rows(project.promotions, repair=True), row])


def _unfollowed(project: Project) -> list[str]:
    if project.settings.preannotate.model == PROMOTED:
        return []
    named = json.dumps(project.settings.preannotate.model)
    return [f'preannotate does not follow it -> [preannotate] model = "promoted", base = {named}']


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _number(side: Interval) -> str:
    return "none" if side.value is None else f"{side.value:.3f}"


def _span(side: Interval, form: str) -> str:
    if side.value is None or side.low is None or side.high is None:
        return "unknown"
    return f"{side.value:{form}} ({side.low:{form}} to {side.high:{form}})"

"""The report of one run: one HTML file without network, to read, print, send and cite.

It says in numbers what fine-tuning changed, what people's work was, and shows the worst that is left.
The words stand in templates/report.html and, where they depend on what labels are of, in report_KIND.html
beside it; plots and pictures come from figures/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow import __version__
from workflow.alike import leakage
from workflow.labels.ledger.figures import Figures
from workflow.labels.ledger.thresholds import Suggestion
from workflow.metrics import NONE, Labels, Metrics
from workflow.metrics.compare import Comparison, in_words
from workflow.metrics.detection_record import DetectionMetrics
from workflow.metrics.resampling import Interval
from workflow.project.rows import write_bytes
from workflow.shown.figures import colours, plots
from workflow.shown.report import errors, ledger
from workflow.shown.report.examples import CHANGED, WORST, examples, most_changed, worst_errors
from workflow.shown.report.page import CONTENTS, finished
from workflow.shown.report.rounds import Round
from workflow.shown.report.tables import Matrix, confusion
from workflow.shown.report.words import certainty, duration, number, signed, span, told, verdict
from workflow.tasks import TASKS

if TYPE_CHECKING:
    from PIL.Image import Image

LEDGER = ("accepted", "moved", "reshaped", "relabelled", "deleted", "added", "skipped")
# Words that not every task knows: they stay out where they count nothing.
SELDOM = ("moved", "reshaped")
TEMPLATES = Path(__file__).parents[2] / "templates"


@dataclass(frozen=True, slots=True)
class ReportData:
    """What one report says. None and empty mean unknown, and that part stays out.

    `base` and `tuned` are measured on the same images of `split`; `no_base` says why there is no `base`.
    `ledger` counts what people did to each guess, by the words of `LEDGER`; `reviewer_seconds` is their
    time, `seconds_from_nothing` the time the same labels, called by their `noun`, would have taken without
    guesses. `epochs` holds a dict an epoch: `epoch`, `loss`, and the `score` that is called `selected_by`.
    `labels` are sentences that say who labeled. `simulated` is for headlines of what was done, and how
    long it took: "simulated" or "3 of 9 simulated", empty where people did it.
    `figures` are the ledger's, and `suggestions` the thresholds by the guesses of the model `judged`.
    `load` gives an upright RGB image by id, or the path of its file.
    `score` is that of `tuned` with its interval, `comparison` what changed from `base`, and how sure that is.
    `intervals` are those of the headlines of "base" and of "tuned", by their keys.
    `environments` are versions at training and at evaluation, by name. `rounds` are the project's runs, this
    one the last. `leakage` counts the images that have a copy among the training images (alike/leakage.py).
    `names` maps an image id to what a caption calls it. `reproduce` is commands, one a line.
    """

    title: str
    tuned: Metrics
    base: Metrics | None = None
    no_base: str = ""
    noun: str = "boxes"
    split: str = "test"
    made_at: str = ""
    ledger: Mapping[str, int] = field(default_factory=dict)
    reviewer_seconds: float | None = None
    seconds_from_nothing: float | None = None
    simulated: str = ""
    figures: Figures | None = None
    suggestions: Sequence[Suggestion] = ()
    judged: str = ""
    epochs: Sequence[Mapping[str, Any]] = ()
    selected_by: str = "mAP50-95"
    truth: Labels = field(default_factory=dict)
    base_predictions: Labels = field(default_factory=dict)
    tuned_predictions: Labels = field(default_factory=dict)
    load: Callable[[str], Image | Path] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    dataset_version: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    reproduce: Sequence[str] = ()
    score: Interval | None = None
    comparison: Comparison | None = None
    intervals: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    environments: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rounds: Sequence[Round] = ()
    leakage: Mapping[str, Any] = field(default_factory=dict)


def write_report(path: Path, data: ReportData) -> None:
    """Write the report to `path`, whole or not at all."""
    write_bytes(path, render(data).encode())


def render(data: ReportData) -> str:
    """The report as HTML text; everything that is not ours is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "duration": duration, "span": span}
    improved, worsened = most_changed(data, CHANGED)
    worst = worst_errors(data.tuned, data.truth, data.tuned_predictions, WORST)
    kind = TASKS[data.tuned.task].kind
    page = environment.get_template("report.html").render(
        data=data,
        version=__version__,
        kind=kind,
        contents=Markup(CONTENTS),
        verdict=verdict(data),
        certainty=certainty(data),
        leaked=leakage.in_words(data.leakage) if data.leakage else "",
        in_words=in_words,
        labelled=_labelled(data),
        headlines=_headlines(data),
        curve=Markup(curve) if (curve := _curve(data)) else None,
        errors=errors.section(data.base, data.tuned),
        rounds=Markup(plots.over_rounds(_points(data), data.tuned.metric)) if data.rounds else None,
        learning=Markup(plots.learning_curves(data.epochs, data.selected_by))
        if len(data.epochs) > 1
        else None,
        confusions=_confusions(data),
        nothing=NONE,
        nobreak=Markup('<span class="nobreak">{}</span>').format(data.tuned.metric),
        ledger=_ledger(data.ledger),
        part=ledger.section(data.figures, data.suggestions, data.judged) if data.figures else None,
        told=told,
        worst=examples(data, [image for image, _ in worst]),
        improved=examples(data, [image for image, _ in improved]),
        worsened=examples(data, [image for image, _ in worsened]),
        colours={
            "truth": colours.TRUTH,
            "base": colours.BASE,
            "tuned": colours.TUNED,
            "wrong": colours.WRONG,
        },
    )
    return finished(page)


def _confusions(data: ReportData) -> dict[str, Matrix]:
    """The tables of what is taken for what, by whose they are."""
    as_shares = TASKS[data.tuned.task].kind == "pixels"
    sides = {"before": data.base} if data.base else {}
    return {name: confusion(numbers, as_shares) for name, numbers in {**sides, "after": data.tuned}.items()}


def _points(data: ReportData) -> list[tuple[int, Interval, bool]]:
    return [(r.images, r.score, r.same) for r in data.rounds]


def _labelled(data: ReportData) -> str:
    """How many labels people gave, where that is not the number of images or of pixels."""
    task = TASKS[data.tuned.task]
    if task.exclusive or task.kind == "pixels":
        return ""
    count = sum(row["truths"] for row in data.tuned.per_class.values())
    return f", {count} labelled {'boxes' if task.points else data.noun}"


@dataclass(frozen=True, slots=True)
class Card:
    """A headline: before and after, and their intervals where they are known."""

    name: str
    hint: str
    before: float | None
    after: float | None
    was: Interval | None
    now: Interval | None


def _headlines(data: ReportData) -> list[Card]:
    before = {line.key: line.value for line in data.base.headlines} if data.base else {}
    was, now = (
        {key: found for key, found in data.intervals.get(side, {}).items() if found.low is not None}
        for side in ("base", "tuned")
    )
    return [
        Card(line.name, line.hint, before.get(line.key), line.value, was.get(line.key), now.get(line.key))
        for line in data.tuned.headlines
    ]


def _curve(data: ReportData) -> str | None:
    if not isinstance(data.tuned, DetectionMetrics) or data.tuned.curve is None:
        return None
    return plots.precision_recall(data.base if isinstance(data.base, DetectionMetrics) else None, data.tuned)


def _ledger(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    if not counts:
        return []
    return [(word, counts.get(word, 0)) for word in LEDGER if counts.get(word) or word not in SELDOM]

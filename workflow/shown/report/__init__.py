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
from workflow.images import decode
from workflow.labels.ledger.figures import Figures
from workflow.labels.ledger.thresholds import Suggestion
from workflow.metrics import NONE, Labels, Metrics
from workflow.metrics.compare import Comparison, in_words
from workflow.metrics.detection_record import DetectionMetrics
from workflow.metrics.resampling import Interval
from workflow.project.rows import write_bytes
from workflow.records import Annotation
from workflow.shapes.matching import Errors
from workflow.shown.figures import colours, pictures, plots
from workflow.shown.report import ledger
from workflow.tasks import TASKS

if TYPE_CHECKING:
    from PIL.Image import Image

LEDGER = ("accepted", "moved", "reshaped", "relabelled", "deleted", "added", "skipped")
# Words that not every task knows: they stay out where they count nothing.
SELDOM = ("moved", "reshaped")
TEMPLATES = Path(__file__).parents[2] / "templates"
WORST, IMPROVED = 6, 4
# A wider table cannot be read on paper; the rest of the classes share one row and column.
CONFUSION_CLASSES = 20
OTHERS = "(others)"
PERCENT = "\N{NO-BREAK SPACE}%"


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


@dataclass(frozen=True, slots=True)
class Example:
    """One image before and after: data URLs of two pictures and the errors each shows."""

    name: str
    before: str | None
    after: str
    base: Errors | None
    tuned: Errors


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
    worst = worst_errors(data.tuned, data.truth, data.tuned_predictions, WORST)
    kind = TASKS[data.tuned.task].kind
    return environment.get_template("report.html").render(
        data=data,
        version=__version__,
        kind=kind,
        verdict=verdict(data),
        certainty=certainty(data),
        in_words=in_words,
        labelled=_labelled(data),
        headlines=_headlines(data),
        curve=Markup(curve) if (curve := _curve(data)) else None,
        learning=Markup(plots.learning_curves(data.epochs, data.selected_by)) if data.epochs else None,
        confusion=_confusion(data.tuned, as_shares=kind == "pixels"),
        nothing=NONE,
        nobreak=Markup('<span class="nobreak">{}</span>').format(data.tuned.metric),
        ledger=_ledger(data.ledger),
        part=ledger.section(data.figures, data.suggestions, data.judged) if data.figures else None,
        told=told,
        worst=_examples(data, [image for image, _ in worst]),
        improved=_examples(data, [image for image, _ in most_improved(data, IMPROVED)]),
        colours={
            "truth": colours.TRUTH,
            "base": colours.BASE,
            "tuned": colours.TUNED,
            "wrong": colours.WRONG,
        },
    )


def worst_errors(
    metrics: Metrics, truth: Labels, predicted: Labels, limit: int | None = None
) -> list[tuple[str, Errors]]:
    """Images on which a model, as its `metrics` show it, is wrong; the worst first, then by id."""
    guesses = [
        (i, metrics.errors(truth.get(i, ()), predicted.get(i, ()))) for i in sorted({*truth, *predicted})
    ]
    return sorted((e for e in guesses if e[1].total), key=lambda e: -e[1].weight)[:limit]


def most_improved(data: ReportData, limit: int) -> list[tuple[str, float]]:
    """Images with less wrong after than before, and how much less; most first, then by id."""
    if data.base is None:
        return []
    before = dict(worst_errors(data.base, data.truth, data.base_predictions))
    after = dict(worst_errors(data.tuned, data.truth, data.tuned_predictions))
    gains = [(i, e.weight - (after[i].weight if i in after else 0)) for i, e in before.items()]
    return sorted((g for g in gains if g[1] > 0), key=lambda g: (-g[1], g[0]))[:limit]


def verdict(data: ReportData) -> str:
    """The result in one sentence."""
    images = data.tuned.images
    where = f"on {images} {data.split} image{'s' if images != 1 else ''}"
    metric, after = data.tuned.metric, data.tuned.score
    before = None if data.base is None else data.base.score
    if after is None:
        what = TASKS[data.tuned.task].one
        return f"There is nothing to measure {where}: none of them has {what}."
    if before is None:
        return f"The model reaches {_a(metric)} of {after:.3f} {where}."
    if round(after, 3) == round(before, 3):
        return f"Fine-tuning left {metric} at {after:.3f} {where}."
    change = "raised" if after > before else "lowered"
    return (
        f"Fine-tuning {change} {metric} from {before:.3f} to {after:.3f} ({signed(after - before)}) {where}."
    )


def certainty(data: ReportData) -> str:
    """How sure the result is, in one sentence; empty where it is not known."""
    if data.comparison is not None and (between := span(data.comparison.score.difference, signed)):
        what = in_words(data.comparison.score)
        return f"{what[0].upper()}{what[1:]}. The change lies between {between}, 95 times in 100."
    between = span(data.score, number) if data.score else ""
    return f"It lies between {between}, 95 times in 100." if between else ""


def span(interval: Interval, form: Callable[[float | None], str]) -> str:
    """The interval as people say it; empty where there is none."""
    return "" if interval.low is None else f"{form(interval.low)} and {form(interval.high)}"


def told(errors: Errors) -> str:
    """The errors of one image in words."""
    if not errors.total:
        return "no errors"
    counts = {"missed": errors.missed, "false": errors.false, "mislabelled": errors.mislabelled}
    if not errors.pixels:
        return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    shares = ", ".join(
        f"{100 * count / errors.pixels:.1f}{PERCENT} {word}" for word, count in counts.items() if count
    )
    return f"{100 * errors.weight:.1f}{PERCENT} of the pixels wrong: {shares}"


def number(value: float | None) -> str:
    """Three decimals, or a dash for a number that does not exist."""
    return "–" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Three decimals with their sign; a true minus sign, as in print."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−").replace("−0.000", "+0.000")


def duration(seconds: float) -> str:
    """Seconds as a person says them: "45 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _a(word: str) -> str:
    """The word behind its article; of letters read one by one, OKS has a vowel too."""
    return f"an {word}" if word[0] in "aeiouO" else f"a {word}"


def _labelled(data: ReportData) -> str:
    """How many labels people gave, where that is not the number of images or of pixels."""
    task = TASKS[data.tuned.task]
    if task.exclusive or task.kind == "pixels":
        return ""
    count = sum(row["truths"] for row in data.tuned.per_class.values())
    return f", {count} labelled {'boxes' if task.points else data.noun}"


def _headlines(data: ReportData) -> list[tuple[str, str, float | None, float | None]]:
    """Name, hint, before and after of every card."""
    before = {line.key: line.value for line in data.base.headlines} if data.base else {}
    return [(line.name, line.hint, before.get(line.key), line.value) for line in data.tuned.headlines]


def _curve(data: ReportData) -> str | None:
    if not isinstance(data.tuned, DetectionMetrics) or data.tuned.curve is None:
        return None
    return plots.precision_recall(data.base if isinstance(data.base, DetectionMetrics) else None, data.tuned)


def _ledger(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    if not counts:
        return []
    return [(word, counts.get(word, 0)) for word in LEDGER if counts.get(word) or word not in SELDOM]


def _examples(data: ReportData, images: Sequence[str]) -> list[Example]:
    return [_example(data, image) for image in images] if data.load is not None else []


def _example(data: ReportData, image: str) -> Example:
    assert data.load is not None
    picture = _upright(data.load(image))
    truth = data.truth.get(image, ())
    sides: list[tuple[Metrics, Sequence[Annotation], str]] = []
    if data.base is not None:
        sides.append((data.base, data.base_predictions.get(image, ()), colours.BASE))
    sides.append((data.tuned, data.tuned_predictions.get(image, ()), colours.TUNED))
    window: pictures.Window = (0.0, 0.0, float(picture.width), float(picture.height))
    if TASKS[data.tuned.task].kind == "objects":
        window = pictures.error_window(picture.size, truth, *(m.shown(guesses) for m, guesses, _ in sides))
    drawn = [pictures.picture(m, picture, truth, m.shown(p), colour, window) for m, p, colour in sides]
    errors = [metrics.errors(truth, guesses) for metrics, guesses, _ in sides]
    return Example(
        name=data.names.get(image, image),
        before=drawn[0] if data.base else None,
        after=drawn[-1],
        base=errors[0] if data.base else None,
        tuned=errors[-1],
    )


def _upright(picture: Image | Path) -> Image:
    """The picture as it is given, or the upright one of a file, decoded as everywhere."""
    from PIL import Image as images

    return images.fromarray(decode.from_file(picture)) if isinstance(picture, Path) else picture


def _confusion(metrics: Metrics, as_shares: bool) -> dict[str, Any]:
    """Names and rows of (text, share of its row) for the table, rarer classes put together."""
    names = list(metrics.classes)
    by_truths = sorted(range(len(names)), key=lambda n: -metrics.per_class[names[n]]["truths"])
    keep = sorted(by_truths if len(names) <= CONFUSION_CLASSES else by_truths[: CONFUSION_CLASSES - 1])
    rest = sorted(set(range(len(names))) - set(keep))
    groups = [[n] for n in keep] + ([rest] if rest else []) + [[len(names)]]
    labels = [names[n] for n in keep] + ([OTHERS] if rest else []) + [NONE]
    rows = []
    for row in groups:
        counts = [sum(metrics.confusion[r][c] for r in row for c in column) for column in groups]
        total = sum(counts) or 1
        rows.append([(f"{100 * n / total:.1f}" if as_shares else str(n), n / total) for n in counts])
    return {"labels": labels, "rows": list(zip(labels, rows, strict=True))}

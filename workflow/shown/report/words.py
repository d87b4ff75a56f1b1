"""What a report says in sentences, and how it writes numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workflow.metrics.compare import in_words
from workflow.metrics.resampling import Interval
from workflow.shapes.matching import Errors
from workflow.tasks import TASKS

if TYPE_CHECKING:
    from workflow.shown.report import ReportData

PERCENT = "\N{NO-BREAK SPACE}%"


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

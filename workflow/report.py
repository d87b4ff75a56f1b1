"""The report of one run: one HTML file without network, to read, print, send and cite.

It says in numbers what fine-tuning changed, what people's work was, and shows the worst that is left.
The words stand in templates/report.html; plots and pictures come from figures.py.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow import __version__, figures
from workflow.matching import Errors, above, count_errors
from workflow.metrics import NONE, DetectionMetrics
from workflow.records import Annotation

if TYPE_CHECKING:
    from PIL.Image import Image

LEDGER = ("accepted", "moved", "relabelled", "deleted", "added", "skipped")
TEMPLATES = Path(__file__).parent / "templates"
WORST, IMPROVED = 6, 4
# A wider table cannot be read on paper; the rest of the classes share one row and column.
CONFUSION_CLASSES = 20
OTHERS = "(others)"

Boxes = Mapping[str, Sequence[Annotation]]


@dataclass(frozen=True, slots=True)
class ReportData:
    """What one report says. None and empty mean unknown, and that part stays out.

    `base` and `tuned` are measured on the same images of `split`. `ledger` counts what people did to
    each guess, by the words of `LEDGER`; `reviewer_seconds` is their time, `seconds_from_nothing` the
    time the same boxes would have taken without guesses. `epochs` holds a dict an epoch: `epoch`,
    `loss`, `map50_95`. `load` gives an image by id, or the path of its file; EXIF is applied here.
    `names` maps an image id to what a caption calls it. `reproduce` is commands, one a line.
    """

    title: str
    tuned: DetectionMetrics
    base: DetectionMetrics | None = None
    split: str = "test"
    made_at: str = ""
    ledger: Mapping[str, int] = field(default_factory=dict)
    reviewer_seconds: float | None = None
    seconds_from_nothing: float | None = None
    epochs: Sequence[Mapping[str, Any]] = ()
    truth: Boxes = field(default_factory=dict)
    base_predictions: Boxes = field(default_factory=dict)
    tuned_predictions: Boxes = field(default_factory=dict)
    load: Callable[[str], Image | Path] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    dataset_version: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    reproduce: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One image before and after: data URLs of two pictures and the errors each shows."""

    name: str
    before: str | None
    after: str
    base: Errors | None
    tuned: Errors


def write_report(path: Path, data: ReportData) -> None:
    """Write the report to `path`, whole or not at all. Its folder must exist."""
    html = render(data).encode()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        scratch = Path(file.name)
        try:
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
            # NamedTemporaryFile makes files that only their owner may read.
            scratch.chmod(0o644)
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


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
    environment.filters |= {"number": number, "signed": signed, "duration": duration}
    worst = worst_errors(data.truth, data.tuned_predictions, data.tuned.threshold, WORST)
    return environment.get_template("report.html").render(
        data=data,
        version=__version__,
        verdict=verdict(data),
        curve=Markup(figures.precision_recall(data.base, data.tuned)) if data.tuned.curve else None,
        learning=Markup(figures.learning_curves(data.epochs)) if data.epochs else None,
        confusion=_confusion(data.tuned),
        nothing=NONE,
        nobreak=Markup('<span class="nobreak">mAP50-95</span>'),
        ledger=[(word, data.ledger.get(word, 0)) for word in LEDGER] if data.ledger else [],
        worst=_examples(data, [image for image, _ in worst]),
        improved=_examples(data, [image for image, _ in most_improved(data, IMPROVED)]),
        truths=sum(row["truths"] for row in data.tuned.per_class.values()),
        colours={"truth": figures.TRUTH, "base": figures.BASE, "tuned": figures.TUNED},
    )


def worst_errors(
    truth: Boxes, predicted: Boxes, threshold: float = 0.0, limit: int | None = None
) -> list[tuple[str, Errors]]:
    """Images with errors at a score `threshold`, most missed + false + mislabelled first, then by id."""
    found = [(i, count_errors(truth.get(i, ()), above(predicted.get(i, ()), threshold)))
             for i in sorted({*truth, *predicted})]  # fmt: skip
    return sorted((e for e in found if e[1].total), key=lambda e: -e[1].total)[:limit]


def most_improved(data: ReportData, limit: int) -> list[tuple[str, int]]:
    """Images with fewer errors after than before, and how many fewer; most first, then by id."""
    if data.base is None:
        return []
    before = dict(worst_errors(data.truth, data.base_predictions, data.base.threshold))
    after = dict(worst_errors(data.truth, data.tuned_predictions, data.tuned.threshold))
    gains = [(i, e.total - (after[i].total if i in after else 0)) for i, e in before.items()]
    return sorted((g for g in gains if g[1] > 0), key=lambda g: (-g[1], g[0]))[:limit]


def verdict(data: ReportData) -> str:
    """The result in one sentence."""
    images = data.tuned.images
    where = f"on {images} {data.split} image{'s' if images != 1 else ''}"
    after = data.tuned.map50_95
    before = None if data.base is None else data.base.map50_95
    if after is None:
        return f"There is nothing to measure {where}: none of them has a labelled box."
    if before is None:
        return f"The model reaches a mAP50-95 of {after:.3f} {where}."
    if round(after, 3) == round(before, 3):
        return f"Fine-tuning left mAP50-95 at {after:.3f} {where}."
    change = "raised" if after > before else "lowered"
    return (
        f"Fine-tuning {change} mAP50-95 from {before:.3f} to {after:.3f} ({signed(after - before)}) {where}."
    )


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


def _examples(data: ReportData, images: Sequence[str]) -> list[Example]:
    return [_example(data, image) for image in images] if data.load is not None else []


def _example(data: ReportData, image: str) -> Example:
    assert data.load is not None
    picture = _upright(data.load(image))
    truth = data.truth.get(image, ())
    base = figures.shown(data.base, data.base_predictions.get(image, ()))
    tuned = figures.shown(data.tuned, data.tuned_predictions.get(image, ()))
    models = (tuned,) if data.base is None else (base, tuned)
    window = figures.error_window(picture.size, truth, *models)
    before = figures.box_picture(picture, truth, base, figures.BASE, window) if data.base else None
    return Example(
        name=data.names.get(image, image),
        before=before,
        after=figures.box_picture(picture, truth, tuned, figures.TUNED, window),
        base=count_errors(truth, base) if data.base else None,
        tuned=count_errors(truth, tuned),
    )


def _upright(picture: Image | Path) -> Image:
    """The image with its EXIF orientation applied, 8 bits a channel."""
    from PIL import Image as images
    from PIL import ImageOps

    opened = images.open(picture) if isinstance(picture, str | os.PathLike) else picture
    upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):
        # Converted as they are, 16-bit images would be cut at 255 and turn white.
        levels = np.asarray(upright, dtype=float)
        upright = images.fromarray((levels * (255 / max(levels.max(), 1))).astype(np.uint8))
    return upright.convert("RGB")


def _confusion(metrics: DetectionMetrics) -> dict[str, Any]:
    """Names and rows of (count, share of its row) for the table, rarer classes put together."""
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
        rows.append([(count, count / total) for count in counts])
    return {"labels": labels, "rows": list(zip(labels, rows, strict=True))}

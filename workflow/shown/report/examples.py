"""Images to look at: the worst that is left, and those that got better or worse most, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workflow.images import decode
from workflow.metrics import Labels, Metrics
from workflow.records import Annotation
from workflow.shapes.matching import Errors
from workflow.shown.figures import colours, pictures
from workflow.shown.figures.differences import Difference, differences
from workflow.tasks import TASKS

if TYPE_CHECKING:
    from PIL.Image import Image

    from workflow.shown.report import ReportData

WORST, CHANGED = 4, 4


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: whose it is ("truth", "base", "tuned", or "image"), and its caption."""

    of: str
    caption: str
    picture: pictures.Picture


@dataclass(frozen=True, slots=True)
class Example:
    """One image: its panels, and what is wrong in words, a row each; `heads` are the columns' names."""

    name: str
    panels: list[Panel]
    errors: Mapping[str, Errors]
    rows: list[Difference]
    heads: list[str]

    @property
    def unlettered(self) -> bool:
        """Whether nothing has a place, and so no letter: labels of the whole image."""
        return not any(row.letter for row in self.rows)

    @property
    def more(self) -> int:
        """How many things are wrong beyond those with a letter."""
        return 0 if self.unlettered else sum(not row.letter for row in self.rows)


def worst_errors(
    metrics: Metrics, truth: Labels, predicted: Labels, limit: int | None = None
) -> list[tuple[str, Errors]]:
    """Images on which a model, as its `metrics` show it, is wrong; the worst first, then by id."""
    guesses = [
        (i, metrics.errors(truth.get(i, ()), predicted.get(i, ()))) for i in sorted({*truth, *predicted})
    ]
    return sorted((e for e in guesses if e[1].total), key=lambda e: -e[1].weight)[:limit]


def most_changed(data: ReportData, limit: int) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Images with less wrong after than before, and those with more, and by how much.

    Each by the size of its change, then by id.
    """
    if data.base is None:
        return [], []
    before, after = (
        {image: errors.weight for image, errors in worst_errors(metrics, data.truth, guesses)}
        for metrics, guesses in (
            (data.base, data.base_predictions),
            (data.tuned, data.tuned_predictions),
        )
    )
    gains = [(i, before.get(i, 0.0) - after.get(i, 0.0)) for i in sorted({*before, *after})]
    improved = sorted((g for g in gains if g[1] > 0), key=lambda g: (-g[1], g[0]))
    worsened = sorted(((i, -gain) for i, gain in gains if gain < 0), key=lambda g: (-g[1], g[0]))
    return improved[:limit], worsened[:limit]


def examples(data: ReportData, images: Sequence[str]) -> list[Example]:
    return [_example(data, image) for image in images] if data.load is not None else []


def _example(data: ReportData, image: str) -> Example:
    assert data.load is not None
    photo = _upright(data.load(image))
    truth, task = data.truth.get(image, ()), TASKS[data.tuned.task]
    guesses = {"tuned": data.tuned_predictions.get(image, ())}
    metrics = {"tuned": data.tuned}
    if data.base is not None:
        guesses = {"base": data.base_predictions.get(image, ()), **guesses}
        metrics = {"base": data.base, **metrics}
    shown = {side: metrics[side].shown(some) for side, some in guesses.items()}
    rows = differences(task, data.tuned.classes, photo.size, truth, list(shown.values()))
    return Example(
        name=data.names.get(image, image),
        panels=_panels(data, photo, truth, shown, rows),
        errors={CAPTIONS[side]: metrics[side].errors(truth, some) for side, some in guesses.items()},
        rows=rows,
        heads=[CAPTIONS["truth"], *(CAPTIONS[side] for side in shown)],
    )


CAPTIONS = {"truth": "truth", "base": "before", "tuned": "after", "image": "image"}


def _panels(
    data: ReportData,
    photo: Image,
    truth: Sequence[Annotation],
    shown: Mapping[str, Sequence[Annotation]],
    rows: Sequence[Difference],
) -> list[Panel]:
    """Truth, before and after; of labels of whole images, which cannot be drawn, the image alone."""
    task, classes = TASKS[data.tuned.task], data.tuned.classes
    window: pictures.Window = (0.0, 0.0, float(photo.width), float(photo.height))
    if task.kind == "objects":
        window = pictures.error_window(photo.size, truth, *shown.values())
    marks = {
        side: [(row.letter, place, side) for row in rows if row.letter and (place := row.cells[n].place)]
        for n, side in enumerate(("truth", *shown))
    }
    drawn = {"truth": pictures.true_picture(task, classes, photo, truth, window, marks["truth"])}
    if task.kind == "labels":
        drawn = {"image": drawn["truth"]}
    else:
        ink = {"base": colours.BASE, "tuned": colours.TUNED}
        for side, some in shown.items():
            args = (task, classes, photo, truth, some, ink[side], window, marks[side])
            drawn[side] = pictures.picture(*args)
    return [Panel(side, CAPTIONS[side], picture) for side, picture in drawn.items()]


def _upright(picture: Image | Path) -> Image:
    """The picture as it is given, or the upright one of a file, decoded as everywhere."""
    from PIL import Image as images

    return images.fromarray(decode.from_file(picture)) if isinstance(picture, Path) else picture

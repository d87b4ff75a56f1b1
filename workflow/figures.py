"""Plots as SVG and pictures with boxes as JPEG, ready to stand inside one HTML file.

Plots take their ink from the page, by `currentColor` and CSS variables, so that dark mode and paper work.
Colours are those of Okabe and Ito, which most colour-blind people tell apart; truth is also dashed.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.matching import above, match_boxes
from workflow.metrics import RECALLS, DetectionMetrics
from workflow.records import Annotation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

TRUTH, BASE, TUNED = "#009e73", "#e69f00", "#0072b2"
# Stand-ins that no plot uses otherwise; the SVG's text is searched for them.
INK, GRID = "#010203", "#040506"
PAINTS = {INK: "currentColor", GRID: "var(--grid)", BASE: "var(--base)", TUNED: "var(--tuned)"}
WIDTH = 640
# Height of a label, in pixels of the picture.
CHIP = 23
MAX_BYTES = 100_000

Window = tuple[float, float, float, float]


def precision_recall(base: DetectionMetrics | None, tuned: DetectionMetrics) -> str:
    """SVG of precision over recall at IoU .5: means over the classes, and each class of `tuned` faintly."""
    figure, (axes,) = _figure(5.2, 4.2, 1)
    for curve in tuned.curves.values():
        if curve is not None:
            axes.plot(RECALLS, curve, color=TUNED, linewidth=0.8, alpha=0.28)
    for metrics, name, colour, dash in ((base, "before", BASE, "--"), (tuned, "after", TUNED, "-")):
        if metrics is not None and metrics.curve is not None:
            label = f"{name}, mAP50 {metrics.map50:.3f}"
            axes.plot(RECALLS, metrics.curve, dash, color=colour, linewidth=2.2, label=label)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, labelcolor=INK, loc="lower left")
    return _svg(figure, "precision-recall")


def learning_curves(epochs: Sequence[Mapping[str, Any]]) -> str:
    """SVG of `loss` and `map50_95` over the epochs, side by side; an epoch may lack either."""
    figure, panes = _figure(5.2, 4.2, 2)
    for axes, key, name, colour in zip(
        panes, ("loss", "map50_95"), ("training loss", "validation mAP50-95"), (INK, TUNED), strict=True
    ):
        points = [(e.get("epoch", n), e[key]) for n, e in enumerate(epochs, 1) if e.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=2, marker="o", markersize=3.5)
        axes.set(ylabel=name)
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    panes[-1].set(xlabel="epoch")
    return _svg(figure, "learning")


def _figure(width: float, height: float, rows: int) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panes = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    for axes in panes:
        axes.grid(color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(GRID)
        axes.tick_params(colors=INK, length=0, labelsize=9)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    return figure, panes


def _svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element without size, metadata, fonts or addresses of its own."""
    import matplotlib

    out = io.StringIO()
    # The salt keeps ids of two plots on one page apart, and a report of the same data the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"| (?:width|height)="[\d.]+pt"', "", svg)
    svg = svg.replace("xlink:href", "href")
    for paint, name in PAINTS.items():
        svg = svg.replace(paint, name)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*|DejaVu Sans", "inherit", svg)
    svg = re.sub(r'id="(figure|axes|patch|line2d|text|xtick|ytick|legend|matplotlib\.axis)_\d+"', "", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" ', 1)


def box_picture(
    image: Image, truth: Sequence[Annotation], predicted: Sequence[Annotation], colour: str, window: Window
) -> str:
    """A data URL of the `window` (xyxy, pixels of the upright `image`) with dashed truths and predictions.

    What is right is a thin line; what is missed, false or mislabelled is a thick one and says so.
    """
    scale = WIDTH / (window[2] - window[0])
    size = (WIDTH, max(1, round((window[3] - window[1]) * scale)))
    canvas = image.convert("RGB").resize(size, box=window, reducing_gap=2.0)
    from PIL import ImageDraw

    draw = ImageDraw.Draw(canvas)
    notes = []
    for t, p, _ in match_boxes(truth, predicted, class_agnostic=True):
        true = None if t is None else truth[t]
        guess = None if p is None else predicted[p]
        right = true is not None and guess is not None and true.label == guess.label
        if true is not None:
            _dashed(draw, _placed(true, window, scale), TRUTH, 2 if right else 3)
        if guess is not None:
            draw.rectangle(_placed(guess, window, scale), outline=colour, width=2 if right else 4)
        if not right:
            notes.append(_note(true, guess, window, scale, colour))
    for corner, words, ground in notes:
        _chip(draw, corner, words, ground, size)
    return jpeg_url(canvas)


def error_window(
    size: tuple[int, int], truth: Sequence[Annotation], *predictions: Sequence[Annotation]
) -> Window:
    """The part of an upright image of `size` (width, height) worth showing: round its errors, else all."""
    width, height = size
    wrong = []
    for predicted in predictions:
        for t, p, _ in match_boxes(truth, predicted, class_agnostic=True):
            pair = ([] if t is None else [truth[t]]) + ([] if p is None else [predicted[p]])
            if len({a.label for a in pair}) > 1 or len(pair) < 2:
                wrong += [a.box for a in pair]
    if not wrong:
        return (0.0, 0.0, float(width), float(height))
    boxes = np.array(wrong, dtype=float)
    low, high = np.clip(boxes[:, :2].min(0), 0, size), np.clip(boxes[:, 2:].max(0), 0, size)
    # Room for the eye: twice the errors' extent, and never less than 40 % of the picture.
    side = np.minimum(np.maximum((high - low) * 2, 0.4 * np.array(size)), size)
    side = np.minimum(np.maximum(side, side[::-1] * 0.6), size)
    start = np.clip((low + high - side) / 2, 0, np.array(size) - side)
    return (float(start[0]), float(start[1]), float(start[0] + side[0]), float(start[1] + side[1]))


def jpeg_url(image: Image) -> str:
    """The picture as a data URL of at most about 135 kB, as good as that allows."""
    for quality in (85, 75, 60, 40, 20):
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality, optimize=True)
        if out.tell() <= MAX_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def shown(metrics: DetectionMetrics | None, predicted: Sequence[Annotation]) -> list[Annotation]:
    """The predictions a user of the model would see: those at its best score threshold."""
    return [] if metrics is None else above(predicted, metrics.threshold)


def _placed(a: Annotation, window: Window, scale: float) -> list[float]:
    x1, y1, x2, y2 = a.box or (0, 0, 0, 0)
    left, top = window[:2]
    return [(x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale]


def _note(
    true: Annotation | None, guess: Annotation | None, window: Window, scale: float, colour: str
) -> tuple[tuple[float, float], str, str]:
    if guess is None:
        assert true is not None
        x1, _, _, y2 = _placed(true, window, scale)
        return (x1, y2), f"missed {true.label}", TRUTH
    x1, y1, _, _ = _placed(guess, window, scale)
    score = "" if guess.score is None else f" {guess.score:.2f}"
    return (x1, y1 - CHIP), f"{guess.label}{score}" + (f", is {true.label}" if true else ", false"), colour


def _dashed(draw: ImageDraw, box: list[float], colour: str, width: int) -> None:
    x1, y1, x2, y2 = box
    for start, end, flat in ((x1, x2, True), (y1, y2, False)):
        for at in np.arange(start, end, 12).tolist():
            stop = min(at + 7, end)
            for edge in (y1, y2) if flat else (x1, x2):
                draw.line((at, edge, stop, edge) if flat else (edge, at, edge, stop), colour, width)


def _chip(
    draw: ImageDraw, corner: tuple[float, float], words: str, ground: str, size: tuple[int, int]
) -> None:
    """White words on a ground, kept inside the picture; a long label is cut."""
    from PIL import ImageFont

    font = ImageFont.load_default(17)
    words = words if len(words) <= 40 else words[:39] + "…"
    wide = draw.textlength(words, font=font) + 8
    x = min(max(corner[0], 0), max(size[0] - wide, 0))
    y = min(max(corner[1], 0), max(size[1] - CHIP, 0))
    draw.rectangle((x, y, x + wide, y + CHIP - 1), fill=ground)
    draw.text((x + 4, y + 1), words, fill="white" if ground != BASE else "black", font=font)

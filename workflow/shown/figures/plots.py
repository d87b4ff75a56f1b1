"""Plots as SVG, ready to stand inside one HTML file.

They take their ink from the page, by `currentColor` and CSS variables, so that dark mode and paper work.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow.metrics.calibration import CUTS
from workflow.metrics.coco import RECALLS
from workflow.metrics.detection_record import DetectionMetrics
from workflow.metrics.resampling import Interval
from workflow.shown.figures.colours import BASE, TUNED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stand-ins that no plot uses otherwise; the SVG's text is searched for them.
INK, GRID, PAPER = "#010203", "#040506", "#070809"
PAINTS = {
    INK: "currentColor",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    BASE: "var(--base)",
    TUNED: "var(--tuned)",
}


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


def reliability(curves: Mapping[str, Mapping[str, Any]]) -> str:
    """SVG of the share of guesses that are right over their score, of what `calibration` gives by "before"
    and "after".
    """
    figure, (axes,) = _figure(5.2, 4.2, 1)
    axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, linestyle=":")
    for name, found in curves.items():
        scores, shares, counts = (np.array(column) for column in zip(*found["curve"], strict=True))
        colour, dash = (BASE, "--") if name == "before" else (TUNED, "-")
        axes.plot(scores, shares, dash, color=colour, linewidth=1.6, label=f"{name}, ECE {found['ece']:.3f}")
        axes.scatter(scores, shares, s=8 + 90 * counts / counts.max(), color=colour, linewidths=0)
    axes.set(xlabel="score", ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, labelcolor=INK, loc="upper left")
    return _svg(figure, "reliability")


def f1_by_score(tuned: DetectionMetrics) -> str:
    """SVG of F1 over the score from which guesses count, of each class faintly, and their mean."""
    figure, (axes,) = _figure(5.2, 4.2, 1)
    curves = [curve for curve in tuned.f1_curves.values() if curve is not None]
    for curve in curves:
        axes.plot(CUTS, curve, color=TUNED, linewidth=0.8, alpha=0.28)
    axes.plot(CUTS, np.mean(curves, axis=0), color=TUNED, linewidth=2.2, label="after, mean of the classes")
    axes.set(xlabel="score from which guesses count", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, labelcolor=INK, loc="lower center")
    return _svg(figure, "f1-by-score")


def learning_curves(epochs: Sequence[Mapping[str, Any]], metric: str) -> str:
    """SVG of `loss` and `score`, whose name is `metric`, over the epochs; an epoch may lack either."""
    figure, panes = _figure(5.2, 4.2, 2)
    names = ("training loss", f"validation {metric}")
    for axes, key, name, colour in zip(panes, ("loss", "score"), names, (INK, TUNED), strict=True):
        points = [(e.get("epoch", n), e[key]) for n, e in enumerate(epochs, 1) if e.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=2, marker="o", markersize=3.5)
        axes.set(ylabel=name)
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
    panes[-1].set(xlabel="epoch")
    return _svg(figure, "learning")


def over_rounds(points: Sequence[tuple[int, Interval, bool]], metric: str) -> str:
    """SVG of the score after each round: images learned from, the score, and whether it is comparable.

    A score of other test images than today's is a hollow point.
    """
    figure, (axes,) = _figure(7.2, 3.4, 1)
    known = [(x, i, same) for x, i, same in points if i.value is not None]
    axes.plot([x for x, _, _ in known], [i.value for _, i, _ in known], color=TUNED, linewidth=2)
    for x, i, same in known:
        if i.low is not None:
            axes.plot([x, x], [i.low, i.high], color=TUNED, linewidth=1.2)
        inside = TUNED if same else PAPER
        axes.plot([x], [i.value], "o", color=TUNED, markerfacecolor=inside, markersize=6)
    axes.set(xlabel="images learned from", ylabel=f"{metric} on the test images")
    axes.set_ylim(0, 1)
    axes.set_xlim(left=min(0, *(x for x, _, _ in known)) if known else 0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return _svg(figure, "rounds")


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

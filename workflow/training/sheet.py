"""A contact sheet of training images as they are varied, with their labels drawn: what the model will see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workflow.colours import ON_PICTURES
from workflow.project.rows import atomic
from workflow.training import Job
from workflow.training.augment import IGNORE, Example, vary
from workflow.training.data import Samples, splits

ROWS, COLUMNS = 3, 4
TILE, GAP = 360, 8


def preview_sheet(job: Job, path: Path) -> None:
    """A row an image: as it is, then three times as training varies it in its first epochs."""
    samples, _ = splits(job)
    numbers = np.unique(np.linspace(0, len(samples) - 1, ROWS).round().astype(int)).tolist()
    sheet([_row(samples, number, job) for number in numbers], job.schema.classes, path)


def sheet(rows: Sequence[Sequence[Example]], classes: Sequence[str], path: Path) -> None:
    """Draw rows of examples, each with its boxes, masks or labels, into one PNG."""
    drawn = [[draw(example, classes) for example in row] for row in rows]
    heights = [max(tile.height for tile in row) for row in drawn]
    canvas = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, sum(heights) + GAP * (len(rows) + 1)), "white")
    top = GAP
    for row, height in zip(drawn, heights, strict=True):
        for column, tile in enumerate(row):
            left = GAP + column * (TILE + GAP) + (TILE - tile.width) // 2
            canvas.paste(tile, (left, top + (height - tile.height) // 2))
        top += height + GAP
    with atomic(path) as file:
        canvas.save(file, "PNG")


def draw(example: Example, classes: Sequence[str]) -> Image.Image:
    """One example at most a tile wide and high, with what is labeled on it."""
    tile = Image.fromarray(example["image"].numpy().transpose(1, 2, 0))
    scale = TILE / max(tile.size)
    tile = tile.resize((max(1, round(tile.width * scale)), max(1, round(tile.height * scale))))
    texts: list[tuple[float, float, int]] = []
    if "mask" in example:
        present = [k for k in np.unique(example["mask"].numpy()).tolist() if 0 < k < IGNORE]
        for k in present:
            _shade(tile, example["mask"].numpy() == k, ON_PICTURES[(k - 1) % len(ON_PICTURES)])
        texts = [(0.0, 22.0 * line, k - 1) for line, k in enumerate(present)]
    elif "boxes" in example:
        rows = zip(example["boxes"].tolist(), example["labels"].tolist(), strict=True)
        for (x1, y1, x2, y2), label in rows:
            colour = ON_PICTURES[label % len(ON_PICTURES)]
            corners = (x1 * scale, y1 * scale, x2 * scale - 1, y2 * scale - 1)
            ImageDraw.Draw(tile).rectangle(corners, outline=colour, width=3)
            texts.append((x1 * scale, max(0.0, y1 * scale - 20), label))
    else:
        texts = [(0.0, 22.0 * line, label) for line, label in enumerate(example["labels"].tolist())]
    _write(tile, texts, classes)
    return tile


def _row(samples: Samples, number: int, job: Job) -> list[Example]:
    example = samples[number]
    varied = [
        vary(example, job.recipe.augment, np.random.default_rng([job.recipe.seed, epoch, number]))
        for epoch in range(1, COLUMNS)
    ]
    return [example, *varied]


def _shade(tile: Image.Image, pixels: Any, colour: str) -> None:
    shade = Image.fromarray(pixels.astype(np.uint8) * 130).resize(tile.size, Image.Resampling.NEAREST)
    tile.paste(colour, (0, 0), shade)


def _write(tile: Image.Image, texts: Sequence[tuple[float, float, int]], classes: Sequence[str]) -> None:
    pen, font = ImageDraw.Draw(tile), _font()
    for x, y, label in texts:
        corner = (x + pen.textlength(classes[label], font) + 8, y + 20)
        pen.rectangle((x, y, *corner), fill=ON_PICTURES[label % len(ON_PICTURES)])
        pen.text((x + 4, y + 1), classes[label], "white", font, stroke_width=1, stroke_fill="#00000080")


def _font() -> Any:
    import matplotlib

    # It has the letters of most scripts, unlike Pillow's own.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 15)

"""A sheet of near-copies: one HTML file without network, a row a group, what disagrees first."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workflow.project.rows import write_bytes
from workflow.records import ImageRecord, Sample
from workflow.shapes.overlap import as_box
from workflow.shown.figures.colours import TRUTH

if TYPE_CHECKING:
    from PIL.Image import Image

TEMPLATES = Path(__file__).parents[1] / "templates"
# What a browser shows without effort, and a person looks through.
GROUPS, MEMBERS, WIDTH = 100, 8, 260


@dataclass(frozen=True, slots=True)
class Cell:
    """One image: its labels if people gave some, whether it is `best` or a copy of a better one."""

    record: ImageRecord
    labels: Sample | None
    best: bool
    load: Callable[[], Image]


@dataclass(frozen=True, slots=True)
class Group:
    """Images that hang together, the best first; `agreement` is that of the twins that disagree most."""

    cells: list[Cell]
    agreement: float | None
    straddles: bool


def write(path: Path, title: str, groups: Sequence[Group], advance: Callable[[], object]) -> None:
    """Write the sheet to `path`, whole or not at all. The first `GROUPS` are drawn, the rest are counted.

    `advance` is called for each that is drawn.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    drawn = []
    for group in groups[:GROUPS]:
        drawn.append((group, [(cell, picture(cell)) for cell in group.cells[:MEMBERS]]))
        advance()
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("duplicates.html")
    text = template.render(title=title, drawn=drawn, count=len(groups), members=MEMBERS)
    write_bytes(path, text.encode())


def picture(cell: Cell) -> str:
    """A data URL of the image with the boxes round what people labeled."""
    from PIL import ImageDraw

    image = cell.load()
    scale = WIDTH / image.width
    small = image.resize((WIDTH, max(1, round(image.height * scale))), reducing_gap=2.0)
    draw = ImageDraw.Draw(small)
    for annotation in cell.labels.annotations if cell.labels else ():
        if annotation.geometry and (box := as_box(annotation)) is not None:
            draw.rectangle([v * scale for v in box], outline=TRUTH, width=2)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()

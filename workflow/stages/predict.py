"""Predict: try any model on any picture, without a project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from PIL import Image, ImageDraw, ImageFont

from workflow import images, models
from workflow.errors import ImageError, ModelError
from workflow.models import Annotator, Guesses, Pixels

BATCH = 8
COLOURS = ("#e69f00", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")

Found = list[tuple[Path, Guesses]]


@dataclass(frozen=True)
class Question:
    """Which model, named as seen from `folder`, is asked for which classes: its own where none is named."""

    model: str
    folder: Path
    classes: Sequence[str] = ()
    threshold: float = 0.25
    top: int | None = None
    image_size: int = 640
    device: str = "auto"


def run(paths: Sequence[Path], ask: Question) -> tuple[Found, list[str]]:
    """What the model says of each picture, and a line for each that is broken. ModelError if it cannot."""
    models.fetch(ask.model, ask.folder)
    log = models.fetched_folder().parent / "logs" / f"{models.slug(ask.model)}.log"
    annotator = models.load(
        ask.model,
        ask.folder,
        threshold=ask.threshold,
        image_size=ask.image_size,
        device=ask.device,
        log=log,
    )
    found: Found = []
    problems: list[str] = []
    try:
        classes = _classes(annotator, ask.classes)
        for good, pixels in _decoded(paths, problems):
            guesses = annotator.annotate(pixels, [()] * len(good), classes)
            found += [(path, said[: ask.top]) for path, said in zip(good, guesses, strict=True)]
    finally:
        annotator.close()
    return found, problems


def _classes(annotator: Annotator, wanted: Sequence[str]) -> Sequence[str]:
    if not annotator.names and not wanted:
        raise ModelError(f"model {annotator.name!r} finds what it is told", "name it: --classes a,b,c")
    unknown = sorted(set(wanted) - set(annotator.names))
    if annotator.names and unknown:
        known = ", ".join(annotator.names[:12]) + (", ..." if len(annotator.names) > 12 else "")
        raise ModelError(f"model {annotator.name!r} knows no {', '.join(unknown)}", f"it knows {known}")
    return wanted or annotator.names


def _decoded(paths: Sequence[Path], problems: list[str]) -> Iterator[tuple[list[Path], list[Pixels]]]:
    """Batches of the readable pictures; a line goes to `problems` for each of the others."""
    for start in range(0, len(paths), BATCH):
        good: list[Path] = []
        pixels: list[Pixels] = []
        for path in paths[start : start + BATCH]:
            try:
                pixels.append(images.load(path))
                good.append(path)
            except ImageError as error:
                problems.append(str(error))
        if good:
            yield good, pixels


def as_json(found: Found) -> str:
    """[{image, predictions: [{label, score, box}]}], best first; no box for a label of the whole image."""
    rows = [{"image": str(path), "predictions": [_row(a) for a in guesses]} for path, guesses in found]
    return orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()


def _row(annotation: Any) -> dict[str, Any]:
    row = {"label": annotation.label, "score": round(annotation.score, 4)}
    return row | ({"box": [round(v, 2) for v in annotation.box]} if annotation.box else {})


def as_table(found: Found) -> str:
    lines = []
    for path, guesses in found:
        lines.append(f"{path}: {len(guesses) or 'nothing'} found")
        width = max((len(a.label) for a in guesses), default=0)
        for a in guesses:
            box = "  ".join(f"{value:7.1f}" for value in a.box or ())
            lines.append(f"  {a.score:.2f}  {a.label:{width}}  {box}".rstrip())
    return "\n".join(lines)


def draw(found: Found, folder: Path) -> None:
    """A copy of each picture with its boxes, in `folder`, named as the picture; no two share a name."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    labels = sorted({a.label for _, guesses in found for a in guesses})
    colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(labels)}
    for path, guesses in found:
        name, number = path.stem, 2
        while name.lower() in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name.lower())
        _draw(path, guesses, colours).save(folder / f"{name}.jpg", quality=92)


def _draw(path: Path, guesses: Guesses, colours: dict[str, str]) -> Image.Image:
    picture = Image.fromarray(images.load(path))
    pen = ImageDraw.Draw(picture)
    size = max(12, round(max(picture.size) / 50))
    font = _font(size)
    # The best is drawn last, so that it lies on top.
    for a in reversed(guesses):
        x, y = a.box[:2] if a.box else (0.0, 0.0)
        if a.box:
            pen.rectangle(a.box, outline=colours[a.label], width=max(2, size // 8))
        text = f"{a.label} {a.score:.2f}"
        y = max(0.0, y - size * 1.3)
        pen.rectangle(
            (x, y, x + pen.textlength(text, font) + size / 2, y + size * 1.3), fill=colours[a.label]
        )
        pen.text((x + size / 4, y), text, "white", font)
    return picture


def _font(size: int) -> Any:
    import matplotlib

    # It has the letters of most scripts, unlike Pillow's own.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)

"""Predict: try any model on any picture, without a project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

from workflow import models
from workflow.colours import ON_PICTURES
from workflow.errors import ConfigError, ImageError, ModelError, StageError
from workflow.guesses import crew
from workflow.guesses.crew import Crew, Job, crew_of
from workflow.guesses.engine import Limits, Source
from workflow.guesses.tally import Tally
from workflow.images import copies, decode, orientation
from workflow.images.depth import Levels
from workflow.models import Guesses, Options
from workflow.models.chain import Chain, load_chain
from workflow.project.settings import Slices
from workflow.records import Annotation
from workflow.schema import CaseMatch
from workflow.shapes import masks
from workflow.shapes.geometry import rotated_corners
from workflow.shapes.overlap import as_box

# What tells our drawings from pictures of somebody's own.
_DRAWN = b"drawn by workflow predict"

Found = list[tuple[Path, Guesses]]


@dataclass(frozen=True)
class Question:
    """Which models, in a row, named as seen from `folder`, are asked for which classes: their own where
    none is named. Without a `threshold`, what draws must be a quarter sure, and what names may say all."""

    models: Sequence[str]
    folder: Path
    classes: Sequence[str] = ()
    threshold: float | None = None
    top: int | None = None
    image_size: int | None = None
    device: str = "auto"
    trust: bool = False
    exact_decode: bool = False
    workers: int | None = None
    slices: Slices | None = None


def run(paths: Sequence[Path], ask: Question) -> tuple[Found, list[str], tuple[str, ...]]:
    """What the model says of each picture, a line for each that is broken, and one for what ran each model.

    ModelError if it cannot.
    """
    for spec in ask.models:
        models.fetch(spec, ask.folder)
    annotator = crew_of(Job(ask.models, ask.folder, partial(_load, ask), _logs()), ask.device)
    try:
        classes = _classes(annotator, ask.classes)
        tally = Tally()
        asked = crew.ask(annotator, _sources(paths), classes, Limits(), workers=ask.workers, tally=tally)
        with closing(asked):
            answers = [(path, guesses[: ask.top]) for part in asked for path, guesses in part]
        broken = {path: str(error) for path, error in tally.quarantined.items()}
        problems = [broken[str(path)] for path in dict.fromkeys(paths) if str(path) in broken]
        for line in annotator.shortfalls:
            # No failure, and no part of what may be read by a program.
            print(line, file=sys.stderr)
    finally:
        annotator.close()
    return answers, problems, annotator.engines


def _logs() -> Path:
    return models.fetched_folder().parent / "logs"


def _load(ask: Question, folder: Path, device: str) -> Chain:
    options = Options(
        threshold=ask.threshold,
        image_size=ask.image_size,
        device=device,
        trust=ask.trust,
        exact_decode=ask.exact_decode,
        slices=ask.slices,
        log=_logs() / f"{models.slug(' '.join(ask.models))}.log",
    )
    return load_chain(ask.models, folder, None, options)


def slices_of(text: str) -> Slices:
    """SIZE or SIZE,OVERLAP, as in 640,0.2. ConfigError where it is neither."""
    size, comma, overlap = text.partition(",")
    try:
        return Slices.model_validate({"size": size} | ({"overlap": overlap} if comma else {}))
    except ValidationError as error:
        what = f"--slices {text}: {error.errors()[0]['loc'][0]} {error.errors()[0]['msg'].lower()}"
        raise ConfigError([what], "--slices 640,0.2") from None


def _classes(annotator: Chain | Crew, wanted: Sequence[str]) -> Sequence[str]:
    if not annotator.names and not wanted:
        raise ModelError(f"model {annotator.name!r} finds what it is told", "name it: --classes a,b,c")
    like = CaseMatch.of(annotator.names, wanted).taken
    unknown = sorted(set(wanted) - {*annotator.names, *like.values()})
    if annotator.names and unknown:
        known = ", ".join(annotator.names[:12]) + (", ..." if len(annotator.names) > 12 else "")
        raise ModelError(f"model {annotator.name!r} knows no {', '.join(unknown)}", f"it knows {known}")
    return wanted or annotator.names


def _sources(paths: Sequence[Path]) -> list[Source[Path]]:
    levels = _levels(paths)
    sizes = [orientation.header(path) or (0, 0, 1) for path in paths]
    return [
        Source(path, path, 3 * width * height, levels.get(str(path)))
        for path, (width, height, _) in zip(paths, sizes, strict=True)
    ]


def _levels(paths: Sequence[Path]) -> dict[str, Levels]:
    """Black and white of the pictures of deep gray: the same for all that do not state their own depth."""
    looks = {}
    for path in filter(decode.is_deep, paths):
        with suppress(ImageError):
            looks[str(path)] = decode.look(path)
    grays = {path: look.gray for path, look in looks.items() if look.gray}
    return copies.levels_of(grays, {path: look.levels for path, look in looks.items() if look.levels}, None)


def as_json(answers: Found) -> str:
    """[{image, predictions: [{label, score, box?, mask?, ...}]}], best first; the mask is COCO's RLE."""
    rows = [{"image": str(path), "predictions": [_row(a) for a in guesses]} for path, guesses in answers]
    return orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()


def _row(a: Annotation) -> dict[str, Any]:
    row: dict[str, Any] = {"label": a.label, "score": None if a.score is None else round(a.score, 4)}
    if a.rotated_box is not None:
        r = a.rotated_box
        row["rotated_box"] = [round(v, 2) for v in (r.cx, r.cy, r.width, r.height, r.angle)]
    if a.keypoints is not None:
        row["keypoints"] = [[round(v, 2) for v in point] for point in a.keypoints]
    if (box := as_box(a)) is not None:
        row["box"] = [round(v, 2) for v in box]
    if a.mask is not None:
        row["mask"] = {"size": [a.mask.height, a.mask.width], "counts": a.mask.counts}
    return row


def as_table(answers: Found) -> str:
    lines = []
    for path, guesses in answers:
        lines.append(f"{path}: {len(guesses) or 'nothing'} found")
        width = max((len(a.label) for a in guesses), default=0)
        for a in guesses:
            place = a.keypoints[0] if a.keypoints else as_box(a) or ()
            numbers = "  ".join(f"{value:7.1f}" for value in place)
            pixels = f"  {masks.area(a.mask)} pixels" if a.mask else ""
            score = "   -" if a.score is None else f"{a.score:.2f}"
            lines.append(f"  {score}  {a.label:{width}}  {numbers}{pixels}".rstrip())
    return "\n".join(lines)


def draw(answers: Found, folder: Path) -> None:
    """A copy of each picture with its guesses, in `folder`, named as the picture; no two share a name.

    StageError before anything is written where that would replace a picture that is no such copy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = _targets(answers, folder)
    if own := [path for path in targets if path.exists() and not _is_drawn(path)]:
        raise StageError(f"{own[0]} is a picture of yours", "--save to another folder")
    labels = sorted({a.label for _, guesses in answers for a in guesses})
    colours = {label: ON_PICTURES[number % len(ON_PICTURES)] for number, label in enumerate(labels)}
    levels = _levels([path for path, _ in answers])
    for (path, guesses), target in zip(answers, targets, strict=True):
        picture = _draw(path, guesses, colours, levels.get(str(path)))
        picture.save(target, quality=92, comment=_DRAWN)


def _targets(answers: Found, folder: Path) -> list[Path]:
    targets: list[Path] = []
    taken: set[str] = set()
    for path, _ in answers:
        name, number = path.stem, 2
        while name.lower() in taken:
            name, number = f"{path.stem}-{number}", number + 1
        taken.add(name.lower())
        targets.append(folder / f"{name}.jpg")
    return targets


def _is_drawn(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.info.get("comment") == _DRAWN
    except OSError:
        return False


def _draw(path: Path, guesses: Guesses, colours: dict[str, str], levels: Levels | None) -> Image.Image:
    picture = Image.fromarray(decode.from_file(path, levels=levels))
    size = max(12, round(max(picture.size) / 50))
    for a in guesses:
        if a.mask is not None:
            shade = Image.fromarray(masks.decode(a.mask).astype(np.uint8) * 115)
            picture.paste(colours[a.label], (0, 0), shade)
    pen = ImageDraw.Draw(picture)
    font = _font(size)
    # The best is drawn last, so that it lies on top; labels of the whole image stand below each other.
    whole = [a for a in guesses if not a.geometry]
    for a in reversed(guesses):
        _outline(pen, a, colours[a.label], max(2, size // 8))
        if a.geometry == "keypoints":
            continue
        x, y = (as_box(a) or (0.0, 0.0))[:2]
        y = whole.index(a) * size * 1.4 if a in whole else max(0.0, y - size * 1.3)
        text = a.label if a.score is None else f"{a.label} {a.score:.2f}"
        corner = (x + pen.textlength(text, font) + size / 2, y + size * 1.3)
        pen.rectangle((x, y, *corner), fill=colours[a.label])
        pen.text((x + size / 4, y), text, "white", font)
    return picture


def _outline(pen: ImageDraw.ImageDraw, a: Annotation, colour: str, width: int) -> None:
    if a.box is not None:
        pen.rectangle(a.box, outline=colour, width=width)
    if a.rotated_box is not None:
        pen.polygon([tuple(p) for p in rotated_corners(a.rotated_box)], outline=colour, width=width)
    for x, y in a.keypoints or ():
        pen.ellipse((x - 2 * width, y - 2 * width, x + 2 * width, y + 2 * width), fill=colour)


def _font(size: int) -> Any:
    import matplotlib

    # It has the letters of most scripts, unlike Pillow's own.
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)

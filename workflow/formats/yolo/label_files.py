"""Label files as they lie on disk: text of any kind, with a score at the end of a line, or second.

ultralytics writes `class cx cy w h score`, others `class score cx cy w h`. Read in the wrong order a box may
still be one, so all lines of a source decide together which of the two it is, or whoever imports is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.page import Page, Reading
from workflow.formats.yolo.data_yaml import Data
from workflow.formats.yolo.lines import SHAPES, Kind, from_lines
from workflow.formats.yolo.score_place import Order, order_of
from workflow.records import Provenance

# The share of an image by which a guessed box may leave it: models cut theirs at the edge.
OUTSIDE = 0.01
SECOND = "lines whose score stands second, as their geometry says"


@dataclass
class LabelFile:
    """The label file of a page: the parts of each line that is not empty, by the line's number."""

    page: Page
    path: Path
    lines: dict[int, list[str]] = field(default_factory=dict)


def read_labels(files: Sequence[LabelFile], data: Data, kind: Kind, reading: Reading, source: Path) -> None:
    """Put what label files say onto their pages; whatever is wrong becomes a problem of the reading."""
    for file in files:
        try:
            lines = enumerate(doors.read_text(file.path).split("\n"), 1)
            file.lines = {number: line.split() for number, line in lines if line.strip()}
        except FormatError as error:
            reading.problems.append(str(error))
    plain = {"detect": 5, "obb": 9, "pose": 5 + data.numbers * len(data.points)}.get(kind)
    order = reading.options.columns or _order(files, kind, plain, reading, source)
    for file in files:
        for number, parts in file.lines.items():
            _read(file, number, *_parted(parts, order, plain), data, kind)


def _has_score(parts: Sequence[str], plain: int | None) -> bool:
    """Whether a line has one number more than its kind, of `plain` parts; None for outlines."""
    return len(parts) == plain + 1 if plain else len(parts) > 7 and len(parts) % 2 == 0


def _parted(parts: list[str], order: Order, plain: int | None) -> tuple[list[str], str | None]:
    """A line without its score, and that."""
    if not _has_score(parts, plain):
        return parts, None
    return (parts[:-1], parts[-1]) if order == "last" else ([parts[0], *parts[2:]], parts[1])


def _order(
    files: Sequence[LabelFile], kind: Kind, plain: int | None, reading: Reading, source: Path
) -> Order:
    """Where the scores stand: where every line is then a shape within its image. Else that is a problem.

    Outlines are shapes either way: of them `order_of` tells.
    """
    scored = [
        (file.page, parts) for file in files for parts in file.lines.values() if _has_score(parts, plain)
    ]
    if not scored:
        return "last"
    if plain is None:
        return _order_of_outlines([parts for _, parts in scored], reading, source)
    ways: tuple[Order, Order] = ("last", "second")
    out = {
        way: sum(not _is_inside(page, *_parted(parts, way, plain), kind) for page, parts in scored)
        for way in ways
    }
    if (out["last"] == 0) == (out["second"] == 0):
        shape = SHAPES[kind].split(",")[0].removeprefix("class ")
        reading.problems.append(
            f"{source}: where do the scores stand? Of {len(scored)} lines, {out['last']} are no shapes "
            f"within their images as `class {shape} score`, and {out['second']} as `class score {shape}`: "
            "say --columns last or --columns second"
        )
    elif out["second"] == 0:
        reading.losses.add(SECOND, count=len(scored))
        return "second"
    return "last"


def _order_of_outlines(lines: Sequence[Sequence[str]], reading: Reading, source: Path) -> Order:
    numbers = []
    for parts in lines:
        try:
            numbers.append([doors.number(part, "a part") for part in parts[1:]])
        except ValueError:
            # The line is refused where it is read.
            continue
    order, votes = order_of(numbers)
    if order == "second":
        reading.losses.add(SECOND, count=len(lines))
    elif order is None and numbers:
        reading.problems.append(
            f"{source}: where do the scores stand? Of {len(lines)} outlines {votes['last']} look like "
            f"`class x1 y1 x2 y2 ... score`, {votes['second']} like `class score x1 y1 x2 y2 ...`, the "
            "others like both: say --columns last or --columns second"
        )
    return order or "last"


def _is_inside(page: Page, parts: Sequence[str], score: str | None, kind: Kind) -> bool:
    """Whether a line is a shape within its image, with a score from 0 to 1."""
    try:
        numbers = [doors.number(part, "a part") for part in parts[1:]]
        if not 0 <= doors.number(score, "score") <= 1:
            return False
        if kind == "obb":
            line, names = " ".join(["0", *parts[1:]]), ["any"]
            from_lines(line, page.width, page.height, names, Provenance("import", "any"), kind)
            ends = numbers
        else:
            cx, cy, w, h = numbers[:4]
            ends = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    except (ValueError, FormatError):
        return False
    return min(ends) >= -OUTSIDE and max(ends) <= 1 + OUTSIDE


def _read(
    file: LabelFile, number: int, parts: list[str], score_text: str | None, data: Data, kind: Kind
) -> None:
    """Put the annotations of one line onto its page."""
    page, reading = file.page, file.page.reading
    if kind in ("detect", "pose") and any(_is_zero(side) for side in parts[3:5]):
        page.drop("boxes without an area")
        return
    if kind == "pose" and data.numbers == 2:
        parts = [
            *parts[:5],
            *(n for x, y in zip(parts[5::2], parts[6::2], strict=False) for n in (x, y, "2")),
        ]
    # Blank lines before it, so that an error and an object's name tell the line's number.
    text, size = "\n" * (number - 1) + " ".join(parts), (page.width, page.height)
    try:
        score = None if score_text is None else doors.number(score_text, "score")
        some, losses = from_lines(text, *size, data.names, reading.provenance, kind, data.points)
        for annotation in some:
            page.add(replace(annotation, score=None if annotation.keypoints else score))
    except FormatError as error:
        reading.problems.append(f"{file.path}:{error.problem.removeprefix('line ')}")
        return
    except ValueError as error:
        reading.problems.append(f"{file.path}:{number}: {error}")
        return
    for reason, count in losses.items():
        page.lose(reason, count)


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False

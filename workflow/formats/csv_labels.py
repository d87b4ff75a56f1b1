"""Labels of whole images in a CSV file: a line a label, or a column of 0 and 1 a class.

    image,label             image,cat,dog
    a.jpg,cat               a.jpg,1,1
    a.jpg,dog               b.jpg,0,0
    b.jpg,

An image without a label is one that has none. A `score` column is that of a prediction. Lines are
separated by commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.page import Page, Picture, Reading, Writing, split_of
from workflow.project.rows import write_bytes

IMAGE = ("image", "file", "filename", "file_name", "image_name", "path")
SPLIT = ("split", "subset")
LABEL = ("label", "class", "category", "class_name")

# Headers of tables that say something else, and what to do with these.
OTHERS = {
    ("ImageID", "LabelName", "XMin"): ("OpenImages' boxes", "convert them to COCO, by FiftyOne for example"),
    ("filename", "region_shape_attributes"): ("VIA's regions", "export them as COCO, by VIA's own menu"),
    ("ImageId", "PredictionString"): ("ImageNet's boxes", "import the XML files beside them as voc"),
}


def read(source: Path, reading: Reading) -> Iterator[Page]:
    """A page for each image named. FormatError where the header names no image or no label."""
    header, rows = _table(source)
    for columns, (what, fix) in OTHERS.items():
        if set(columns) <= set(header):
            raise FormatError(f"{source}:1: these are {what}, no labels of whole images", fix)
    image = next((name for name in header if name.lower() in IMAGE), None)
    label = next((name for name in header if name.lower() in LABEL), None)
    if image is None:
        raise FormatError(f"{source}:1: no column is called image", f"one of: {', '.join(IMAGE)}")
    classes = reading.schema.classes
    split = next((name for name in header if name.lower() in SPLIT and name not in classes), None)
    others = [name for name in header if name not in (image, label, split, "score")]
    if label is None and not others:
        raise FormatError(f"{source}:1: no column is called label", f"one of: {', '.join(LABEL)}")
    if label is not None:
        reading.losses.add("columns", ", ".join(others), len(others))
    pages: dict[str, Page | None] = {}
    for number, row in rows:
        name = row[image]
        if None in row or None in row.values() or not name:
            reading.problems.append(f"{source}:{number}: has not {len(header)} columns, or no image")
            continue
        if name not in pages:
            pages[name] = page = reading.page(name)
            if page is not None and split is not None:
                page.split = split_of([row[split]])
        if (page := pages[name]) is None:
            continue
        try:
            if label is not None:
                _take(page, row[label], row.get("score"))
            else:
                for other in others:
                    _take(page, other if _one_or_zero(row[other]) else "", None)
        except ValueError as error:
            reading.problems.append(f"{source}:{number}: {error}")
    yield from filter(None, pages.values())


def _table(source: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    text = doors.read_text(source)
    # What stands in quotes separates nothing.
    first = re.sub(r'"[^"]*"', "", text.split("\n", 1)[0])
    sign = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=sign, skipinitialspace=True, strict=True)
    try:
        header = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        if twice := next((name for name in header if header.count(name) > 1), None):
            raise FormatError(f"{source}:1: two columns are called {twice!r}", "give each a name of its own")
        return header, [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise FormatError(f"{source}:{reader.line_num}: not CSV ({error})") from None


def _take(page: Page, label: str, score: str | None) -> None:
    if not label:
        return
    if any(a.label == label for a in page.annotations):
        page.lose("labels given twice")
    else:
        page.label(label, doors.number(score, "score") if score else None)


def _one_or_zero(cell: str) -> bool:
    if cell.strip() not in ("0", "1", "0.0", "1.0"):
        raise ValueError(f"{cell!r} is neither 0 nor 1")
    return float(cell) == 1


def write(target: Path, pictures: Sequence[Picture], writing: Writing) -> None:
    """A line a label, with its score where these are predictions."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "label", "score"] if writing.predictions else ["image", "label"])
    for picture in pictures:
        for annotation in picture.annotations:
            score = "" if annotation.score is None else annotation.score
            table.writerow([picture.record.path, annotation.label, score][: 2 + writing.predictions])
        if not picture.annotations:
            table.writerow([picture.record.path, "", ""][: 2 + writing.predictions])
    write_bytes(target, text.getvalue().encode())

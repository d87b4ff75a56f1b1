"""YOLO's text labels: one `class cx cy w h` a line, as shares of the upright image.

Format: https://docs.ultralytics.com/datasets/detect. An empty file is an image without objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from workflow.errors import FormatError
from workflow.records import Annotation, Provenance


def to_lines(annotations: Sequence[Annotation], width: int, height: int, classes: Sequence[str]) -> str:
    """The label file of an upright `width` x `height` image. FormatError for what is not a box."""
    lines = []
    for a in annotations:
        if a.box is None:
            raise FormatError(f"annotation {a.label!r} has no box: a YOLO detection label cannot hold it")
        x1, y1, x2, y2 = a.box
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{classes.index(a.label)} " + " ".join(f"{s:.12f}" for s in shares) + "\n")
    return "".join(lines)


def from_lines(
    text: str, width: int, height: int, classes: Sequence[str], provenance: Provenance
) -> list[Annotation]:
    """The annotations of a label file. FormatError names a line that is not `class cx cy w h`."""
    annotations = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            index, cx, cy, w, h = (float(part) for part in line.split())
            label = classes[int(index)]
        except (ValueError, IndexError):
            raise FormatError(f"line {number}: {line!r} is no `class cx cy w h`") from None
        half_w, half_h = w * width / 2, h * height / 2
        x, y = cx * width, cy * height
        annotations.append(
            Annotation(label, provenance, box=(x - half_w, y - half_h, x + half_w, y + half_h))
        )
    return annotations

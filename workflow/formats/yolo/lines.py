"""YOLO's text labels: one object a line, its class's number first, in shares of the upright image.

| kind | after the class | format |
|---|---|---|
| detect | cx cy w h | https://docs.ultralytics.com/datasets/detect |
| segment | x1 y1 x2 y2 ... | https://docs.ultralytics.com/datasets/segment |
| obb | the four corners, clockwise | https://docs.ultralytics.com/datasets/obb |
| pose | cx cy w h, then x y visibility a point | https://docs.ultralytics.com/datasets/pose |

Numbers have six significant digits, as ultralytics itself writes them: at 4,096 pixels an edge is off by
0.003 at most. An empty file is an image without objects. Each way comes with a count of what it could not
carry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from workflow.errors import FormatError
from workflow.formats import doors
from workflow.formats.yolo import outlines
from workflow.records import Annotation, Point, Provenance, RotatedBox
from workflow.shapes.geometry import Floats, clip_polygon, rotated_corners

Kind = Literal["detect", "segment", "obb", "pose"]
Losses = Counter[str]
SHAPES = {
    "detect": "class cx cy w h",
    "segment": "class x1 y1 x2 y2 x3 y3 ...",
    "obb": "class x1 y1 x2 y2 x3 y3 x4 y4",
    "pose": "class cx cy w h, and x y visibility of each point",
}
# The share by which an edge of six digits may leave its image.
ROUNDED = 1e-6
# Pixels by which corners that were rounded may miss a right angle.
SLACK = 0.5


def to_lines(
    annotations: Sequence[Annotation],
    width: int,
    height: int,
    classes: Sequence[str],
    kind: Kind = "detect",
    points: Sequence[str] = (),
) -> tuple[str, Losses]:
    """The label file of an upright `width` x `height` image, and what it leaves out, counted.

    FormatError for a geometry that is not of the kind, an unknown label, or what leaves the image.
    """
    losses: Losses = Counter()
    size = np.array([width, height], dtype=float)
    own: dict[str, list[Annotation]] = {}
    for a in annotations:
        if a.keypoints is not None:
            own.setdefault(a.parent, []).append(a)
    lines = []
    for a in annotations:
        if kind == "pose" and a.keypoints is not None:
            continue
        corners = _corners(a, kind, width, height, losses)
        if not len(corners):
            continue
        shares = corners / size
        if shares.min() < -1e-6 or shares.max() > 1 + 1e-6:
            raise FormatError(f"annotation {a.label!r} leaves its image of {width} x {height} pixels")
        numbers = _centred(shares) if kind in ("detect", "pose") else shares.reshape(-1).tolist()
        if kind == "pose":
            numbers += _seen(own.get(a.id, ()), points, size, losses)
        lines.append(f"{_index(a.label, classes)} " + " ".join(f"{n:.6g}" for n in numbers) + "\n")
    if kind == "pose":
        boxes = {a.id for a in annotations if a.box is not None}
        losses["points without a box"] += sum(len(some) for name, some in own.items() if name not in boxes)
    return "".join(lines), +losses


def from_lines(
    text: str,
    width: int,
    height: int,
    classes: Sequence[str],
    provenance: Provenance,
    kind: Kind = "detect",
    points: Sequence[str] = (),
) -> tuple[list[Annotation], Losses]:
    """The annotations of a label file, and what they leave out, counted. FormatError names a broken line.

    An outline in several parts comes as polygons, one with holes as a mask. Each seen point of a pose is
    an annotation whose parent is the object's box.
    """
    losses: Losses = Counter()
    annotations: list[Annotation] = []
    size = np.array([width, height], dtype=float)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            index, *numbers = (doors.number(part, "a part") for part in line.split())
            if index not in range(len(classes)):
                raise ValueError(index)
            label = classes[int(index)]
            annotations += _read(label, np.array(numbers), size, kind, points, str(number), provenance)
        except ValueError:
            raise FormatError(f"line {number}: {doors.shown(line.strip())} is no `{SHAPES[kind]}`") from None
        if kind == "pose":
            losses["points that are hidden, now as if seen"] += numbers[6::3].count(1)
    return annotations, +losses


def _index(label: str, classes: Sequence[str]) -> int:
    if label not in classes:
        raise FormatError(f"label {label!r} is no class of the project", "add it to classes")
    return classes.index(label)


def _corners(a: Annotation, kind: Kind, width: int, height: int, losses: Losses) -> Floats:
    """The points (n, 2) that say where an annotation is, in pixels; none for an empty mask, which is lost."""
    if kind in ("detect", "pose") and a.box is not None:
        return np.array(a.box).reshape(2, 2)
    if kind == "segment" and (a.mask is not None or a.polygons is not None):
        outline = outlines.joined(a)
        losses["empty masks"] += not outline
        return np.array(outline)
    if kind == "obb" and a.box is not None:
        x1, y1, x2, y2 = a.box
        return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    if kind == "obb" and a.rotated_box is not None:
        corners = rotated_corners(a.rotated_box)
        if ((corners >= 0) & (corners <= (width, height))).all():
            return corners
        # ultralytics passes over an image with a corner outside, and takes any outline for a box.
        losses["rotated boxes, but for their part outside the image"] += 1
        return clip_polygon(corners, width, height)
    raise FormatError(f"annotation {a.label!r} has no geometry that a YOLO {kind} label can hold")


def _centred(shares: Floats) -> list[float]:
    low, high = shares
    return [*((low + high) / 2).tolist(), *(high - low).tolist()]


def _seen(own: Iterable[Annotation], points: Sequence[str], size: Floats, losses: Losses) -> list[float]:
    """x, y, visibility of each of a box's own points, in order: 2 where it was labeled, else 0 0 0."""
    seen: dict[str, Floats] = {}
    for a in own:
        if a.keypoints is None or a.label not in points or len(a.keypoints) != 1:
            raise FormatError(f"keypoint {a.label!r} is none of {', '.join(points)}, or not one point")
        losses["points named twice"] += a.label in seen
        seen.setdefault(a.label, np.array(a.keypoints[0]) / size)
    return [n for name in points for n in ([*seen[name].tolist(), 2] if name in seen else [0, 0, 0])]


def _read(
    label: str,
    numbers: Floats,
    size: Floats,
    kind: Kind,
    points: Sequence[str],
    name: str,
    provenance: Provenance,
) -> list[Annotation]:
    """The annotations of one line, an object first. ValueError where the line is not of the kind."""
    if kind == "detect":
        return [Annotation(label, provenance, box=_box(numbers, size))]
    if kind == "pose":
        own = numbers[4:].reshape(len(points), 3)
        return [
            Annotation(label, provenance, box=_box(numbers[:4], size), id=name),
            *(
                Annotation(point, provenance, keypoints=(_pair(one[:2] * size),), parent=name)
                for point, one in zip(points, own, strict=True)
                if one[2]
            ),
        ]
    corners = numbers.reshape(-1, 2) * size
    if kind == "obb":
        return [Annotation(label, provenance, rotated_box=_rectangle(corners))]
    outline = [_pair(corner) for corner in corners]
    return [outlines.parted(outline, label, provenance, int(size[0]), int(size[1]))]


def _pair(xy: Floats) -> Point:
    return float(xy[0]), float(xy[1])


def _box(numbers: Floats, size: Floats) -> tuple[float, float, float, float]:
    centre, extent = numbers.reshape(2, 2)
    edges = np.concatenate([centre - extent / 2, centre + extent / 2])
    # What was at the image's edge is there again.
    inside = np.clip(edges, 0, 1)
    edges = np.where(abs(edges - inside) <= ROUNDED, inside, edges)
    x1, y1, x2, y2 = (edges * np.tile(size, 2)).tolist()
    return x1, y1, x2, y2


def _rectangle(corners: Floats) -> RotatedBox:
    """The box of four corners; ValueError where they are not those of a rectangle."""
    a, b, c, d = corners
    (ux, uy), (vx, vy) = b - a, d - a
    if ux * vy - uy * vx < 0:
        return _rectangle(corners[::-1])
    width, height = float(np.hypot(ux, uy)), float(np.hypot(vx, vy))
    skew = abs(ux * vx + uy * vy) / max(width, height, 1e-9)
    if np.abs(a + c - b - d).max() > 2 * SLACK or skew > SLACK:
        raise ValueError(corners)
    cx, cy = _pair(corners.mean(axis=0))
    # The longer side knows the direction best, as all corners are rounded alike.
    radians = np.arctan2(uy, ux) if width >= height else np.arctan2(-vx, vy)
    return RotatedBox(cx, cy, width, height, float(np.rad2deg(radians)))

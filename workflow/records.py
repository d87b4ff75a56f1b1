"""The one vocabulary every stage speaks. Frozen, and checked at birth: a bad box cannot exist.

Coordinates are pixels of the UPRIGHT image (EXIF orientation applied), xyxy, origin top left;
x runs over [0, width], so a box over the whole of a 10 px wide image ends at x = 10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
State = Literal["unlabeled", "predicted", "reviewed", "skipped"]
Kind = Literal["model", "person", "import"]
Point = tuple[float, float]
# An object of JSON, as a server or a file has it.
Json = dict[str, Any]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
GEOMETRIES = ("box", "rotated_box", "mask", "polygons", "keypoints")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image. `id` is a hash of the file's bytes, so a duplicate is the same image.

    `png` is the name of a copy of its upright pixels, for what browsers do not show as it is.
    """

    id: str
    path: str
    width: int
    height: int
    split: Split
    group: str | None = None
    png: str = ""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image {self.path}: size {self.width}x{self.height} is not positive")
        if self.split not in SPLITS:
            raise ValueError(f"image {self.path}: split {self.split!r} is none of {SPLITS}")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model or person made an annotation, at which revision, when (ISO 8601, UTC)."""

    kind: Kind
    name: str
    revision: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class RotatedBox:
    """A box of `width` x `height` pixels round its centre, turned clockwise by `angle` degrees."""

    cx: float
    cy: float
    width: float
    height: float
    angle: float

    def __post_init__(self) -> None:
        _finite("rotated box", (self.cx, self.cy, self.width, self.height, self.angle))
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"rotated box of {self.width} x {self.height} pixels has no area")


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask over the whole upright image as COCO's compressed RLE, so holes and parts survive."""

    height: int
    width: int
    counts: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """One label with at most one geometry; none means that the label is of the whole image.

    `box` is (x1, y1, x2, y2). `polygons` are the closed outlines of one object's parts, without holes:
    what has holes is a mask. `keypoints` are (x, y) pairs. `score` is a model's, in [0, 1], and None for
    a person's. `id` names the region within its image, so that the ledger can follow it; `parent` is the
    id of the region it belongs to, as a keypoint to a person's box. What is `ignored` is a place of which
    nobody can say what is there, as a crowd or a hardly visible object: neither learned nor counted.
    """

    label: str
    provenance: Provenance
    box: tuple[float, float, float, float] | None = None
    rotated_box: RotatedBox | None = None
    mask: Mask | None = None
    keypoints: tuple[Point, ...] | None = None
    score: float | None = None
    id: str = ""
    polygons: tuple[tuple[Point, ...], ...] | None = None
    parent: str = ""
    ignored: bool = False

    def __post_init__(self) -> None:
        if not self.label:
            raise ValueError("an annotation needs a label")
        geometries = (self.box, self.rotated_box, self.mask, self.polygons, self.keypoints)
        if geometries.count(None) < len(geometries) - 1:
            raise ValueError(f"annotation {self.label!r} has more than one geometry")
        if self.box is not None:
            _finite("box", self.box)
            x1, y1, x2, y2 = self.box
            if x2 <= x1 or y2 <= y1:
                raise ValueError(f"box {self.box} has no area: x2 > x1 and y2 > y1 are needed")
        self._check_points()
        if self.ignored and self.geometry in ("", "keypoints"):
            raise ValueError(f"annotation {self.label!r} is ignored, yet covers no part of its image")
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"score {self.score} is not in [0, 1]")

    def _check_points(self) -> None:
        if self.keypoints is not None:
            _finite("keypoints", tuple(v for point in self.keypoints for v in point))
        if self.polygons is None:
            return
        if not self.polygons or any(len(part) < 3 for part in self.polygons):
            raise ValueError(f"annotation {self.label!r}: a polygon needs three points or more")
        _finite("polygon", tuple(v for part in self.polygons for point in part for v in point))

    @property
    def geometry(self) -> str:
        """The name of the field that holds the geometry; empty for a label of the whole image."""
        # Most are boxes, and this is asked of every one, often.
        if self.box is not None:
            return "box"
        for name in GEOMETRIES:
            if getattr(self, name) is not None:
                return name
        return ""

    def within(self, width: int, height: int) -> bool:
        """Whether the box, or every point of the outlines or keypoints, lies inside an image of that size.

        A rotated box may reach over the edge: cut off, it would be none.
        """
        points = [point for part in self.polygons or (self.keypoints or (),) for point in part]
        if self.box is not None:
            points += [self.box[:2], self.box[2:]]
        return all(0 <= x <= width and 0 <= y <= height for x, y in points)


@dataclass(frozen=True, slots=True)
class Relation:
    """What somebody said of two annotations of one image: from the one with the id `first` to that of `last`.

    `direction` is left, right or bi, and empty where nobody chose one; `labels` say what the relation is,
    None where none was asked for. `more` is the JSON text of whatever else came with it, kept as it is.
    """

    first: str
    last: str
    direction: str = ""
    labels: tuple[str, ...] | None = None
    more: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of one image: reviewed without annotations is a true negative."""

    image: str
    state: State
    annotations: tuple[Annotation, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state in ("unlabeled", "skipped") and self.annotations:
            raise ValueError(f"image {self.image} is {self.state}, yet has annotations")


def _finite(what: str, values: tuple[float, ...]) -> None:
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{what} {values} is not finite")

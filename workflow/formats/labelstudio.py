"""Label Studio's result JSON and label configs.

Format: https://labelstud.io/guide/export and /guide/predictions. Regions are in percent of the
UPRIGHT image (the editor works in displayed space); a rotated rectangle turns clockwise about its
top left corner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from workflow.errors import FormatError
from workflow.records import Annotation, Provenance, RotatedBox

Region = dict[str, Any]
CONTROL = "label"
OBJECT = "image"

# Okabe and Ito's, told apart by colour-blind people too (jfly.uni-koeln.de/color), without the yellow,
# gray and black that vanish on paper and in lists; then four more, before they repeat.
COLOURS = (
    *("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
    *("#6A3D9A", "#8C510A", "#66A61E", "#B2182B"),
)
HOTKEYS = "1234567890qwertyuopasdfghjklzxcvbnm"


@dataclass
class Reading:
    """What a result says: annotations, and what could not be carried exactly, counted by reason."""

    annotations: list[Annotation] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    def lose(self, reason: str) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + 1


def label_config(classes: Sequence[str]) -> str:
    """The labeling interface for boxes: names, hotkeys, colours, zoom, brightness."""
    labels = "\n".join(_label(i, name, classes) for i, name in enumerate(classes))
    return (
        "<View>\n"
        f'  <Image name="{OBJECT}" value="$image" zoom="true" zoomControl="true" brightnessControl="true"'
        ' contrastControl="true" rotateControl="false"/>\n'
        f'  <RectangleLabels name="{CONTROL}" toName="{OBJECT}" canRotate="false" strokeWidth="2"'
        ' fillOpacity="0.05">\n'
        f"{labels}\n"
        "  </RectangleLabels>\n"
        "</View>\n"
    )


def _label(index: int, name: str, classes: Sequence[str]) -> str:
    # A class whose own name is a key gets that key: pressing 7 for the digit 7 needs no learning.
    own = {c for c in classes if len(c) == 1 and c in HOTKEYS}
    spare = [k for k in HOTKEYS if k not in own]
    others = [c for c in classes if c not in own]
    hotkey = name if name in own else dict(zip(others, spare, strict=False)).get(name)
    key = f' hotkey="{hotkey}"' if hotkey else ""
    return f'    <Label value={quoteattr(name)} background="{COLOURS[index % len(COLOURS)]}"{key}/>'


def local_file_url(folder: str, path: str) -> str:
    """The address under which Label Studio serves a file of a local storage."""
    return f"/data/local-files/?d={quote(folder)}/{quote(path)}"


def to_result(annotations: Iterable[Annotation], width: int, height: int) -> list[Region]:
    """Annotations of an upright `width` x `height` image as regions. FormatError for other geometry."""
    return [_to_region(a, number, width, height) for number, a in enumerate(annotations)]


def _to_region(annotation: Annotation, number: int, width: int, height: int) -> Region:
    x, y, w, h, rotation = _percent(annotation, width, height)
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": rotation}
    region: Region = {
        "id": annotation.id or f"r{number}",
        "from_name": CONTROL,
        "to_name": OBJECT,
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": value | {"rectanglelabels": [annotation.label]},
    }
    if annotation.score is not None:
        region["score"] = annotation.score
    return region


def _percent(annotation: Annotation, width: int, height: int) -> tuple[float, float, float, float, float]:
    """x, y, width, height in percent of the image, and degrees."""
    if annotation.box is not None:
        if not annotation.within(width, height):
            raise FormatError(f"box {annotation.box} leaves its {width}x{height} image", "clip it first")
        x1, y1, x2, y2 = annotation.box
        return x1 / width * 100, y1 / height * 100, (x2 - x1) / width * 100, (y2 - y1) / height * 100, 0
    if (box := annotation.rotated_box) is not None:
        turn = math.radians(box.angle)
        x = box.cx - math.cos(turn) * box.width / 2 + math.sin(turn) * box.height / 2
        y = box.cy - math.sin(turn) * box.width / 2 - math.cos(turn) * box.height / 2
        return (
            x / width * 100,
            y / height * 100,
            box.width / width * 100,
            box.height / height * 100,
            box.angle,
        )
    raise FormatError(f"annotation {annotation.label!r}: a rectangle control takes boxes only")


def from_result(result: Sequence[Region], width: int, height: int, provenance: Provenance) -> Reading:
    """Read regions back as annotations of an upright `width` x `height` image.

    What a box cannot be (another geometry, no area, no or several labels) is counted, never dropped
    in silence; a box that leaves the image is clipped, and counted.
    """
    reading = Reading()
    for region in result:
        if "value" not in region:
            reading.lose(f"{region.get('type', 'unknown')} without a value")
            continue
        value = region["value"]
        labels = value.get("rectanglelabels")
        if region.get("type") != "rectanglelabels" or not labels:
            reading.lose(
                f"{region.get('type', 'unknown')} region" if labels is None else "box without a label"
            )
            continue
        for label in labels:
            _read_box(reading, region, label, width, height, provenance)
    return reading


def _read_box(
    reading: Reading, region: Region, label: str, width: int, height: int, provenance: Provenance
) -> None:
    value = region["value"]
    x, y = value["x"] * width / 100, value["y"] * height / 100
    w, h = value["width"] * width / 100, value["height"] * height / 100
    # The editor keeps a model's score on a region a person has moved; it is no score of that person.
    score = region.get("score") if provenance.kind == "model" else None
    name = str(region.get("id", ""))
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        reading.lose("box without an area")
        return
    turn = value.get("rotation") or 0
    if turn % 360:
        angle = math.radians(turn)
        cx = x + math.cos(angle) * w / 2 - math.sin(angle) * h / 2
        cy = y + math.sin(angle) * w / 2 + math.cos(angle) * h / 2
        rotated = RotatedBox(cx, cy, w, h, turn)
        reading.annotations.append(Annotation(label, provenance, rotated_box=rotated, score=score, id=name))
        return
    box = (_snap(x, width), _snap(y, height), _snap(x + w, width), _snap(y + h, height))
    clipped = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(width)), min(box[3], float(height)))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        reading.lose("box outside the image")
        return
    if clipped != box:
        reading.lose("box clipped to the image")
    reading.annotations.append(Annotation(label, provenance, box=clipped, score=score, id=name))


def _snap(value: float, limit: int) -> float:
    """Undo the rounding of percent arithmetic: 1e-9 of a pixel past an edge is the edge."""
    for edge in (0.0, float(limit)):
        if abs(value - edge) < 1e-6:
            return edge
    return value


def url_of(template: str, path: str) -> str:
    """`path` put, quoted, into a template such as https://images.example/{path}."""
    return template.replace("{path}", quote(path))

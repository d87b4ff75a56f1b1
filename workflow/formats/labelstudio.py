"""Label Studio's result JSON and label configs.

Format: https://labelstud.io/guide/export and /guide/predictions. Reading, writing and brush masks have
files of their own; this is the door to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from workflow.formats.labelstudio_read import EVERYTHING, Reading, from_json_min, from_result, submitted
from workflow.formats.labelstudio_write import CONTROL, CONTROLS, OBJECT, to_result

__all__ = [
    "CONTROLS",
    "EVERYTHING",
    "Reading",
    "from_json_min",
    "from_result",
    "label_config",
    "local_file_url",
    "submitted",
    "to_result",
    "url_of",
]

# Okabe and Ito's, told apart by colour-blind people too (jfly.uni-koeln.de/color), without the yellow,
# gray and black that vanish on paper and in lists; then four more, before they repeat.
COLOURS = (
    *("#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"),
    *("#6A3D9A", "#8C510A", "#66A61E", "#B2182B"),
)
HOTKEYS = "1234567890qwertyuopasdfghjklzxcvbnm"


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


def url_of(template: str, path: str) -> str:
    """`path` put, quoted, into a template such as https://images.example/{path}."""
    return template.replace("{path}", quote(path))

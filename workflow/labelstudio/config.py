"""The labeling interface of a task, and which of its controls takes which type of region.

Format: https://labelstud.io/tags. Names, hotkeys, colours, zoom, brightness; the classes' control keeps
one name in every task, since the server refuses to rename one that annotations use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

from workflow.colours import IN_LISTS
from workflow.labelstudio.regions.write import CONTROL, OBJECT
from workflow.project.settings import MaskStyle
from workflow.schema import Schema
from workflow.tasks import Task

POINTS = "keypoint"

# What Label Studio's editor takes for a variable; and Unicode's word joiner: no width, and no letter.
VARIABLE, JOINER = re.compile(r"\$[\w[\].{}]"), "\u2060"
HOTKEYS = "1234567890qwertyuopasdfghjklzxcvbnm"

KEYS_UNSEEN = "<Style>.lsf-label__hotkey { display: none }</Style>"

TAGS = {
    "choices": '<Choices name="{name}" toName="{image}" choice="{choice}" showInline="true">',
    "rectanglelabels": '<RectangleLabels name="{name}" toName="{image}" canRotate="{turns}" strokeWidth="2"'
    ' fillOpacity="0.05">',
    "keypointlabels": '<KeyPointLabels name="{name}" toName="{image}" strokeWidth="2">',
    "polygonlabels": '<PolygonLabels name="{name}" toName="{image}" strokeWidth="2" pointSize="small"'
    ' fillOpacity="0.25">',
    "brushlabels": '<BrushLabels name="{name}" toName="{image}">',
}
# What a person asks a model with where masks are labeled: a click, a frame. Their tools are there only while
# the editor's Auto-Annotation is on, and they go when the mask they asked for is taken.
PROMPTS: Mapping[str, str] = {"keypointlabels": "click", "rectanglelabels": "frame"}
PROMPT_TAGS = {
    "keypointlabels": '<KeyPointLabels name="{name}" toName="{image}" smart="true" smartOnly="true">',
    "rectanglelabels": '<RectangleLabels name="{name}" toName="{image}" smart="true" smartOnly="true">',
}


def controls(task: Task, masks: MaskStyle = "brush") -> Mapping[str, str]:
    """The type of a region -> the name of the control that takes it."""
    if task.kind == "labels":
        return {"choices": CONTROL}
    if task.points:
        return {"rectanglelabels": CONTROL, "keypointlabels": POINTS}
    if "mask" not in task.geometry:
        return {"rectanglelabels": CONTROL}
    # What is painted over the image has holes and touches, which outlines cannot show.
    outlines = masks == "polygon" and "polygons" in task.geometry
    return {"polygonlabels" if outlines else "brushlabels": CONTROL}


def label_config(
    schema: Schema,
    masks: MaskStyle = "brush",
    smart: bool = False,
    stored: Mapping[str, str] | None = None,
) -> str:
    """The XML by which Label Studio shows a task of the project, one control a line of `controls`.

    With `smart`, and where masks are labeled, the tools to ask a model for a mask with too. A class of
    `stored` is shown by its name, and kept by the server under another, as an alias.

    Hotkeys and colours go on from the classes to the keypoints, so that none means two things.
    """
    task, names = schema.task, schema.labels
    keys = _hotkeys(names)
    lines = []
    image = (
        f'  <Image name="{OBJECT}" value="$image" zoom="true" zoomControl="true" brightnessControl="true"'
        ' contrastControl="true" rotateControl="false"/>'
    )
    options = {
        "image": OBJECT,
        "turns": "true" if "rotated_box" in task.geometry else "false",
        "choice": "single" if task.exclusive else "multiple",
    }
    for kind, control in controls(task, masks).items():
        tag = TAGS[kind].format(name=control, **options)
        own = schema.keypoints if kind == "keypointlabels" else schema.classes
        lines.append(f"  {tag}")
        lines += [_label(name, names.index(name), keys, kind == "choices", stored or {}) for name in own]
        lines.append(f"  </{tag[1:].split()[0]}>")
    if smart and "mask" in task.geometry:
        # Its own smart tool, which asks a model with strokes, would come before those two.
        lines[0] = lines[0].replace(">", ' smart="false">')
        lines += [
            line for kind, how in PROMPTS.items() for line in _prompt(kind, how, schema.classes, stored or {})
        ]
    # Under a tall image nobody would see the choices; tools come with the image, wherever their labels are.
    lines = [*lines, image] if "choices" in controls(task, masks) else [image, *lines]
    # Beside a label its key is shown: for a class 7 with the key 7, that would be "7 7".
    if keys and all(name == key for name, key in keys.items()):
        lines.append(f"  {KEYS_UNSEEN}")
    return "\n".join(["<View>", *lines, "</View>", ""])


def _prompt(kind: str, how: str, classes: Sequence[str], stored: Mapping[str, str]) -> list[str]:
    """The control to ask for a mask of each class with; its labels say how it is asked."""
    tag = PROMPT_TAGS[kind].format(name=how, image=OBJECT)
    kept = {f"{name} ({how})": stored.get(name, name) for name in classes}
    labels = [_label(shown, number, {}, False, kept) for number, shown in enumerate(kept)]
    return [f"  {tag}", *labels, f"  </{tag[1:].split()[0]}>"]


def _label(name: str, number: int, keys: Mapping[str, str], choice: bool, stored: Mapping[str, str]) -> str:
    shown, kept = shown_as(name), stored.get(name, name)
    key = f' hotkey="{keys[name]}"' if name in keys else ""
    key += f" alias={quoteattr(kept)}" if kept != shown else ""
    if choice:
        return f"    <Choice value={quoteattr(shown)}{key}/>"
    colour = IN_LISTS[number % len(IN_LISTS)].upper()
    return f'    <Label value={quoteattr(shown)} background="{colour}"{key}/>'


def shown_as(name: str) -> str:
    """A class's name as the interface must have it, so that it is shown as it is.

    Label Studio reads $ and what follows as a variable of the task, and shows its value, or nothing. Between
    them stands what nobody sees: the alias beside it is the name as it is, by which the server keeps it.
    """
    return VARIABLE.sub(lambda match: f"${JOINER}{match[0][1:]}", name)


def meant_by(shown: str) -> str:
    """The name whose `shown_as` this is."""
    return shown.replace(JOINER, "")


def _hotkeys(names: Sequence[str]) -> dict[str, str]:
    # A class whose own name is a key gets that key: pressing 7 for the digit 7 needs no learning.
    own = {name: name for name in names if len(name) == 1 and name in HOTKEYS}
    spare = [key for key in HOTKEYS if key not in own]
    return own | dict(zip([name for name in names if name not in own], spare, strict=False))

"""A project's labeling interface: what Label Studio shows, and how annotations go through it, both ways.

It is made from the project's settings, or a user's own XML is read, checked and sent as it is: the server
accepts misspelt tags, controls of no image, and labels that are there twice or not at all.
Format: https://labelstud.io/tags.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from xml.parsers import expat

from workflow.errors import ConfigError
from workflow.labelstudio import regions
from workflow.labelstudio.config import VARIABLE, meant_by, shown_as
from workflow.labelstudio.regions import Reading
from workflow.labelstudio.regions.write import OBJECT, Region
from workflow.records import Annotation, Provenance
from workflow.schema import Schema

# Every tag of Label Studio 1.23, by https://labelstud.io/tags.
OBJECTS = (
    *("Audio", "AudioPlus", "Chat", "HyperText", "Image", "List", "Paragraphs", "Pdf", "Table", "Text"),
    *("TimeSeries", "Video", "Vector", "Channel", "MultiChannel", "ReactCode", "Ranker", "Bucket"),
)
CONTROLS = (
    *("Brush", "BrushLabels", "BitmaskLabels", "Bitmask", "Choices", "DateTime", "Ellipse", "EllipseLabels"),
    *("HyperTextLabels", "KeyPoint", "KeyPointLabels", "Labels", "MagicWand", "Number", "Pairwise"),
    *("ParagraphLabels", "Polygon", "PolygonLabels", "Rating", "Rectangle", "RectangleLabels", "Relations"),
    *("Relation", "Shortcut", "Taxonomy", "TextArea", "TimelineLabels", "TimeSeriesLabels", "VideoRectangle"),
    *("VectorLabels", "Choice", "Label"),
)
VISUAL = ("View", "Header", "Style", "Collapse", "Panel", "Filter", "Repeater", "Markdown", "Typography")
TAGS = (*OBJECTS, *CONTROLS, *VISUAL)
# Controls that belong to an object, and so must name one.
NEEDS_OBJECT = tuple(c for c in CONTROLS if c not in ("Choice", "Label", "Relations", "Relation", "Shortcut"))
# What a task must be labeled with: one control of each group of types.
WANTED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "classification": (("choices", "taxonomy"),),
    "multilabel-classification": (("choices", "taxonomy"),),
    "detection": (("rectanglelabels",),),
    "oriented-detection": (("rectanglelabels",),),
    "keypoints": (("rectanglelabels",), ("keypointlabels",)),
    "instance-segmentation": (("brushlabels", "polygonlabels"),),
    "semantic-segmentation": (("brushlabels",),),
}
TAKEN = ("image_id", "file", "split", "priority")


@dataclass(frozen=True)
class Interface:
    """`controls` name the control of each type of region, `image` the object they belong to.

    `data_key` is where a task says which image that is. `stored` is the name under which the server keeps a
    class, where that is another than the project's. `categories` are the numbers that labels are given by
    their `category`, as in a COCO file. What has a label of `ignore` is ignored, and needs no note of it.
    """

    config: str
    controls: Mapping[str, str]
    image: str = OBJECT
    data_key: str = "image"
    stored: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, int] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def write(self, annotations: Iterable[Annotation], width: int, height: int) -> list[Region]:
        """Annotations as regions, by the names the server knows: see `labelstudio.to_result`."""
        plain = (replace(a, ignored=a.ignored and a.label not in self.ignore) for a in annotations)
        named = _renamed(plain, self.stored)
        return regions.to_result(named, width, height, controls=self.controls, to_name=self.image)

    def read(self, result: Sequence[Region], width: int, height: int, provenance: Provenance) -> Reading:
        """Regions as annotations, by the names of the project: see `labelstudio.from_result`."""
        reading = regions.from_result(result, width, height, provenance, controls=self.controls)
        names = {stored: name for name, stored in self.stored.items()}
        named = _renamed(reading.annotations, names)
        reading.annotations = [replace(a, ignored=a.ignored or a.label in self.ignore) for a in named]
        return reading

    def fit(
        self,
        annotations: Iterable[Annotation],
        width: int,
        height: int,
        lose: Callable[[str], None],
        tolerance: float = 0.0,
    ) -> list[Annotation]:
        """Annotations as the controls can show them: see `labelstudio.fit`."""
        return regions.fit(annotations, self.controls, width, height, lose, tolerance)


def _renamed(annotations: Iterable[Annotation], names: Mapping[str, str]) -> list[Annotation]:
    return [replace(a, label=names[a.label]) if a.label in names else a for a in annotations]


@dataclass
class Element:
    """A tag of an XML document, and the line it begins in."""

    tag: str
    attributes: dict[str, str]
    line: int
    inner: list[Element] = field(default_factory=list)

    def all(self) -> Iterable[Element]:
        yield self
        for element in self.inner:
            yield from element.all()


def read_interface(
    text: str,
    where: str,
    schema: Schema,
    kept_as: Mapping[str, str] | None = None,
) -> Interface:
    """A user's own XML, of the file `where`. ConfigError lists everything that is wrong with it.

    `kept_as` is the name under which the server keeps a class that was renamed: its label needs that alias.
    """
    root = _parse(text, where)
    elements = list(root.all())
    problems = [*_misspelt(elements), *_misplaced(elements)]
    names = {e.attributes["name"]: e for e in elements if "name" in e.attributes}
    controls: dict[str, str] = {}
    stored: dict[str, str] = {}
    categories: dict[str, int] = {}
    images: set[str] = set()
    for group in WANTED[schema.task.name]:
        ours = [e for e in elements if e.tag in CONTROLS and e.tag.lower() in group]
        ours = [e for e in ours if not e.attributes.get("smartOnly")]
        if len(ours) != 1:
            problems.append(_none_or_several(schema.task.name, group, ours))
            continue
        (control,) = ours
        kind = control.tag.lower()
        controls[kind] = control.attributes.get("name", "")
        images.add(control.attributes.get("toName", ""))
        own = schema.keypoints if kind == "keypointlabels" else schema.classes
        wrong, aliases = _labels(control, own, "keypoints" if kind == "keypointlabels" else "classes")
        numbers, doubtful = _categories(control)
        problems += [*wrong, *doubtful]
        stored |= aliases
        categories |= numbers
        problems += [
            (control.line, f"the label {name!r} needs alias={old!r}: so Label Studio keeps it")
            for name, old in (kept_as or {}).items()
            if name in own and aliases.get(name) != old
        ]
    key, wrong = _data_key(images, names)
    problems += wrong
    if problems:
        at = [f"{where}:{line}: {what}" for line, what in sorted(problems)]
        raise ConfigError(at, f"edit {where}, or leave push.label_config out")
    return Interface(text, controls, images.pop(), key, stored, categories)


Problem = tuple[int, str]


def _parse(text: str, where: str) -> Element:
    stack = [Element("", {}, 1)]
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, parser.CurrentLineNumber)
        stack[-1].inner.append(element)
        stack.append(element)

    def refuse(*_: Any) -> None:
        raise ConfigError([f"{where}:{parser.CurrentLineNumber}: has a DOCTYPE"], "take it out")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    # Entities of a document's own may grow without end, or read files.
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ConfigError([f"{where}:{error.lineno}: no XML: {expat.ErrorString(error.code)}"]) from None
    return stack[0].inner[0]


def _misspelt(elements: Sequence[Element]) -> list[Problem]:
    lower = {tag.lower(): tag for tag in TAGS}
    problems = []
    for element in elements:
        tag = element.tag
        # Lower case is HTML, which Label Studio passes on; but no HTML is called as a control is.
        html = tag[:1].islower() and lower.get(tag) not in set(CONTROLS) - {"Label"}
        if tag in TAGS or html:
            continue
        near = [lower.get(tag.lower(), ""), *difflib.get_close_matches(tag, TAGS, 1)]
        hint = next((f"; did you mean <{name}>?" for name in near if name), "")
        problems.append((element.line, f"<{tag}> is no tag of Label Studio{hint}"))
    return problems


def _misplaced(elements: Sequence[Element]) -> list[Problem]:
    """Names that are there twice, and controls of no object."""
    problems = []
    names = Counter(e.attributes["name"] for e in elements if "name" in e.attributes)
    objects = {e.attributes["name"] for e in elements if e.tag in OBJECTS and "name" in e.attributes}
    seen = set()
    for element in elements:
        name, to = element.attributes.get("name"), element.attributes.get("toName")
        if name and names[name] > 1 and name in seen:
            problems.append((element.line, f"the name {name!r} is there {names[name]} times"))
        seen.add(name)
        if element.tag in NEEDS_OBJECT and not name:
            problems.append((element.line, f'<{element.tag}> has no name="..."'))
        if element.tag in NEEDS_OBJECT and to is None:
            problems.append((element.line, f'<{element.tag}> has no toName="...", the name of an <Image>'))
        elif element.tag in NEEDS_OBJECT and not set(str(to).split(",")) <= objects:
            known = ", ".join(sorted(objects)) or "none"
            problems.append((element.line, f"toName={to!r} is no object; there is {known}"))
    return problems


def _none_or_several(task: str, group: Sequence[str], controls: Sequence[Element]) -> Problem:
    wanted = " or ".join(f"<{t}>" for t in TAGS if t.lower() in group)
    if not controls:
        return 1, f"{task} needs a control {wanted}"
    lines = ", ".join(str(e.line) for e in controls)
    what = f"{task} needs one control {wanted}, and there are {len(controls)}: lines {lines}"
    return controls[-1].line, what


def _labels(control: Element, names: Sequence[str], what: str) -> tuple[list[Problem], dict[str, str]]:
    """What is wrong with a control's labels, and the aliases of those that have one."""
    problems = list(_variables(control))
    if "$" in control.attributes.get("value", ""):
        return [(control.line, "labels that come with each task cannot be checked: list them here")], {}
    labels = list(_paths(control)) if control.tag == "Taxonomy" else _flat(control)
    if not labels:
        problems.append((control.line, f"<{control.tag}> has no labels"))
    values = Counter(value for _, value, _ in labels)
    stored = {}
    for line, value, alias in labels:
        if values[value] > 1:
            problems.append((line, f"the label {value!r} is there {values[value]} times"))
        elif value not in names:
            near = difflib.get_close_matches(value, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; add it to {what} in project.toml"
            problems.append((line, f"the label {value!r} is none of the project's {what}{hint}"))
        if alias and alias != value:
            stored[value] = alias
    for name in names:
        if name not in values:
            problems.append((control.line, f"<{control.tag}> has no label for {name!r}"))
    return problems, stored


def _categories(control: Element) -> tuple[dict[str, int], list[Problem]]:
    """The numbers of labels that have one, and those that are none or are there twice."""
    numbers: dict[str, int] = {}
    problems: list[Problem] = []
    for label in control.all():
        number = label.attributes.get("category", "")
        if not number:
            continue
        if not number.isdecimal():
            problems.append((label.line, f"category={number!r} is no number"))
        elif int(number) in numbers.values():
            problems.append((label.line, f"category={number!r} is there twice"))
        else:
            numbers[label.attributes.get("value", "")] = int(number)
    return numbers, problems


def _flat(control: Element) -> list[tuple[int, str, str]]:
    labels = [e for e in control.all() if e.tag in ("Label", "Choice")]
    return [(e.line, _value(e), e.attributes.get("alias", "")) for e in labels]


def _variables(control: Element) -> Iterable[Problem]:
    """Labels that are shown blank, or would be kept by a name that is none: $ begins a variable."""
    for label in control.all():
        value, alias = label.attributes.get("value", ""), label.attributes.get("alias", "")
        name = meant_by(value)
        hidden = value != name and not alias
        if label is control or not (VARIABLE.search(value) or hidden):
            continue
        what = f"the label {name!r} " + (
            "needs an alias" if hidden else "is shown blank: $ begins a variable"
        )
        wanted = shown_as(name).encode("ascii", "xmlcharrefreplace").decode()
        fix = "rename it" if control.tag == "Taxonomy" else f"write value={wanted!r} alias={name!r}"
        yield label.line, f"{what}; {fix}"


def _value(label: Element) -> str:
    """A label's name, without what keeps Label Studio from reading a variable in it."""
    value = label.attributes.get("value", "")
    return meant_by(value) if value == shown_as(meant_by(value)) else value


def _paths(parent: Element, above: tuple[str, ...] = ()) -> Iterable[tuple[int, str, str]]:
    """The leaves of a taxonomy, each by its path, and by the path of its aliases."""
    from workflow.labelstudio.regions.write import path_to_label

    for choice in parent.inner:
        path = (*above, choice.attributes.get("value", ""))
        if choice.inner:
            yield from _paths(choice, path)
        else:
            yield choice.line, path_to_label(path), ""


def _data_key(images: set[str], names: Mapping[str, Element]) -> tuple[str, list[Problem]]:
    """Which of a task's data says where the image is."""
    if len(images) != 1 or not (name := next(iter(images))) or name not in names:
        # Said already, or several images, of which an annotation cannot tell which it is of.
        return "", [(1, "the controls of the task belong to several images")] if len(images) > 1 else []
    element = names[name]
    value = element.attributes.get("value", "")
    if element.tag != "Image":
        return "", [(element.line, f"{name!r} is no <Image>, but <{element.tag}>")]
    if not value.startswith("$") or not value[1:].isidentifier():
        return "", [
            (element.line, f'<Image> needs value="$image", or another key of the task, got {value!r}')
        ]
    if value[1:] in TAKEN:
        return "", [(element.line, f"value={value!r}: that key holds something else here")]
    return value[1:], []

"""The labeling interface of every task: controls, names, keys and colours, as the real server takes them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from workflow.labelstudio.client import Client
from workflow.labelstudio.regions import PROMPTS, controls, label_config
from workflow.schema import Schema
from workflow.tasks import TASKS

CASES = [(task, "brush") for task in TASKS] + [("instance-segmentation", "polygon")]
CLASSES = ("1", "cat & <dog>", "q")


def _config(task: Any, masks: Any, classes: tuple[str, ...] = CLASSES) -> ET.Element:
    points = ("nose", "2") if task == "keypoints" else ()
    return ET.fromstring(label_config(Schema.of(task, classes, points), masks))


@pytest.mark.parametrize(
    ("task", "masks", "expected"),
    [
        ("classification", "brush", [("Choices", "label", {"choice": "single"})]),
        ("multilabel-classification", "brush", [("Choices", "label", {"choice": "multiple"})]),
        ("detection", "brush", [("RectangleLabels", "label", {"canRotate": "false"})]),
        ("oriented-detection", "brush", [("RectangleLabels", "label", {"canRotate": "true"})]),
        (
            "keypoints",
            "brush",
            [("RectangleLabels", "label", {"canRotate": "false"}), ("KeyPointLabels", "keypoint", {})],
        ),
        ("instance-segmentation", "brush", [("BrushLabels", "label", {})]),
        ("instance-segmentation", "polygon", [("PolygonLabels", "label", {})]),
        ("semantic-segmentation", "brush", [("BrushLabels", "label", {})]),
        # How objects are outlined says nothing of what is painted over the image.
        ("semantic-segmentation", "polygon", [("BrushLabels", "label", {})]),
    ],
)
def test_each_task_has_its_controls(task: Any, masks: Any, expected: list) -> None:
    image, *found = sorted(_config(task, masks), key=lambda element: element.tag != "Image")
    assert (image.tag, image.get("name"), image.get("value")) == ("Image", "image", "$image")
    assert [(control.tag, control.get("name")) for control in found] == [(e[0], e[1]) for e in expected]
    for control, (_, _, attributes) in zip(found, expected, strict=True):
        assert control.get("toName") == "image"
        assert attributes.items() <= control.attrib.items()
    assert controls(TASKS[task], masks) == {control.tag.lower(): control.get("name") for control in found}


@pytest.mark.parametrize(("task", "masks"), CASES)
def test_each_class_is_there_once_with_a_key_of_its_own(task: Any, masks: Any) -> None:
    names = [label for control in _config(task, masks) for label in control]
    points = ["nose", "2"] if task == "keypoints" else []
    assert [label.get("value") for label in names] == [*CLASSES, *points]
    keys = [label.get("hotkey") for label in names]
    # What is named like a key has that key, and no other name gets it.
    assert keys == (["1", "3", "q", "4", "2"] if points else ["1", "2", "q"])
    if "classification" not in task:
        assert len({label.get("background") for label in names}) == len(names)


@pytest.mark.parametrize(
    ("names", "hidden"),
    [(("1", "2"), True), (("q", "7"), True), (("1", "two"), False), (("one", "two"), False)],
)
def test_a_key_that_is_the_name_is_not_shown_beside_it(names: tuple[str, ...], hidden: bool) -> None:
    root = ET.fromstring(label_config(Schema.of("detection", names)))
    assert [style.text for style in root.iter("Style")] == [".lsf-label__hotkey { display: none }"] * hidden
    assert all(label.get("hotkey") for label in root.iter("Label"))


def test_choices_stand_above_the_image_where_they_are_always_seen() -> None:
    assert [element.tag for element in _config("classification", "brush")] == ["Choices", "Image"]
    assert [element.tag for element in _config("detection", "brush")] == ["Image", "RectangleLabels"]


def test_a_class_with_another_name_on_the_server_has_an_alias() -> None:
    config = ET.fromstring(label_config(Schema.of("detection", ("a", "b")), stored={"b": 'old "b"'}))
    assert [label.get("alias") for label in config.iter("Label")] == [None, 'old "b"']


@pytest.mark.parametrize("masks", ["brush", "polygon"])
def test_a_model_is_asked_by_labels_that_say_how(masks: Any) -> None:
    config = ET.fromstring(
        label_config(Schema.of("instance-segmentation", ("a", "b")), masks, smart=True, stored={"b": "old"})
    )
    image, mask, *prompts, unseen = config
    assert unseen.tag == "Style"
    assert mask.get("smart") == "false"
    assert {p.tag.lower(): p.get("name") for p in prompts} == PROMPTS
    assert all((p.get("smart"), p.get("smartOnly")) == ("true", "true") for p in prompts)
    said = [[(label.get("value"), label.get("alias")) for label in prompt] for prompt in prompts]
    assert said == [[(f"a ({how})", "a"), (f"b ({how})", "old")] for how in PROMPTS.values()]
    assert label_config(Schema.of("detection", ("a",)), smart=True) == label_config(
        Schema.of("detection", ("a",))
    )


def test_more_classes_than_keys_leave_the_rest_without() -> None:
    labels = _config("detection", "brush", tuple(f"class {n}" for n in range(60))).findall(".//Label")
    keys = [label.get("hotkey") for label in labels if label.get("hotkey")]
    assert len(labels) == 60
    assert len(keys) == len(set(keys)) == 35


@pytest.mark.services
@pytest.mark.parametrize(("task", "masks"), CASES)
def test_the_server_takes_it(task: Any, masks: Any, client: Client) -> None:
    config = label_config(Schema.of(task, CLASSES, ("nose", "2") if task == "keypoints" else ()), masks)
    made = client.create_project(f"{task} {masks}"[:50], "", {"label_config": config})
    found = client.project(made["id"])
    assert found is not None
    parsed = found["parsed_label_config"]
    kinds = {name: control["type"].lower() for name, control in parsed.items()}
    assert kinds == {name: kind for kind, name in controls(TASKS[task], masks).items()}
    assert parsed["label"]["labels"] == list(CLASSES)

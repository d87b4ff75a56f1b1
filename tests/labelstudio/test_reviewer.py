"""What the simulated reviewer submits for a task, without a server: exact corrections, stated costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.samples import CLASSES, KEYPOINTS, draw_objects, shifted, truth_of
from workflow.labels.ledger import compare
from workflow.labelstudio import regions
from workflow.labelstudio.interface import Interface
from workflow.labelstudio.reviewer import _review
from workflow.project.rows import annotation_to_row
from workflow.project.settings import Settings
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.shapes import masks
from workflow.tasks import TASKS

MODEL = Provenance("model", "m")
RECORD = ImageRecord("i", "i.png", 96, 72, "train")


def _settings(task: Any, shown: Any = "brush") -> Settings:
    points = KEYPOINTS if task == "keypoints" else ()
    return Settings(
        name="shapes", title="Shapes", task=task, classes=CLASSES, keypoints=points, push={"masks": shown}
    )


def _submit(
    guesses: list[Annotation] | None, truth: list[Annotation], settings: Settings, **line: Any
) -> tuple[dict, list[Annotation], list[str]]:
    """The reviewer's annotation, what it says, and the actions it took."""
    controls = regions.controls(settings.schema.task, settings.push.masks)
    task: dict[str, Any] = {"id": 5, "predictions": []}
    if guesses is not None:
        result = regions.to_result(guesses, 96, 72, controls=controls)
        task["predictions"] = [{"id": 8, "result": result}]
    rows = [{k: v for k, v in annotation_to_row(a).items() if k != "provenance"} for a in truth]
    line |= {"file": "i.png", "annotations": rows}
    answer = _review(RECORD, task, line, settings, Interface("", controls))
    found = regions.from_result(answer["result"], 96, 72, MODEL, controls=controls)
    assert found.lost == {}
    actions = compare(guesses or [], found.annotations, settings.task == "classification")
    return answer, found.annotations, sorted(a["action"] for a in actions)


def _guessed(truth: list[Annotation]) -> list[Annotation]:
    """A model's guesses, with ids of their own."""
    names = {a.id: f"g{n}" for n, a in enumerate(truth)} | {"": ""}
    return [replace(a, provenance=MODEL, score=0.5, id=names[a.id], parent=names[a.parent]) for a in truth]


def _place(a: Annotation) -> Any:
    if turned := a.rotated_box:
        return (turned.cx, turned.cy, turned.width, turned.height, turned.angle)
    return a.box or a.keypoints


@pytest.mark.parametrize("task", TASKS)
def test_what_is_right_is_left_as_it_is(task: Any) -> None:
    guesses = _guessed(truth_of(task, draw_objects(1)))
    answer, found, actions = _submit(guesses, truth_of(task, draw_objects(1)), _settings(task))
    assert set(actions) == {"accepted"}
    assert {region["origin"] for region in answer["result"]} == {"prediction"}
    assert answer["lead_time"] == 1.5
    assert answer["parent_prediction"] == 8


@pytest.mark.parametrize("task", [t for t in TASKS if TASKS[t].geometry])
def test_what_is_displaced_is_put_where_it_belongs(task: Any) -> None:
    truth = truth_of(task, draw_objects(1))
    guesses = [shifted(a, 6) for a in _guessed(truth)]
    answer, found, actions = _submit(guesses, truth, _settings(task))
    painted = TASKS[task].geometry[0] == "mask"
    assert set(actions) == {"reshaped" if painted else "moved"}
    assert answer["lead_time"] == 1.5 + len(truth) * (8 if painted else 3)
    assert {region["origin"] for region in answer["result"]} == {"prediction-changed"}
    kept = {a.id: a for a in found}
    assert kept.keys() == {a.id for a in guesses}
    for guess, wanted in zip(guesses, truth, strict=True):
        one = kept[guess.id]
        assert (one.label, one.mask) == (wanted.label, wanted.mask)
        if not painted:
            assert np.ravel(_place(one)) == pytest.approx(np.ravel(_place(wanted)), abs=1e-9)


@pytest.mark.parametrize("task", TASKS)
def test_without_a_guess_everything_is_added(task: Any) -> None:
    truth = truth_of(task, draw_objects(1))
    answer, found, actions = _submit(None, truth, _settings(task))
    assert actions == ["added"] * len(truth)
    assert Counter((a.label, a.mask) for a in found) == Counter((a.label, a.mask) for a in truth)
    assert {region["origin"] for region in answer["result"]} == {"manual"}
    assert answer["parent_prediction"] is None
    # The same review again has the same name.
    assert _submit(None, truth, _settings(task))[0]["unique_id"] == answer["unique_id"]


@pytest.mark.parametrize("task", TASKS)
def test_what_is_not_there_is_deleted(task: Any) -> None:
    guesses = _guessed(truth_of(task, draw_objects(1)))
    answer, found, actions = _submit(guesses, [], _settings(task))
    assert (answer["result"], answer["was_cancelled"]) == ([], False)
    assert set(actions) == {"deleted"}
    assert answer["lead_time"] == 1.5 + len(guesses)


def test_what_nobody_can_read_is_skipped() -> None:
    answer, found, actions = _submit(None, [], _settings("detection"), unreadable=True)
    assert (answer["result"], answer["was_cancelled"], answer["lead_time"]) == ([], True, 1.5)


def test_of_several_labels_the_wrong_one_is_replaced() -> None:
    settings = _settings("multilabel-classification")
    guesses = [Annotation("disk", MODEL), Annotation("bar", MODEL)]
    truth = [Annotation("bar", MODEL), Annotation("tile", MODEL)]
    answer, found, actions = _submit(guesses, truth, settings)
    assert [a.label for a in found] == ["bar", "tile"]
    assert actions == ["accepted", "added", "deleted"]
    assert [r["origin"] for r in answer["result"]] == ["prediction-changed"]


def test_a_named_anew_mask_keeps_its_pixels() -> None:
    truth = truth_of("instance-segmentation", draw_objects(0))
    guesses = [replace(a, label="tile") for a in _guessed(truth)]
    answer, found, actions = _submit(guesses, truth, _settings("instance-segmentation"))
    assert actions == ["relabelled"]
    assert answer["lead_time"] == 3.0
    assert [(a.label, a.mask, a.id) for a in found] == [("disk", truth[0].mask, "g0")]


def test_an_outline_in_parts_is_one_object() -> None:
    """The bar's two parts are two regions to the editor: left, renamed and redrawn together."""
    (bar,) = [a for a in truth_of("instance-segmentation", draw_objects(1)) if a.label == "bar"]
    outlined = replace(bar, mask=None, polygons=tuple(map(tuple, masks.outlines(bar.mask)[0])))
    settings = _settings("instance-segmentation", "polygon")
    for guess, action in (
        (outlined, "accepted"),
        (replace(outlined, label="disk"), "relabelled"),
        (replace(outlined, polygons=outlined.polygons[:1]), "reshaped"),
    ):
        answer, found, actions = _submit(_guessed([guess]), [bar], settings)
        assert actions == [action]
        assert [r["id"] for r in answer["result"]] == ["g0", "g0-part2"]
        assert masks.from_polygons(found[0].polygons, 72, 96) == bar.mask


def test_points_go_with_the_box_they_belong_to() -> None:
    """Two objects of one name: the points of each are set right on their own box, new or kept."""
    truth = []
    for name, x in (("a", 5.0), ("b", 50.0)):
        truth += [
            Annotation("disk", MODEL, box=(x, 10, x + 30, 40), id=name),
            Annotation("left", MODEL, keypoints=((x, 25.0),), parent=name),
            Annotation("right", MODEL, keypoints=((x + 30, 25.0),), parent=name),
        ]
    box, left, right = _guessed(truth)[:3]
    box, left, right = replace(box, id="g"), shifted(left, 2), shifted(right, 5)
    guesses = [box, replace(left, parent="g", id="l"), replace(right, parent="g", id="r")]
    answer, found, actions = _submit(guesses, truth, _settings("keypoints"))
    # Two pixels off is near enough; five are not.
    assert actions == ["accepted", "accepted", "added", "added", "added", "moved"]
    parents = {a.id: a for a in found if a.box}
    points = {(parents[a.parent].box[0], a.label): a.keypoints[0][0] for a in found if a.keypoints}
    expected = {(5, "left"): 7, (5, "right"): 35, (50, "left"): 50, (50, "right"): 80}
    assert {(round(x), name): round(at, 6) for (x, name), at in points.items()} == expected

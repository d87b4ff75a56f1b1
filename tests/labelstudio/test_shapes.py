"""Every geometry to Label Studio's regions and back; what cannot be carried is refused or counted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.drawing import SHAPES, masks_of_rectangles
from workflow.errors import FormatError
from workflow.labelstudio.regions import (
    EVERYTHING,
    acceptable,
    controls,
    fit,
    from_result,
    to_result,
)
from workflow.project.rows import relation_to_row
from workflow.records import Annotation, Mask, Provenance, RotatedBox
from workflow.shapes import masks
from workflow.shapes.geometry import polygon_area, rotated_corners
from workflow.tasks import TASKS

ME = Provenance("person", "me")
MODEL = Provenance("model", "sam", "1")
CONTROLS = {
    "rectanglelabels": "bbox",
    "polygonlabels": "outline",
    "brushlabels": "paint",
    "keypointlabels": "points",
    "choices": "weather",
}
TRIANGLE = ((1.0, 1.0), (9.0, 1.0), (5.0, 8.0))
SQUARE = ((20.0, 20.0), (30.0, 20.0), (30.0, 30.0), (20.0, 30.0))


def _back(annotations: list[Annotation], width: int, height: int) -> list[Annotation]:
    result = to_result(annotations, width, height, controls=CONTROLS)
    reading = from_result(result, width, height, annotations[0].provenance, controls=CONTROLS)
    assert reading.lost == {}
    return reading.annotations


def _around(outline: list) -> float:
    """How long an outline is, in pixels."""
    return float(np.linalg.norm(np.diff([*outline, outline[0]], axis=0), axis=1).sum())


@st.composite
def outlines(draw: st.DrawFn) -> tuple:
    """A size up to 20,000 px and outlines within it."""
    width, height = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    point = st.tuples(st.floats(0, width), st.floats(0, height))
    parts = draw(st.lists(st.lists(point, min_size=3, max_size=12), min_size=1, max_size=3))
    # A sliver thinner than the error that is allowed may have no area left.
    assume(all(polygon_area(part) > 1e-6 * _around(part) for part in parts))
    return width, height, tuple(map(tuple, parts))


@example((125, 9, (((1e-6, 0.0), (9.0, 0.0), (5.0, 9.0 - 1e-6)),)))
@given(outlines())
def test_polygons_survive_within_a_millionth_of_a_pixel(case: tuple) -> None:
    width, height, parts = case
    (found,) = _back([Annotation("a", ME, polygons=parts, id="p")], width, height)
    assert found.id == "p"
    assert [len(part) for part in found.polygons] == [len(part) for part in parts]
    for got, part in zip(found.polygons, parts, strict=True):
        assert np.abs(np.array(got) - part).max() <= 1e-6


@given(masks_of_rectangles())
def test_masks_survive_bit_by_bit(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    mask = Annotation("a", MODEL, mask=masks.encode(pixels), id="m", score=0.5)
    assert _back([mask], width, height) == [mask]


@pytest.mark.parametrize("pixels", SHAPES.values(), ids=SHAPES)
def test_awkward_masks_survive(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    (found,) = _back([Annotation("a", ME, mask=masks.encode(pixels))], width, height)
    assert (masks.decode(found.mask) == pixels).all()


@given(st.integers(1, 20_000), st.data())
def test_keypoints_survive_with_their_parent(width: int, data: st.DataObject) -> None:
    points = data.draw(st.lists(st.tuples(st.floats(0, width), st.floats(0, 7)), min_size=1, max_size=4))
    person = Annotation("person", ME, box=(0, 0, width, 7), id="p")
    nose = Annotation("nose", ME, keypoints=tuple(points), id="n", parent="p")
    found = _back([person, nose], width, 7)
    assert found[0] == person
    assert replace(found[1], keypoints=nose.keypoints) == nose
    assert np.abs(np.array(found[1].keypoints) - points).max() <= 1e-6


def test_all_kinds_go_together_each_to_its_control() -> None:
    kinds = [
        Annotation("cat", MODEL, box=(0, 0, 10, 10), id="b", score=0.5),
        Annotation("cat", MODEL, rotated_box=RotatedBox(50, 50, 20, 10, 90), id="r"),
        Annotation("cat", MODEL, polygons=(TRIANGLE, SQUARE), id="p", score=0.25),
        Annotation("cat", MODEL, mask=masks.encode(np.eye(100, dtype=bool)), id="m"),
        Annotation("tail", MODEL, keypoints=((100.0, 100.0),), id="k", parent="b"),
        Annotation("sunny", MODEL, id="w", score=0.75),
    ]
    result = to_result(kinds, 100, 100, controls=CONTROLS, to_name="photo")
    names = ["bbox", "bbox", "outline", "outline", "paint", "points", "weather"]
    assert [r["from_name"] for r in result] == names
    assert {r["to_name"] for r in result} == {"photo"}
    assert [r["id"] for r in result] == ["b", "r", "p", "p-part2", "m", "k", "w"]
    assert "original_width" not in result[-1]
    assert json.loads(json.dumps(result)) == result
    found = from_result(result, 100, 100, MODEL, controls=CONTROLS).annotations
    turned = found.pop(1).rotated_box
    assert (turned.cx, turned.cy, turned.angle) == pytest.approx((50, 50, 90))
    assert found == kinds[:1] + kinds[2:]


def test_relations_are_kept_as_they_are() -> None:
    """Between objects, whole or in parts, and from one to itself; not to what is not carried."""
    there = [
        Annotation("a", ME, box=(0, 0, 10, 10), id="b"),
        Annotation("a", ME, polygons=(TRIANGLE, SQUARE), id="p"),
    ]
    lead = {"type": "relation", "from_id": "b", "to_id": "p", "direction": "right", "labels": ["eats"]}
    kept = [lead, lead | {"to_id": "p-part2"}, lead | {"to_id": "b", "direction": "bi"}]
    kept += [lead | {"labels": [], "direction": None, "by": {"who": 3}}]
    lost = [lead | {"to_id": "gone"}, lead | {"from_id": None}, {"type": "relation"}]
    result = [*to_result(there, 50, 50, controls=CONTROLS), *kept, *lost]
    reading = from_result(result, 50, 50, ME, controls=CONTROLS)
    assert reading.annotations == there
    whole = [r | {"to_id": "p"} if r["to_id"] == "p-part2" else r for r in kept]
    assert [relation_to_row(relation) for relation in reading.relations] == whole
    assert to_result(there, 50, 50, controls=CONTROLS, relations=reading.relations)[-4:] == whole
    assert reading.lost == {"relation of a region that is not carried": 3}


def test_a_sliver_is_counted_where_it_has_no_area_left() -> None:
    sliver = Annotation("a", ME, polygons=(((0.0, 0.0), (0.0, 34.0), (6e-8, 0.0)),))
    reading = from_result(to_result([sliver], 1, 34, controls=CONTROLS), 1, 34, ME, controls=CONTROLS)
    assert (reading.annotations, reading.lost) == ([], {"polygon without an area": 1})


def test_a_part_a_person_renamed_is_an_object_of_its_own() -> None:
    result = to_result([Annotation("a", ME, polygons=(TRIANGLE, SQUARE))], 50, 50, controls=CONTROLS)
    result[1]["value"]["polygonlabels"] = ["b"]
    found = from_result(result, 50, 50, ME, controls=CONTROLS).annotations
    assert [(a.label, len(a.polygons)) for a in found] == [("a", 1), ("b", 1)]


def test_labels_of_the_whole_image_are_one_region() -> None:
    labels = [Annotation("sun", MODEL, score=0.9, id="w"), Annotation("rain", MODEL, score=0.4)]
    (region,) = to_result(labels, 9, 9, controls={"choices": "weather"})
    assert region == {
        "id": "w",
        "type": "choices",
        "from_name": "weather",
        "to_name": "image",
        "value": {"choices": ["sun", "rain"]},
        "score": 0.4,
    }
    found = from_result([region], 9, 9, ME, controls=EVERYTHING).annotations
    assert [(a.label, a.id, a.score) for a in found] == [("sun", "w", None), ("rain", "w", None)]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Annotation("a", ME, mask=Mask(9, 10, "")), "mask 'a' of 10x9 is none of a 10x10 image"),
        (Annotation("a", ME, mask=Mask(10, 10, "zz0")), "mask 'a': "),
        (Annotation("a", ME, keypoints=((1, 11),)), "keypoint ((1, 11),) leaves its 10x10 image"),
        (Annotation("a", ME, polygons=(SQUARE,)), f"polygon {(SQUARE,)} leaves its 10x10 image"),
    ],
)
def test_what_does_not_fit_the_image_is_refused(annotation: Annotation, message: str) -> None:
    with pytest.raises(FormatError) as error:
        to_result([annotation], 10, 10, controls=CONTROLS)
    assert error.value.problem.startswith(message)


def test_geometry_without_a_control_is_refused() -> None:
    with pytest.raises(FormatError) as error:
        to_result([Annotation("a", ME, polygons=(TRIANGLE,))], 10, 10)
    assert error.value.problem == "annotation 'a': the label config has no control for polygonlabels"


def _region(kind: str, **value: object) -> dict:
    return {"id": "r", "type": kind, "value": {kind: ["a"]} | value}


OUTSIDE = [[110, 0], [120, 0], [120, 9]]
SOFT = [0, 60, 255, 255]


def _soft(alpha: list[int]) -> list[int]:
    from workflow.labelstudio.regions.brush import encode_rle

    return encode_rle(np.repeat(alpha, 4))


@pytest.mark.parametrize(
    ("region", "count", "lost"),
    [
        (_region("polygonlabels", points=[[0, 0], [9, 9]]), 0, "polygon without an area"),
        (_region("polygonlabels", points=[[0, 0], [5, 5], [9, 9]]), 0, "polygon without an area"),
        (_region("polygonlabels", points=OUTSIDE), 0, "polygon outside the image"),
        (_region("polygonlabels", points=[[0, 0], ["a", 5]]), 0, "polygon without coordinates"),
        (_region("polygonlabels", points=[[0, 0], [None, 5], [1, 1]]), 0, "polygon without coordinates"),
        (_region("polygonlabels"), 0, "polygon without coordinates"),
        (_region("polygonlabels", points=TRIANGLE, closed=False), 1, "open polygon read as closed"),
        (_region("polygonlabels", points=TRIANGLE, polygonlabels=[]), 0, "polygon without a label"),
        (_region("polygonlabels", points=TRIANGLE, polygonlabels=["a", 1]), 1, "label that is no text"),
        (_region("keypointlabels", x=110, y=5, width=1), 1, "keypoint clipped to the image"),
        (_region("keypointlabels", x=None, y=5, width=1), 0, "keypoint without coordinates"),
        (_region("rectanglelabels", x=1, y=5, width=None, height=1), 0, "box without coordinates"),
        (_region("rectanglelabels"), 0, "box without coordinates"),
        (_region("rectanglelabels", x=200, y=5, width=9, height=9, rotation=45), 0, "box outside the image"),
        (_region("ellipselabels", x=5), 0, "ellipse without coordinates"),
        (
            _region("brushlabels", format="rle", rle=[1, 2, 3]),
            0,
            "brush mask that is broken or of another size",
        ),
        (_region("brushlabels", format="rle"), 0, "brush mask without pixels"),
        (_region("brushlabels", rle=_soft([9] * 10_000)), 1, ""),
        (_region("brushlabels", rle=_soft(SOFT * 2500)), 1, "soft edge of a brush mask made hard"),
        (_region("choices", choices=[]), 0, "choices without a label"),
        (_region("labels"), 0, "labels region without a shape"),
        (_region("rectangle", x=0, y=0, width=1, height=1), 0, "rectangle region"),
        (_region("textarea", text=["hello"]), 0, "textarea region"),
        (_region("bitmask", imageDataURL="data:"), 0, "bitmask region"),
        (_region("choices") | {"meta": {"text": ["why?"]}}, 1, "note on a region"),
        (_region("choices") | {"score": 7}, 1, "score outside 0 to 1"),
        ({"type": "choices", "value": None}, 0, "choices without a value"),
        ({"type": "relation", "from_id": "a", "to_id": "b"}, 0, "relation of a region that is not carried"),
    ],
)
def test_what_cannot_be_carried_is_counted(region: dict, count: int, lost: str) -> None:
    reading = from_result([region], 100, 100, MODEL, controls=EVERYTHING)
    assert len(reading.annotations) == count
    assert reading.lost == ({lost: 1} if lost else {})


def test_what_leaves_the_image_is_cut_at_its_edge() -> None:
    big = _region("polygonlabels", points=[[-50, -50], [150, -50], [150, 150], [-50, 150]])
    half = _region("polygonlabels", points=[[50, 50], [150, 50], [50, 150]])
    reading = from_result([big, half | {"id": "h"}], 200, 100, ME, controls=EVERYTHING)
    assert reading.lost == {"polygon clipped to the image": 2}
    first, second = (a.polygons[0] for a in reading.annotations)
    assert polygon_area(first) == 200 * 100
    assert polygon_area(second) == pytest.approx(100 * 50)
    assert all(a.within(200, 100) for a in reading.annotations)


def test_a_soft_edge_ends_where_it_is_half_clear() -> None:
    region = _region("brushlabels", rle=_soft([0, 60, 127, 128, 255, 0]))
    (found,) = from_result([region], 3, 2, ME, controls=EVERYTHING).annotations
    assert masks.decode(found.mask).tolist() == [[False, False, False], [True, True, False]]


def test_an_ellipse_is_read_as_the_box_round_it() -> None:
    value = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20}
    upright, turned = _region("ellipselabels", **value), _region("ellipselabels", **value, rotation=30)
    reading = from_result([upright, turned], 200, 100, ME, controls=EVERYTHING)
    assert reading.annotations[0].box == (80, 30, 120, 70)
    assert reading.annotations[1].rotated_box == RotatedBox(100, 50, 40, 40, 30)
    assert reading.lost == {"ellipse read as the box round it": 2}


BOX = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0}


@pytest.mark.parametrize("name", [{"id": "r"}, {}], ids=["id", "no id"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rectangle", BOX),
        ("polygon", {"points": TRIANGLE, "closed": True}),
        ("magicwand", {"format": "rle", "rle": _soft([255] * 10_000)}),
        ("ellipse", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20}),
        ("keypoint", {"x": 1, "y": 1, "width": 1}),
    ],
)
def test_a_region_stored_twice_is_read_once(kind: str, value: dict, name: dict) -> None:
    shape = {"type": kind, "from_name": "shape", "value": value} | name
    labels = {"type": "labels", "from_name": "name", "value": value | {"labels": ["cat"]}} | name
    reading = from_result([shape, labels], 100, 100, ME, controls=EVERYTHING)
    assert [a.label for a in reading.annotations] == ["cat"]
    assert not set(reading.lost) - {"ellipse read as the box round it"}


def test_a_choice_on_a_region_is_counted() -> None:
    box = {"id": "r", "type": "rectanglelabels", "value": BOX | {"rectanglelabels": ["cat"]}}
    choice = {"id": "r", "type": "choices", "value": {"choices": ["blurred"]}}
    reading = from_result([box, choice], 100, 100, ME, controls=EVERYTHING)
    assert [a.label for a in reading.annotations] == ["cat"]
    assert reading.lost == {"choices of a region": 1}


def test_another_control_is_counted() -> None:
    box = {"type": "rectanglelabels", "from_name": "faces", "value": BOX | {"rectanglelabels": ["me"]}}
    assert from_result([box], 9, 9, ME, controls=CONTROLS).lost == {"rectanglelabels of another control": 1}
    assert len(from_result([box], 9, 9, ME).annotations) == 1


def _disk(radius: float, hole: float = 0) -> Annotation:
    yy, xx = np.mgrid[:100, :120]
    far = np.hypot(xx - 60, yy - 50)
    return Annotation("a", ME, mask=masks.encode((far < radius) & (far >= hole)), id="r")


def test_a_mask_is_outlined_where_only_outlines_can_be_shown() -> None:
    lost: list[str] = []
    config = controls(TASKS["instance-segmentation"], "polygon")
    (exact,) = fit([_disk(40, 10)], config, 120, 100, lost.append)
    assert lost == ["holes of masks filled"]
    assert masks.from_polygons(exact.polygons, 100, 120) == _disk(40).mask
    # As people are to drag its corners, it may have fewer.
    (easy,) = fit([_disk(40)], config, 120, 100, lost.append, tolerance=1.25)
    assert len(easy.polygons[0]) < 25 < len(exact.polygons[0])
    assert masks.iou([masks.from_polygons(easy.polygons, 100, 120)], [_disk(40).mask])[0, 0] > 0.97
    # What has few stays exact.
    (small,) = fit([_disk(2.5)], config, 120, 100, lost.append, tolerance=1.25)
    assert masks.from_polygons(small.polygons, 100, 120) == _disk(2.5).mask
    assert fit([_disk(0)], config, 120, 100, lost.append) == []
    assert lost == ["holes of masks filled", "masks without pixels"]


def test_an_outline_is_painted_where_only_masks_can_be_shown() -> None:
    square = Annotation("a", ME, polygons=(((1, 1), (5, 1), (5, 5), (1, 5)),), id="r", score=0.5)
    (found,) = fit([square], controls(TASKS["semantic-segmentation"]), 120, 100, pytest.fail)
    assert (found.id, found.score, found.polygons) == ("r", 0.5, None)
    assert masks.box(found.mask) == (1, 1, 5, 5)
    box = Annotation("a", ME, box=(1, 1, 5, 5))
    assert fit([box, _disk(9)], controls(TASKS["instance-segmentation"]), 120, 100, pytest.fail) == [
        box,
        _disk(9),
    ]


@pytest.mark.parametrize(
    ("box", "quarters"),
    [
        # As it is: its own top left corner lies inside.
        (RotatedBox(50, 40, 30, 20, 25), 0),
        # Turned by half, its top left corner is the lower right one, beyond the corner of the image.
        (RotatedBox(95, 75, 20, 20, 180), 2),
        (RotatedBox(95, 40, 20, 20, 90), 2),
        (RotatedBox(50, 40, 300, 200, 30), None),
    ],
)
def test_turned_guesses_begin_inside_their_image(box: RotatedBox, quarters: int | None) -> None:
    """The same rectangle, told from a corner that the server takes, or counted."""
    guess, lost = Annotation("a", Provenance("model", "m"), rotated_box=box), []
    found = acceptable([guess], 100, 80, lost.append)
    if quarters is None:
        assert (found, lost) == ([], ["turned boxes that begin outside their image"])
        return
    ((taken,), told) = ([a.rotated_box for a in found], lost)
    assert told == []
    assert taken.angle == (box.angle + 90 * quarters) % 360
    corners = [np.round(rotated_corners(b), 9).tolist() for b in (box, taken)]
    assert sorted(corners[0]) == sorted(corners[1])
    value = to_result(found, 100, 80)[0]["value"]
    assert all(0 <= value[key] <= 100 for key in ("x", "y", "width", "height"))

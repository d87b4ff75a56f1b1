from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import FormatError
from workflow.labelstudio.regions import from_result, local_file_url, to_result
from workflow.labelstudio.regions.write import label_to_path, path_to_label
from workflow.records import Annotation, Mask, Provenance, RotatedBox

ME = Provenance("person", "me")
MODEL = Provenance("model", "yolo", "1")


@st.composite
def images_with_box(draw) -> tuple[int, int, tuple]:
    """A size up to 20,000 px and a box within it, of at least a thousandth of a pixel."""
    width, height = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    x = sorted(draw(st.tuples(*[st.floats(0, width)] * 2)))
    y = sorted(draw(st.tuples(*[st.floats(0, height)] * 2)))
    if x[1] - x[0] < 1e-3 or y[1] - y[0] < 1e-3:
        return width, height, (0.0, 0.0, float(width), float(height))
    return width, height, (x[0], y[0], x[1], y[1])


@given(images_with_box())
def test_boxes_survive_within_a_millionth_of_a_pixel(case: tuple) -> None:
    width, height, box = case
    reading = from_result(to_result([Annotation("a", ME, box=box, id="r")], width, height), width, height, ME)
    assert reading.lost == {}
    assert reading.annotations[0].box == pytest.approx(box, abs=1e-6)
    assert (reading.annotations[0].label, reading.annotations[0].id) == ("a", "r")


@given(
    st.floats(20, 80),
    st.floats(20, 40),
    st.floats(1, 15),
    st.floats(1, 15),
    st.floats(-179, 179).filter(bool),
)
def test_rotated_boxes_survive(cx: float, cy: float, width: float, height: float, angle: float) -> None:
    box = RotatedBox(cx, cy, width, height, angle)
    found = from_result(to_result([Annotation("a", ME, rotated_box=box)], 100, 60), 100, 60, ME)
    got = found.annotations[0].rotated_box
    assert got is not None
    assert (got.cx, got.cy, got.width, got.height, got.angle) == pytest.approx(
        (cx, cy, width, height, angle), abs=1e-6
    )


def test_a_region_as_the_format_has_it() -> None:
    box = Annotation("cat", MODEL, box=(10, 20, 60, 40), score=0.75, id="abc")
    assert to_result([box], 200, 100) == [
        {
            "id": "abc",
            "from_name": "label",
            "to_name": "image",
            "type": "rectanglelabels",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.75,
            "value": {
                "x": 5.0,
                "y": 20.0,
                "width": 25.0,
                "height": 20.0,
                "rotation": 0,
                "rectanglelabels": ["cat"],
            },
        }
    ]


@pytest.mark.parametrize(
    "annotation",
    [Annotation("a", ME), Annotation("a", ME, mask=Mask(1, 1, "01")), Annotation("a", ME, box=(-1, 0, 5, 5))],
    ids=["whole image", "mask", "outside"],
)
def test_what_a_rectangle_cannot_hold_is_refused(annotation: Annotation) -> None:
    with pytest.raises(FormatError):
        to_result([annotation], 10, 10)


def _region(**value: object) -> dict:
    return {"id": "r", "type": "rectanglelabels", "value": {"rotation": 0, "rectanglelabels": ["a"]} | value}


@pytest.mark.parametrize(
    ("region", "boxes", "lost"),
    [
        (_region(x=-10, y=0, width=20, height=50), [(0, 0, 10, 50)], {"box clipped to the image": 1}),
        (_region(x=90, y=0, width=20, height=50), [(90, 0, 100, 50)], {"box clipped to the image": 1}),
        (_region(x=120, y=0, width=20, height=50), [], {"box outside the image": 1}),
        (_region(x=10, y=10, width=0, height=50), [], {"box without an area": 1}),
        (_region(x=0, y=0, width=100, height=100), [(0, 0, 100, 100)], {}),
        (_region(x=0, y=0, width=9, height=9, rectanglelabels=[]), [], {"box without a label": 1}),
        (
            {"id": "p", "type": "polygonlabels", "value": {"points": [], "polygonlabels": ["a"]}},
            [],
            {"polygonlabels region": 1},
        ),
        ({"type": "relation", "from_id": "a"}, [], {"relation of a region that is not carried": 1}),
    ],
)
def test_what_cannot_be_carried_is_counted(region: dict, boxes: list, lost: dict) -> None:
    reading = from_result([region], 100, 100, ME)
    assert [a.box for a in reading.annotations] == boxes
    assert reading.lost == lost


def test_a_moved_box_keeps_no_score_of_the_model() -> None:
    region = _region(x=1, y=1, width=5, height=5) | {"score": 0.9}
    assert from_result([region], 100, 100, ME).annotations[0].score is None
    assert from_result([region], 100, 100, MODEL).annotations[0].score == 0.9


@given(st.lists(st.lists(st.text(min_size=1), min_size=1), min_size=1, max_size=4))
def test_taxonomy_paths_survive(paths: list) -> None:
    labels = [Annotation(path_to_label(path), ME) for path in paths]
    (region,) = to_result(labels, 9, 9, controls={"taxonomy": "kind"})
    assert region["value"] == {"taxonomy": paths}
    found = from_result([region], 9, 9, ME, controls={"taxonomy": "kind"}).annotations
    assert [label_to_path(a.label) for a in found] == paths


def test_a_taxonomy_path_is_read_as_people_write_it() -> None:
    assert path_to_label(["animal", "mammal"]) == "animal/mammal"
    assert path_to_label(["and/or", "x"]) == "and\\/or/x"


def test_addresses_are_quoted() -> None:
    assert local_file_url("p", "a b/ü#1.jpg") == "/data/local-files/?d=p/a%20b/%C3%BC%231.jpg"


CROWD = Annotation("a", ME, box=(1.0, 2.0, 30.0, 40.0), id="r", ignored=True)


def test_what_is_ignored_has_a_note_that_says_so() -> None:
    """In the field where the editor keeps a region's note."""
    (region,) = to_result([CROWD], 100, 60)
    assert region["meta"] == {"text": ["ignored"]}
    reading = from_result([region], 100, 60, ME)
    assert [(a.ignored, a.id) for a in reading.annotations] == [(True, "r")]
    assert reading.lost == {}
    assert "meta" not in to_result([Annotation("a", ME, box=(1, 2, 30, 40))], 100, 60)[0]


@pytest.mark.parametrize(
    ("meta", "ignored", "lost"),
    [
        ({"text": ["ignored"]}, True, {}),
        ({"text": "Ignore "}, True, {}),
        ({"text": ["ignored\nfar too blurry"]}, True, {"note on a region": 1}),
        ({"text": ["not ignored"]}, False, {"note on a region": 1}),
        ({"text": [None, 7, "ignored"]}, True, {}),
        ({"text": {"ignored": True}}, False, {"note on a region": 1}),
        ({"text": ["ignored"], "lead": 3}, True, {"note on a region": 1}),
        ({"text": []}, False, {}),
        ({}, False, {}),
        (["ignored"], False, {"note on a region": 1}),
    ],
)
def test_notes_that_people_write(meta: object, ignored: bool, lost: dict[str, int]) -> None:
    (region,) = to_result([Annotation("a", ME, box=(1, 2, 30, 40), id="r")], 100, 60)
    reading = from_result([region | {"meta": meta}], 100, 60, ME)
    assert [a.ignored for a in reading.annotations] == [ignored]
    assert reading.lost == lost


def test_a_note_on_what_covers_nothing_is_counted() -> None:
    whole = Annotation("a", ME, id="w")
    (region,) = to_result([whole], 100, 60, controls={"choices": "label"})
    reading = from_result([region | {"meta": {"text": ["ignored"]}}], 100, 60, ME, controls={"choices": ""})
    assert [a.ignored for a in reading.annotations] == [False]
    assert reading.lost == {"note 'ignored' on what covers no part of the image": 1}


def test_a_part_that_is_ignored_is_so_by_itself() -> None:
    parts = tuple(((x, 0.0), (x + 9, 0.0), (x + 9, 9.0)) for x in (0.0, 20.0, 40.0))
    controls = {"polygonlabels": "label"}
    result = to_result([Annotation("a", ME, polygons=parts, id="r")], 100, 60, controls=controls)
    result[1]["meta"] = {"text": ["ignored"]}
    reading = from_result(result, 100, 60, ME, controls={"polygonlabels": ""})
    assert [(a.id, a.ignored, len(a.polygons or ())) for a in reading.annotations] == [
        ("r", False, 2),
        ("r-part2", True, 1),
    ]
    whole = to_result([Annotation("a", ME, polygons=parts, id="r", ignored=True)], 100, 60, controls=controls)
    (again,) = from_result(whole, 100, 60, ME, controls={"polygonlabels": ""}).annotations
    assert (again.ignored, len(again.polygons or ())) == (True, 3)

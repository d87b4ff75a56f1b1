"""FiftyOne's detection documents: there and back within 1e-9 of a pixel, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import FormatError
from workflow.formats.fiftyone import from_fiftyone, to_fiftyone
from workflow.records import Annotation, Mask, Provenance, RotatedBox

MODEL = Provenance("model", "dino", "r1", "2026-01-02T03:04:05Z")


@st.composite
def images(draw):
    """A size and boxes on it, edges included, some reaching over the edge."""
    width, height = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    side = st.floats(0.01, 10_000)
    makers = st.builds(
        Provenance, st.sampled_from(["model", "person", "import"]), st.text(), st.text(), st.text()
    )

    def box(parts):
        x, y, w, h = parts
        return (x, y, x + w, y + h)

    corner = st.floats(-50, 20_000)
    boxes = st.one_of(
        st.just((0.0, 0.0, float(width), float(height))), st.tuples(corner, corner, side, side).map(box)
    )
    one = st.builds(
        Annotation,
        st.text(min_size=1),
        makers,
        box=boxes,
        score=st.none() | st.floats(0, 1),
        id=st.text(),
    )
    return width, height, draw(st.lists(one, max_size=5))


@given(images())
def test_round_trip(image):
    width, height, boxes = image
    back = from_fiftyone(to_fiftyone(boxes, width, height), width, height)
    assert len(back) == len(boxes)
    for before, after in zip(boxes, back, strict=True):
        assert after.box == pytest.approx(before.box, abs=1e-9, rel=0)
        assert (after.label, after.score, after.id) == (before.label, before.score, before.id)
        assert after.provenance == before.provenance


def test_the_document_is_fiftyones():
    box = Annotation("cat", MODEL, box=(10, 20, 30, 80), score=0.5, id="7")
    assert to_fiftyone([box], 100, 200) == [
        {
            "_cls": "Detection",
            "label": "cat",
            "bounding_box": [0.1, 0.1, 0.2, 0.3],
            "confidence": 0.5,
            "region": "7",
            "made_by": "model",
            "maker": "dino",
            "maker_revision": "r1",
            "made_at": "2026-01-02T03:04:05Z",
        }
    ]


def test_a_box_drawn_in_fiftyone_has_its_provenance_and_loses_the_marks_of_evaluations():
    drawn = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1], "eval": "tp", "mask": None}
    assert from_fiftyone([drawn], 10, 20) == [
        Annotation("cat", Provenance("import", "fiftyone"), box=(0, 0, 10, 20))
    ]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({}, "fiftyone: the label of the whole image 'cat' does not fit a Detection, which holds a box"),
        (
            {"rotated_box": RotatedBox(5, 5, 2, 2, 0)},
            "fiftyone: the rotated box 'cat' does not fit a Detection, which holds a box",
        ),
        ({"mask": Mask(2, 2, "04")}, "fiftyone: the mask 'cat' does not fit a Detection, which holds a box"),
        (
            {"keypoints": ((1, 2),)},
            "fiftyone: the keypoints 'cat' does not fit a Detection, which holds a box",
        ),
    ],
)
def test_what_a_detection_cannot_carry_is_refused(shape, message):
    with pytest.raises(FormatError) as refusal:
        to_fiftyone([Annotation("cat", MODEL, **shape)], 10, 10)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"_cls": "Polyline"}, "fiftyone: a Polyline is not a Detection"),
        (
            {"mask": b"x"},
            "fiftyone: the detection 'cat' has an instance mask, not only a box",
        ),
        (
            {"bounding_box": [0, 0, 0, 1]},
            "fiftyone: box (0, 0, 0, 10) has no area: x2 > x1 and y2 > y1 are needed",
        ),
        ({"label": None}, "fiftyone: an annotation needs a label"),
    ],
)
def test_documents_that_are_no_boxes_are_refused(document, message):
    whole = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1]}
    with pytest.raises(FormatError) as refusal:
        from_fiftyone([whole | document], 10, 10)
    assert str(refusal.value) == message

"""FiftyOne's label documents: masks there and back bit by bit, the rest within 1e-9 of a pixel."""

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing import SHAPES, masks_of_rectangles
from workflow.errors import FormatError
from workflow.formats.fiftyone import from_fiftyone, to_fiftyone
from workflow.records import Annotation, Mask, Provenance, RotatedBox
from workflow.shapes import masks

MODEL = Provenance("model", "dino", "r1", "2026-01-02T03:04:05Z")
PLACE, SIDE = st.floats(-50, 20_000), st.floats(0.01, 10_000)
POINT = st.tuples(PLACE, PLACE)
SHAPE = st.one_of(
    st.just({}),
    st.tuples(PLACE, PLACE, SIDE, SIDE).map(lambda b: {"box": (b[0], b[1], b[0] + b[2], b[1] + b[3])}),
    st.builds(RotatedBox, PLACE, PLACE, SIDE, SIDE, st.floats(-360, 360)).map(lambda r: {"rotated_box": r}),
    st.lists(st.lists(POINT, min_size=3, max_size=5).map(tuple), min_size=1, max_size=3).map(
        lambda parts: {"polygons": tuple(parts)}
    ),
    st.lists(POINT, min_size=1, max_size=3).map(lambda points: {"keypoints": tuple(points)}),
)


@st.composite
def images(draw):
    """A size and annotations on it, some reaching over the edge."""
    width, height = draw(st.integers(1, 20_000)), draw(st.integers(1, 20_000))
    makers = st.builds(
        Provenance, st.sampled_from(["model", "person", "import"]), st.text(), st.text(), st.text()
    )

    def annotation(shape):
        return st.builds(
            Annotation,
            st.text(min_size=1),
            makers,
            score=st.none() | st.floats(0, 1),
            id=st.text(),
            parent=st.text(),
            **{name: st.just(value) for name, value in shape.items()},
        )

    return width, height, draw(st.lists(SHAPE.flatmap(annotation), max_size=5))


def flat(annotation):
    """The numbers of a geometry, one after the other."""
    if annotation.polygons is not None:
        return [v for part in annotation.polygons for point in part for v in point]
    if annotation.keypoints is not None:
        return [v for point in annotation.keypoints for v in point]
    return list(annotation.box or ())


@given(images())
def test_round_trip(image):
    width, height, annotations = image
    back = from_fiftyone(to_fiftyone(annotations, width, height), width, height)
    assert len(back) == len(annotations)
    for before, after in zip(annotations, back, strict=True):
        assert after.geometry == before.geometry
        assert after.rotated_box == before.rotated_box
        assert flat(after) == pytest.approx(flat(before), abs=1e-9, rel=0)
        assert (after.label, after.score, after.id) == (before.label, before.score, before.id)
        assert (after.provenance, after.parent) == (before.provenance, before.parent)


@pytest.mark.parametrize("name", sorted(set(SHAPES) - {"empty"}))
def test_masks_round_trip(name):
    height, width = SHAPES[name].shape
    before = [Annotation("cat", MODEL, mask=masks.encode(SHAPES[name]), score=0.5, id="7")]
    assert from_fiftyone(to_fiftyone(before, width, height), width, height) == before


@given(masks_of_rectangles())
def test_any_mask_round_trips(pixels):
    if pixels.any():
        height, width = pixels.shape
        before = [Annotation("cat", MODEL, mask=masks.encode(pixels))]
        assert from_fiftyone(to_fiftyone(before, width, height), width, height) == before


MADE = {
    "region": "7",
    "made_by": "model",
    "maker": "dino",
    "maker_revision": "r1",
    "made_at": "2026-01-02T03:04:05Z",
}


@pytest.mark.parametrize(
    ("shape", "document"),
    [
        ({}, {"_cls": "Classification"}),
        ({"box": (10, 20, 30, 80)}, {"_cls": "Detection", "bounding_box": [0.1, 0.1, 0.2, 0.3]}),
        (
            {"polygons": (((0, 0), (50, 0), (50, 100)),)},
            {
                "_cls": "Polyline",
                "points": [[[0, 0], [0.5, 0], [0.5, 0.5]]],
                "closed": True,
                "filled": True,
            },
        ),
        (
            {"rotated_box": RotatedBox(50, 100, 20, 40, 0)},
            {
                "_cls": "Polyline",
                "points": [[[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]],
                "closed": True,
                "filled": False,
                "rotated_box": [50, 100, 20, 40, 0],
            },
        ),
        (
            {"keypoints": ((10, 20), (50, 200))},
            {"_cls": "Keypoint", "points": [[0.1, 0.1], [0.5, 1.0]], "confidence": [0.5, 0.5]},
        ),
    ],
    ids=lambda value: value.get("_cls", ""),
)
def test_the_documents_are_fiftyones(shape, document):
    annotation = Annotation("cat", MODEL, score=0.5, id="7", **shape)
    expected = {"label": "cat", "confidence": 0.5, **document, **MADE}
    assert to_fiftyone([annotation], 100, 200) == [expected]


def test_a_mask_is_stored_as_fiftyone_reads_it():
    from fiftyone.core.utils import deserialize_numpy_array

    pixels = np.zeros((20, 10), dtype=bool)
    pixels[4:10, 2:6] = True
    pixels[6, 3] = False
    (document,) = to_fiftyone([Annotation("cat", MODEL, mask=masks.encode(pixels))], 10, 20)
    assert document["bounding_box"] == [0.2, 0.2, 0.4, 0.3]
    stored = deserialize_numpy_array(document["mask"])
    assert stored.dtype == bool
    assert np.array_equal(stored, pixels[4:10, 2:6])


def test_a_rotated_box_changed_in_fiftyone_is_an_outline():
    (document,) = to_fiftyone(
        [Annotation("cat", MODEL, rotated_box=RotatedBox(50, 50, 20, 40, 30))], 100, 100
    )
    document["points"][0][0][0] += 0.01
    (back,) = from_fiftyone([document], 100, 100)
    assert back.geometry == "polygons"
    assert len(back.polygons[0]) == 4


def test_a_box_drawn_in_fiftyone_has_its_provenance_and_loses_the_marks_of_evaluations():
    drawn = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1], "eval": "tp", "mask": None}
    assert from_fiftyone([drawn], 10, 20) == [
        Annotation("cat", Provenance("import", "fiftyone"), box=(0, 0, 10, 20))
    ]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (masks.encode(np.zeros((10, 10))), "fiftyone: the mask 'cat' has no pixels, and so no box to lie in"),
        (Mask(2, 2, "04"), "fiftyone: the mask 'cat' is of 2 x 2, not 10 x 10 pixels"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, message):
    with pytest.raises(FormatError) as refusal:
        to_fiftyone([Annotation("cat", MODEL, mask=mask)], 10, 10)
    assert str(refusal.value) == message


SMALL = {"bounding_box": [0, 0, 0.5, 1]}
SQUARE = to_fiftyone([Annotation("cat", MODEL, mask=masks.encode(np.ones((10, 10))))], 10, 10)[0]["mask"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"_cls": "Heatmap"},
            "fiftyone: a Heatmap is none of Detection, Polyline, Keypoint, Classification",
        ),
        (
            {"mask_path": "a.png"},
            "fiftyone: the mask of the detection 'cat' is a file elsewhere",
        ),
        (
            {"mask": SQUARE, **SMALL},
            "fiftyone: the mask of the detection 'cat', 10 x 10 pixels, does not fit its box (0, 0, 5.0, 10)",
        ),
        (
            {"mask": zlib.compress(b"x")},
            "fiftyone: ",
        ),
        (
            {"bounding_box": [0, 0, 0, 1]},
            "fiftyone: box (0, 0, 0, 10) has no area: x2 > x1 and y2 > y1 are needed",
        ),
        ({"label": None}, "fiftyone: an annotation needs a label"),
        ({"bounding_box": None}, "fiftyone: the Detection 'cat' is malformed (cannot unpack"),
        (
            {"_cls": "Polyline", "points": [[[0, 0], [1, 1], [0, 1]]], "closed": False},
            "fiftyone: the line 'cat' is not closed, and so no outline",
        ),
        (
            {"_cls": "Keypoint", "points": [[0, 0], [1, 1]], "confidence": [0.1, 0.2]},
            "fiftyone: the keypoints 'cat' have several scores, not one",
        ),
    ],
)
def test_documents_that_cannot_be_carried_are_refused(document, message):
    whole = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1]}
    with pytest.raises(FormatError) as refusal:
        from_fiftyone([whole | document], 10, 10)
    assert str(refusal.value).startswith(message)


def bomb(header: dict, bytes_of_zeros: int) -> bytes:
    """An array whose header says what it likes, before so many zeros; a few kilobytes when compressed."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    packer = zlib.compressobj()
    packed = packer.compress(file.getvalue())
    for _ in range(bytes_of_zeros >> 20):
        packed += packer.compress(bytes(1 << 20))
    return packed + packer.flush()


@pytest.mark.parametrize(
    ("shape", "zeros", "message"),
    [
        ((20_000, 20_000), 400 << 20, "fiftyone: a mask is larger than its image"),
        (
            (60_000, 60_000),
            0,
            "fiftyone: a mask says it is of shape (60000, 60000), and holds",
        ),
        ((2**63, 2), 0, "fiftyone: a mask says it is of shape"),
        ((10, 10), 0, "fiftyone: a mask says it is of shape (10, 10), and holds something else"),
    ],
)
def test_a_mask_takes_no_more_memory_than_its_image(shape: tuple, zeros: int, message: str) -> None:
    packed = bomb({"descr": "|b1", "fortran_order": False, "shape": shape}, zeros)
    document = {"_cls": "Detection", "label": "cat", "bounding_box": [0, 0, 1, 1], "mask": packed}
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as refusal:
            from_fiftyone([document], 10, 10)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(refusal.value).startswith(message)
    # numpy tells tracemalloc of its arrays.
    assert most < 4 << 20

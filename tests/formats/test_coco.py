"""COCO: boxes, outlines, masks, crowds and keypoints go in and come out as they were."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED
from tests.foreign import look_up
from workflow.errors import FormatError
from workflow.formats.fit import fit
from workflow.formats.page import Page, Reading
from workflow.shapes import masks, overlap
from workflow.tasks import TaskName

SIZES = {"a.png": (40, 30)}
CATEGORIES = [{"id": 7, "name": "cat", "keypoints": ["tip", "tail"]}, {"id": 3, "name": "dog"}]


def _read(folder: Path, task: TaskName, *annotations: dict, **more: object) -> tuple[Page, Reading]:
    image = {"id": "x", "file_name": "a.png", "width": 40, "height": 30}
    rows = [{"image_id": "x", "category_id": 7} | a for a in annotations]
    content = {"images": [image], "categories": CATEGORIES, "annotations": rows} | more
    source = folder / "coco.json"
    source.write_text(json.dumps(content))
    pages, reading = look_up("coco", source, task, SIZES, keypoints=("tip", "tail"))
    return pages["a.png"], reading


def test_a_box_has_two_corners(tmp_path: Path) -> None:
    page, reading = _read(
        tmp_path, "detection", {"bbox": [1.5, 2, 10, 20]}, {"category_id": 3, "bbox": [0, 0, 40, 30]}
    )
    assert [(a.label, a.box) for a in page.annotations] == [
        ("cat", (1.5, 2, 11.5, 22)),
        ("dog", (0, 0, 40, 30)),
    ]
    assert (reading.losses, reading.problems) == ({}, [])


@pytest.mark.parametrize(
    ("bbox", "box", "reason"),
    [
        ([-5, 2, 10, 20], (0, 2, 5, 22), "boxes clipped to the image"),
        ([30, 2, 10 + 1e-9, 20], (30, 2, 40, 22), None),
        ([50, 2, 10, 20], None, "boxes outside the image"),
        ([5, 2, 0, 20], None, "boxes without an area"),
        ([5, 2, -3, 20], None, "boxes without an area"),
        ([], None, "objects without a bbox"),
    ],
)
def test_a_bad_box_is_clipped_or_left_out_and_counted(
    bbox: list, box: tuple | None, reason: str | None, tmp_path: Path
) -> None:
    page, reading = _read(tmp_path, "detection", {"bbox": bbox})
    assert [a.box for a in page.annotations] == ([box] if box else [])
    assert reading.losses == ({reason: 1} if reason else {})


OUTLINE = [1.5, 2, 20, 2, 20, 25.25]


def test_outlines_keep_their_corners_and_parts(tmp_path: Path) -> None:
    page, _ = _read(tmp_path, "instance-segmentation", {"segmentation": [OUTLINE, [30, 1, 35, 1, 35, 9]]})
    assert page.annotations[0].polygons == (
        ((1.5, 2), (20, 2), (20, 25.25)),
        ((30, 1), (35, 1), (35, 9)),
    )


@pytest.mark.parametrize("compressed", [True, False])
def test_masks_are_read_compressed_or_not(compressed: bool, tmp_path: Path) -> None:
    pixels = np.zeros((30, 40), dtype=bool)
    pixels[3:9, 5:20], pixels[5, 9] = True, False
    flat = pixels.T.reshape(-1)
    ends = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
    counts = masks.encode(pixels).counts if compressed else np.diff(ends, prepend=0).tolist()
    page, _ = _read(tmp_path, "instance-segmentation", {"segmentation": {"size": [30, 40], "counts": counts}})
    assert page.annotations[0].mask == masks.encode(pixels)


def test_a_crowd_is_ignored_but_pixels_of_its_class(tmp_path: Path) -> None:
    pixels = np.ones((30, 40), dtype=bool)
    crowd = {"iscrowd": 1, "bbox": [0, 0, 40, 30]}
    crowd["segmentation"] = {"size": [30, 40], "counts": masks.encode(pixels).counts}  # type: ignore[assignment]
    for task in ("detection", "instance-segmentation"):
        page, reading = _read(tmp_path, task, crowd)  # type: ignore[arg-type]
        assert [a.ignored for a in page.annotations] == [True]
        assert reading.losses == {}
    page, reading = _read(tmp_path, "semantic-segmentation", crowd)
    assert [masks.area(a.mask) for a in page.annotations if a.mask] == [1200]
    assert reading.losses == {}


def test_layers_are_painted_in_their_order(tmp_path: Path) -> None:
    left = {"segmentation": [[0, 0, 20, 0, 20, 30, 0, 30]]}
    top = {"category_id": 3, "segmentation": [[0, 0, 40, 0, 40, 10, 0, 10]]}
    page, reading = _read(tmp_path, "semantic-segmentation", left, top, left | {"segmentation": [OUTLINE]})
    page.annotations = page.annotations[:2]
    layers = fit(page, ("cat", "dog"))
    assert [(a.label, masks.area(a.mask)) for a in layers if a.mask] == [("cat", 400), ("dog", 400)]
    assert reading.losses == {"pixels painted twice (the later layer counts)": 200}


def test_keypoints_belong_to_their_box(tmp_path: Path) -> None:
    one = {"bbox": [1, 2, 10, 20], "keypoints": [5, 6, 2, 0, 0, 0], "num_keypoints": 1}
    other = {"bbox": [20, 2, 10, 20], "keypoints": [25, 6, 1, 99, 0, 2]}
    page, reading = _read(tmp_path, "keypoints", one, other)
    assert [(a.label, a.keypoints, a.parent == page.annotations[0].id) for a in page.annotations] == [
        ("cat", None, False),
        ("tip", ((5, 6),), True),
        ("cat", None, False),
        ("tip", ((25, 6),), False),
    ]
    assert reading.losses == {"points that are hidden, now as if seen": 1, "points outside the image": 1}


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        ({"category_id": 9, "bbox": [0, 0, 1, 1]}, "annotations[0]: no category has the id 9"),
        ({"bbox": [0, 0, 1]}, "annotations[0]: malformed (bbox has 3 numbers, not x, y, width, height"),
        ({"bbox": ["x", 0, 1, 1]}, "annotations[0]: bbox.0 is 'x', not a number"),
        (
            {"bbox": [0, 0, 1, 1], "keypoints": [1, 2]},
            "annotations[0]: malformed (2 numbers are not x, y, v",
        ),
    ],
)
def test_a_malformed_annotation_is_named(annotation: dict, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, "keypoints", annotation)
    assert len(reading.problems) == 1
    assert reading.problems[0].startswith(f"{tmp_path / 'coco.json'}: {problem}")


def test_a_mask_that_is_broken_or_of_another_size(tmp_path: Path) -> None:
    _, reading = _read(
        tmp_path, "instance-segmentation", {"segmentation": {"size": [30, 40], "counts": "zz"}}
    )
    assert "malformed" in reading.problems[0]
    _, reading = _read(tmp_path, "instance-segmentation", {"segmentation": {"size": [3, 4], "counts": [12]}})
    assert reading.losses == {"masks of another size than their image": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "COCO results name neither images nor classes"),
        ('{"categories": []}', "has no images"),
        ('{"images": [{"id": 1}], "categories": []}', "images[0]: has no file_name"),
    ],
)
def test_what_is_no_coco_file_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    source = tmp_path / "coco.json"
    source.write_text(text)
    with pytest.raises(FormatError) as error:
        look_up("coco", source, "detection", SIZES)
    assert error.value.problem.startswith(f"{source}: {problem}")


@pytest.mark.skipif(not (SHARED / "evaluation-reference").is_dir(), reason="no reference sets here")
def test_a_published_file_is_carried_whole() -> None:
    """100 images of COCO val2014: every box, outline and crowd is there again, or counted."""
    source = SHARED / "evaluation-reference" / "coco100" / "instances_val2014_100.json"
    content = json.loads(source.read_text())
    sizes = {i["file_name"]: (i["width"], i["height"]) for i in content["images"]}
    classes = [c["name"] for c in content["categories"]]
    crowds = sum(a["iscrowd"] for a in content["annotations"])
    pages, reading = look_up("coco", source, "instance-segmentation", sizes, classes)
    assert (reading.problems, len(pages)) == ([], 100)
    found = [a for page in pages.values() for a in page.annotations]
    assert sum(a.ignored for a in found) == crowds == 9
    assert len(found) == 839
    boxed, reading = look_up("coco", source, "detection", sizes, classes)
    assert Counter(a.label for page in boxed.values() for a in page.annotations) == Counter(
        a.label for a in found
    )
    # The published boxes are those round the published outlines; a crowd's end a pixel before its last one.
    for name, page in pages.items():
        for outline, box in zip(page.annotations, boxed[name].annotations, strict=True):
            assert overlap.as_box(outline) == pytest.approx(box.box, abs=1 if outline.ignored else 0.51)


CASES = SHARED / "label-studio-cases" / "sdk_converter" / "data"


@pytest.mark.skipif(not CASES.is_dir(), reason="no Label Studio cases here")
def test_a_file_that_label_studio_imports() -> None:
    """Case 11: two images, the labels those of the categories."""
    source = CASES / "test_import_coco" / "coco_import_input.json"
    content = json.loads(source.read_text())
    sizes = {Path(i["file_name"]).name: (i["width"], i["height"]) for i in content["images"]}
    classes = [c["name"] for c in content["categories"]]
    pages, reading = look_up("coco", source, "instance-segmentation", sizes, classes)
    assert (len(pages), reading.problems) == (2, [])
    found = [a for page in pages.values() for a in page.annotations]
    assert len(found) + sum(reading.losses.values()) == len(content["annotations"])
    assert {a.label for a in found} <= set(classes)

"""Rows of every task, written as Parquet, loaded by `datasets`, and read back as they were."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.samples import CLASSES, HEIGHT, KEYPOINTS, WIDTH, draw_objects, paint, save, truth_of
from workflow.dataset import parquet
from workflow.dataset.card import dataset_card
from workflow.dataset.tally import Tally
from workflow.errors import FormatError
from workflow.records import Annotation, ImageRecord, Mask, Provenance, RotatedBox
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.tasks import TASKS

ME = Provenance("person", "7")
RECORD = ImageRecord("id0", "a.png", WIDTH, HEIGHT, "train")
TURNED = Annotation("tile", ME, rotated_box=RotatedBox(40, 30, 20, 10, 30), id="t")


def _box(label: str, x: float, name: str = "") -> Annotation:
    return Annotation(label, ME, box=(x, 2.5, x + 10, 12.25), id=name)


def _point(label: str, x: float, parent: str = "") -> Annotation:
    return Annotation(label, ME, keypoints=((x, 5.0),), parent=parent)


def _mask(label: str, x: int, name: str = "", size: tuple[int, int] = (HEIGHT, WIDTH)) -> Annotation:
    pixels = np.zeros(size, dtype=bool)
    pixels[5:15, x : x + 10] = True
    return Annotation(label, ME, mask=masks.encode(pixels), id=name)


def _row(annotations: list[Annotation], task: Any, lost: Counter[str] | None = None) -> Any:
    points = KEYPOINTS if task == "keypoints" else ()
    tally = Tally(lost=Counter() if lost is None else lost)
    row = parquet.to_row(RECORD, b"bytes", annotations, Schema.of(task, CLASSES, points), tally)
    # Counted as it is packed, and not by unpacking it.
    held = 0 if row is None else len(parquet.from_row(row, Schema.of(task, CLASSES, points)))
    assert (tally.images, tally.annotations) == (row is not None, held)
    return row


def _back(annotations: list[Annotation], task: Any, lost: Counter[str] | None = None) -> list[Annotation]:
    points = KEYPOINTS if task == "keypoints" else ()
    return parquet.from_row(_row(annotations, task, lost), Schema.of(task, CLASSES, points))


@pytest.mark.parametrize("task", TASKS)
def test_a_dataset_is_loaded_and_read_back_as_it_was(task: Any, tmp_path: Path) -> None:
    points = KEYPOINTS if task == "keypoints" else ()
    truth: dict[str, list[Annotation]] = {}
    rows, tally = [], Tally()
    for number in range(5):
        objects = [] if number == 2 else draw_objects(number)
        path = tmp_path / f"{number}.png"
        save(paint(objects, dark=False), path, turned=number == 1)
        record = replace(RECORD, id=str(number), path=path.name)
        wanted = [replace(a, provenance=ME) for a in truth_of(task, objects)]
        row = parquet.to_row(record, path.read_bytes(), wanted, Schema.of(task, CLASSES, points), tally)
        if row is not None:
            rows.append({"image_id": number} | row)
            truth[record.id] = wanted
    assert tally.annotations == sum(map(len, truth.values()))
    assert +tally.lost == ({"images without a label left out": 1} if task == "classification" else {})
    schema = parquet.features(Schema.of(task, CLASSES, points))
    files = {"train": "data/train-0-1.parquet", "unreviewed": "unreviewed/unreviewed-0-1.parquet"}
    parquet.write(tmp_path / "set" / files["train"], rows, schema)
    counts = {"splits": {"train": tally.to_json()}, "states": {}, "lost": {}, "labels": []}
    counts |= {"version": "0", "files": files}
    card = dataset_card("Shapes", Schema.of(task, CLASSES, points), counts)
    (tmp_path / "set" / "README.md").write_text(card)
    rest = [{"hash": "9", "file": "9.png", "split": "train", "state": "skipped"}]
    parquet.write(tmp_path / "set" / files["unreviewed"], rest, parquet.unreviewed_features())
    found = dict(_read(tmp_path / "set", task, points))
    assert found.keys() == truth.keys()
    for image, wanted in truth.items():
        assert [_plain(a) for a in found[image]] == [_plain(a) for a in wanted]
    from datasets import load_dataset

    loaded = load_dataset(str(tmp_path / "set"), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.features == schema
    for row in loaded:
        assert row["image"].size == (WIDTH, HEIGHT)
        _check_loaded(row, truth[row["hash"]], task)


def _read(folder: Path, task: Any, points: tuple[str, ...]) -> Any:
    rows = parquet.read(folder, "train", Schema.of(task, CLASSES, points))
    return ((row["hash"], annotations) for row, annotations in rows)


def _plain(a: Annotation) -> Annotation:
    """Without what the format has no room for: the names of points and of layers."""
    return replace(a, id="") if a.keypoints or a.mask else a


def _check_loaded(row: dict[str, Any], wanted: list[Annotation], task: Any) -> None:
    """What somebody who has only `datasets` and pycocotools' functions sees."""
    from faster_coco_eval.core import mask as coco

    labels = [CLASSES.index(a.label) for a in wanted if not a.keypoints]
    if task == "classification":
        assert [row["label"]] == labels
    elif task == "multilabel-classification":
        assert row["labels"] == labels
    elif task == "semantic-segmentation":
        seen = np.asarray(row["label"])
        assert (seen.shape, seen.dtype) == ((HEIGHT, WIDTH), np.uint8)
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        for a in wanted:
            expected[masks.decode(a.mask)] = CLASSES.index(a.label) + 1
        assert (seen == expected).all()
    else:
        assert row["objects"]["category"] == labels
        for a, rle in zip(wanted, row["objects"].get("mask", []), strict=False):
            assert (coco.decode(rle).astype(bool) == masks.decode(a.mask)).all()


def test_a_detection_row_as_the_format_has_it() -> None:
    assert _row([_box("bar", 3, "r")], "detection") == {
        "hash": "id0",
        "image": {"bytes": b"bytes", "path": "a.png"},
        "file": "a.png",
        "width": WIDTH,
        "height": HEIGHT,
        "objects": {
            "id": ["r"],
            "bbox": [[3, 2.5, 10, 9.75]],
            "category": [1],
            "area": [97.5],
            "person": ["7"],
        },
    }


def test_an_unturned_box_among_turned_ones_stays_a_box() -> None:
    assert _row([_box("bar", 3, "r"), TURNED], "oriented-detection")["objects"]["rotated_box"] == [
        [8, 7.375, 10, 9.75, 0],
        [40, 30, 20, 10, 30],
    ]
    assert _back([_box("bar", 3, "r"), TURNED], "oriented-detection") == [_box("bar", 3, "r"), TURNED]


def test_a_turned_box_in_a_detection_dataset_is_counted() -> None:
    lost = Counter[str]()
    quarter = Annotation("tile", ME, rotated_box=RotatedBox(40, 30, 20, 10, 90), id="t")
    (found,) = _back([quarter], "detection", lost)
    assert found.box == pytest.approx((35, 20, 45, 40))
    assert lost == {"rotated boxes as the boxes round them": 1}


def test_points_find_their_box_by_its_name_or_by_lying_in_it_alone() -> None:
    lost = Counter[str]()
    apart, crossing = _box("disk", 10, "a"), _box("bar", 40, "b")
    over = _box("tile", 45, "c")
    points = [
        _point("left", 0, "a"),  # by its name, wherever it is
        _point("right", 12),  # in one box
        _point("left", 48),  # in two
        _point("left", 90, "nobody"),
        _point("right", 11),  # a second one
    ]
    row = _row([*points, apart, crossing, over], "keypoints", lost)
    assert row["objects"]["keypoints"] == [
        [[0, 5, 2], [12, 5, 2]],
        [[0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
    ]
    assert lost == {"keypoints of no box": 2, "keypoints named twice in one box": 1}
    found = parquet.from_row(row, Schema.of("keypoints", CLASSES, KEYPOINTS))
    assert found[:3] == [apart, _point("left", 0, "a"), _point("right", 12, "a")]


def test_a_box_without_a_name_gets_one_for_its_points() -> None:
    box, point = _back([_box("disk", 10), _point("left", 12)], "keypoints")
    assert (box.id, point.parent) == ("r0", "r0")


def test_outlines_stay_outlines_and_have_their_pixels_beside_them() -> None:
    square = Annotation("bar", ME, polygons=(((1, 1), (5, 1), (5, 5), (1, 5)),), id="p")
    objects = _row([square, _mask("disk", 20, "m")], "instance-segmentation")["objects"]
    assert objects["polygons"] == [[[1, 1, 5, 1, 5, 5, 1, 5]], []]
    assert objects["bbox"] == [[1, 1, 4, 4], [20, 5, 10, 10]]
    assert objects["area"] == [16, 100]
    (pixels, _) = objects["mask"]
    assert masks.box(Mask(*pixels["size"], pixels["counts"])) == (1, 1, 5, 5)  # type: ignore[call-arg]
    assert _back([square, _mask("disk", 20, "m")], "instance-segmentation") == [
        square,
        _mask("disk", 20, "m"),
    ]


def test_a_mask_without_pixels_is_counted() -> None:
    empty = Annotation("bar", ME, mask=masks.encode(np.zeros((HEIGHT, WIDTH), bool)), id="m")
    for task in ("instance-segmentation", "semantic-segmentation"):
        lost = Counter[str]()
        assert _back([empty], task, lost) == []
        assert +lost == {"masks without pixels": 1}


def test_of_overlapping_layers_the_later_one_counts() -> None:
    lost = Counter[str]()
    below, above, same = _mask("disk", 20), _mask("bar", 26), _mask("bar", 30)
    disk, bar = _back([below, above, same], "semantic-segmentation", lost)
    assert (disk.label, masks.box(disk.mask)) == ("disk", (20, 5, 26, 15))
    assert (bar.label, masks.box(bar.mask)) == ("bar", (26, 5, 40, 15))
    assert +lost == {"pixels painted twice (the later layer counts)": 40}


def test_more_classes_than_a_picture_holds_are_refused() -> None:
    with pytest.raises(FormatError) as error:
        parquet.features(Schema.of("semantic-segmentation", [str(n) for n in range(256)]))
    assert str(error.value) == "256 classes do not fit a picture of 8 bits -> 254 are the most"


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ([], "images without a label left out"),
        ([Annotation("bar", ME), Annotation("disk", ME)], "images of several labels left out"),
    ],
)
def test_an_image_has_one_class_or_no_row(annotations: list[Annotation], reason: str) -> None:
    lost = Counter[str]()
    assert _row(annotations, "classification", lost) is None
    assert lost == {reason: 1}


@pytest.mark.parametrize(
    ("task", "annotation", "shape"),
    [
        ("detection", _mask("bar", 0), "mask"),
        ("detection", Annotation("bar", ME), "no place"),
        ("keypoints", _mask("bar", 0), "mask"),
        ("classification", _box("bar", 0), "box"),
        ("instance-segmentation", _box("bar", 0), "box"),
        (
            "semantic-segmentation",
            Annotation("bar", ME, rotated_box=RotatedBox(9, 9, 4, 4, 5)),
            "rotated box",
        ),
    ],
)
def test_a_shape_of_another_task_is_refused(task: Any, annotation: Annotation, shape: str) -> None:
    with pytest.raises(FormatError) as error:
        _row([annotation], task)
    what = f"annotation {annotation.label!r} has {shape}, which no {task} dataset holds"
    assert str(error.value) == f"{what} -> workflow pull --full"


@pytest.mark.parametrize("task", ["instance-segmentation", "semantic-segmentation"])
def test_a_mask_of_another_size_is_refused(task: Any) -> None:
    with pytest.raises(FormatError) as error:
        _row([_mask("bar", 0, size=(20, 30))], task)
    assert str(error.value) == "mask 'bar' of 30x20 is none of a 96x72 image"


def test_a_label_of_no_project_is_refused() -> None:
    with pytest.raises(FormatError) as error:
        _row([_box("cat", 0)], "detection")
    assert str(error.value) == "label 'cat' is no class of the project -> add it to classes"
    with pytest.raises(FormatError) as error:
        _row([_point("cat", 0)], "keypoints")
    assert str(error.value) == "label 'cat' is no keypoint of the project -> add it to keypoints"


def test_pictures_are_stored_as_they_are_in_groups_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(parquet, "GROUP_BYTES", 1000)
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    schema = Schema.of("detection", CLASSES, ())
    sizes = [600, 600, 1, 1, 1, 5000, 1]
    rows = [
        {"image_id": number} | (parquet.to_row(RECORD, bytes(size), [], schema) or {})
        for number, size in enumerate(sizes)
    ]
    parquet.write(tmp_path / "a.parquet", rows, parquet.features(schema))
    file = pq.ParquetFile(tmp_path / "a.parquet")
    groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [2, 3, 1, 1]
    columns = {c.path_in_schema: c for c in map(groups[0].column, range(groups[0].num_columns))}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert not columns["image.bytes"].is_stats_set
    others = [column for name, column in columns.items() if name != "image.bytes"]
    assert {column.compression for column in others} == {"SNAPPY"}
    assert "objects.bbox.list.element.list.element" in columns
    assert [len(row["image"]["bytes"]) for row in file.read().to_pylist()] == sizes

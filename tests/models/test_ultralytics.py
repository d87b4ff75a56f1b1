"""What is ultralytics' own beyond the contract: poses, exported files, models that read, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import DIGITS, NAMES
from tests.tiny.ultralytics import PRINTED, export, save
from workflow import models
from workflow.errors import ModelError
from workflow.images import decode
from workflow.models import Annotator, Options, ultralytics, ultralytics_worker
from workflow.records import Annotation
from workflow.shapes import overlap

PICTURE = np.random.default_rng(3).integers(0, 255, (96, 160, 3)).astype(np.uint8)
Load = Callable[..., Annotator]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """`load(name, **options)`: a checkpoint in the test's folder, closed afterwards."""
    loaded: list[Annotator] = []

    def one(name: str, **options: Any) -> Annotator:
        defaults = {"threshold": 0.1, "device": "cpu", "log": tmp_path / "log"}
        loaded.append(models.load(f"ultralytics:{name}", tmp_path, Options(**(defaults | options))))
        return loaded[-1]

    yield one
    for annotator in loaded:
        annotator.close()


def _ask(annotator: Annotator, classes: tuple[str, ...] = DIGITS) -> tuple[Annotation, ...]:
    return annotator.annotate([PICTURE], [()], classes)[0]


def test_points_have_names_where_they_are_known() -> None:
    def names(**said: Any) -> dict[int, tuple[str, ...]]:
        return ultralytics_worker.point_names({0: "person"}, said)

    assert names(kpt_shape=[2, 3]) == {0: ("0", "1")}
    assert names(kpt_shape=[2, 3], kpt_names={"0": ["tip", "end"]}) == {0: ("tip", "end")}
    assert names(kpt_shape=[17, 3])[0][5:7] == ("left_shoulder", "right_shoulder")


@pytest.mark.slow
def test_points_belong_to_their_box(tmp_path: Path, load: Load) -> None:
    save(tmp_path / "pose.pt", "yolo11-pose", points=17)
    pose = load("pose.pt")
    points = ultralytics_worker.COCO_POINTS
    assert pose.names == (*NAMES.values(), *points)
    found = _ask(pose, (*DIGITS, *points))
    boxes = {a.id: a for a in found if a.box}
    told = [a for a in found if a.keypoints]
    assert len(boxes) + len(told) == len(found)
    assert min(len(boxes), len(told)) > 3
    assert {a.label for a in told} <= set(points)
    assert all(a.score == boxes[a.parent].score and not a.id for a in told)
    assert len({(a.parent, a.label) for a in told}) == len(told)
    assert [a.id for a in _ask(pose, ("9", "nose")) if a.label not in ("9", "nose")] == []


@pytest.mark.slow
def test_shares_of_classes_that_mean_one_add_up(tmp_path: Path, load: Load) -> None:
    save(tmp_path / "cls.pt", "yolo11-cls")
    apart = _ask(load("cls.pt", threshold=None))
    assert sum(a.score or 0 for a in apart) == pytest.approx(1)
    even = dict.fromkeys("02468", "even")
    mapped = load("cls.pt", threshold=None, class_map=even)
    (together,) = (a for a in _ask(mapped, ("even", "1")) if a.label == "even")
    assert together.score == pytest.approx(sum(a.score or 0 for a in apart if a.label in even))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits.onnx", "digits_openvino_model"])
def test_an_exported_file_says_what_its_checkpoint_says(
    tmp_path: Path, load: Load, envelopes: Path, name: str
) -> None:
    export(tmp_path / name, PRINTED, image_size=384)
    drawn = sorted((envelopes / "images").glob("sender-0*-envelope-*.jpg"))[:3]
    pictures = [decode.from_file(path)[:, :250] for path in drawn]
    first, other = load("digits.pt"), load(name)
    assert first.engine == f"PyTorch, cpu ({name} beside it is run where it is named)"
    assert other.engine == f"{'ONNX Runtime' if name.endswith('.onnx') else 'OpenVINO'}, cpu"
    assert (other.task, other.names) == (first.task, first.names)
    said, exported = (a.annotate(pictures, [()] * 3, DIGITS) for a in (first, other))
    assert sum(map(len, said)) > 3
    for expected, found in zip(said, exported, strict=True):
        sure = [a for a in expected if (a.score or 0) > 0.2]
        assert len(found) >= len(sure)
        for guess in sure:
            shared = overlap.iou([guess], [a for a in found if a.label == guess.label])
            assert shared.max() > 0.8


def test_an_exported_file_without_its_engine_is_one_line(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ultralytics.ENGINES, ".onnx", "no_such_engine")
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ModelError) as error:
        load("a.onnx")
    assert str(error.value) == "a.onnx needs the package no_such_engine -> pip install no_such_engine"


@pytest.mark.slow
def test_an_exported_file_that_says_nothing_of_itself_is_one_line(tmp_path: Path, load: Load) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no such thing")
    with pytest.raises(ModelError) as error:
        load("a.onnx")
    assert str(error.value) == (
        "a.onnx does not say its task and its classes"
        " -> export it by ultralytics: yolo export model=NAME.pt format=onnx"
    )


@pytest.mark.slow
def test_a_task_that_is_none_of_ours_is_one_line(tmp_path: Path, load: Load) -> None:
    save(tmp_path / "sem.pt", "yolo26-sem")
    with pytest.raises(ModelError) as error:
        load("sem.pt")
    assert str(error.value) == (
        "model 'ultralytics:sem.pt': is of ultralytics' task 'semantic'"
        " -> take one of detect, segment, classify, obb, pose"
    )


@pytest.mark.slow
def test_a_model_that_reads_finds_its_own_words_without_a_text_encoder(tmp_path: Path, load: Load) -> None:
    save(tmp_path / "world.pt", "yolov8-world", {number: str(number) for number in range(80)})
    words = [str(number) for number in range(80)]
    asked = {"even": words[::2], "odd": words[1::2]}
    world = load("world.pt", prompts=asked)
    assert (world.task, world.names) == ("detection", ())
    found = _ask(world, ("even", "odd"))
    assert {a.label for a in found} == {"even", "odd"}
    for label in asked:
        some = [a for a in found if a.label == label]
        assert (overlap.iou(some, some) - np.eye(len(some))).max() <= 0.7
    with pytest.raises(ModelError) as error:
        _ask(world, ("zebra",))
    assert str(error.value) == (
        "model 'ultralytics:world.pt': needs the text encoder package clip for other words than its own"
        " -> take open-vocabulary:IDEA-Research/grounding-dino-tiny"
    )


@pytest.mark.slow
def test_without_an_image_size_it_is_the_one_it_was_trained_at(tmp_path: Path, load: Load) -> None:
    (tmp_path / "digits.pt").write_bytes(PRINTED.read_bytes())
    own, told = (load("digits.pt", threshold=0.001, image_size=size) for size in (None, 384))
    assert [a.box for a in _ask(own)] == [a.box for a in _ask(told)]
    assert own.revision != told.revision

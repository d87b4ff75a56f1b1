"""The contract every annotator keeps: ultralytics on real weights, the others on tiny random ones."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ZIPCODES
from tests.tiny_models import BUILDERS, NAMES
from workflow import images, models
from workflow.errors import ModelError
from workflow.geometry import box_iou
from workflow.models import Annotator
from workflow.records import Annotation

DIGITS = tuple("0123456789")
BASE = "ultralytics:base/printed-digits.pt"
SPECS = (
    BASE,
    "detr:tiny/rtdetr-v2",
    "detr:tiny/d-fine",
    "detr:tiny/deformable-detr",
    "detr:tiny/detr",
    "open-vocabulary:tiny/grounding-dino",
    "open-vocabulary:tiny/owlv2",
)


def test_every_family_has_a_contract() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == set(models.MODELS)
    assert {spec.partition("/")[2] for spec in SPECS if "tiny" in spec} == set(BUILDERS)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with every checkpoint of SPECS."""
    folder = tmp_path_factory.mktemp("checkpoints")
    shutil.copytree(ZIPCODES / "base", folder / "base")
    for name, build in BUILDERS.items():
        build(folder / "tiny" / name)
    return folder


def _load(spec: str, folder: Path, **settings: Any) -> Annotator:
    defaults: dict[str, Any] = {"threshold": 0.1, "image_size": 384, "device": "cpu", "log": folder / "log"}
    return models.load(spec, folder, **(defaults | settings))


@pytest.fixture(scope="module", params=SPECS)
def annotator(request: pytest.FixtureRequest, folder: Path) -> Iterator[Annotator]:
    loaded = _load(request.param, folder)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def pictures(envelopes: Path) -> list[np.ndarray]:
    return [images.load(p) for p in sorted((envelopes / "images").glob("sender-0*-envelope-*.jpg"))[:4]]


def _boxes(guesses: tuple[Annotation, ...]) -> np.ndarray:
    return np.array([a.box for a in guesses]).reshape(-1, 4)


def test_guesses_lie_within_the_image_best_first(annotator: Annotator, pictures: list) -> None:
    found = annotator.annotate(pictures, [()] * len(pictures), DIGITS)
    assert len(found) == len(pictures)
    assert sum(map(len, found)) > 5
    for picture, guesses in zip(pictures, found, strict=True):
        height, width = picture.shape[:2]
        scores = [a.score for a in guesses]
        assert scores == sorted(scores, reverse=True)
        assert all(0.1 <= s <= 1 for s in scores)
        assert all(a.within(width, height) and a.label in DIGITS for a in guesses)
        assert {a.provenance.name for a in guesses} <= {annotator.name}


def test_a_batch_says_what_single_images_say(annotator: Annotator, pictures: list) -> None:
    mixed = [*pictures, np.ascontiguousarray(pictures[0].transpose(1, 0, 2))]
    together = annotator.annotate(mixed, [()] * len(mixed), DIGITS)
    for picture, guesses in zip(mixed, together, strict=True):
        (alone,) = annotator.annotate([picture], [()], DIGITS)
        assert [a.label for a in alone] == [a.label for a in guesses]
        assert _boxes(alone) == pytest.approx(_boxes(guesses), abs=1e-2)
        assert [a.score for a in alone] == pytest.approx([a.score for a in guesses], abs=1e-4)


def test_the_same_image_gets_the_same_guesses(annotator: Annotator, pictures: list) -> None:
    first, again = (annotator.annotate(pictures[:1], [()], DIGITS) for _ in range(2))
    assert first == again


def test_an_empty_image_gets_none(annotator: Annotator) -> None:
    if "tiny" in annotator.name:
        pytest.skip("random weights see things everywhere")
    assert annotator.annotate([np.full((64, 96, 3), 128, np.uint8)], [()], DIGITS) == [()]


@pytest.mark.parametrize("spec", SPECS[1:])
def test_nothing_above_the_threshold_is_no_guess(spec: str, folder: Path, pictures: list) -> None:
    strict = _load(spec, folder, threshold=1.0)
    assert strict.annotate(pictures[:2], [()] * 2, DIGITS) == [(), ()]
    assert strict.annotate([], [], DIGITS) == []
    strict.close()


def test_only_the_classes_asked_for_come_back(annotator: Annotator, pictures: list) -> None:
    found = annotator.annotate(pictures, [()] * len(pictures), ("1", "2"))
    assert {a.label for guesses in found for a in guesses} <= {"1", "2"}


def test_its_names_are_what_it_can_tell(annotator: Annotator) -> None:
    expected = {"ultralytics": DIGITS, "detr": tuple(NAMES.values()), "open-vocabulary": ()}
    assert annotator.names == expected[annotator.name.partition(":")[0]]


def test_the_order_of_the_classes_changes_nothing(annotator: Annotator, pictures: list) -> None:
    if "grounding-dino" in annotator.name:
        pytest.skip("it reads the prompts as one sentence")
    ordered, reversed_ = (annotator.annotate(pictures[:1], [()], names) for names in (DIGITS, DIGITS[::-1]))
    assert ordered == reversed_


def test_gray_transparent_and_deep_images_are_seen(annotator: Annotator, tmp_path: Path) -> None:
    gray = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (64, 1))
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([gray] * 3 + [np.full_like(gray, 255)])).save(tmp_path / "rgba.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    decoded = [images.load(tmp_path / f"{name}.png") for name in ("gray", "rgba", "deep")]
    first, *others = annotator.annotate(decoded, [()] * 3, DIGITS)
    assert all(_boxes(other) == pytest.approx(_boxes(first), abs=1e-2) for other in others)


def test_no_known_class_is_one_clear_line(annotator: Annotator, pictures: list) -> None:
    if not annotator.names:
        pytest.skip("it finds whatever it is told")
    some = ", ".join(annotator.names[:8])
    with pytest.raises(ModelError) as error:
        annotator.annotate(pictures[:1], [()], ("zebra",))
    assert str(error.value) == (
        f"model {annotator.name!r}: none of its classes ({some}, ...) is one of the project's"
        " -> set preannotate.class_map"
    )


def test_a_turned_file_gives_upright_boxes(annotator: Annotator, pictures: list, tmp_path: Path) -> None:
    upright = pictures[0]
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    turned = images.load(tmp_path / "turned.png")
    assert (turned == upright).all()
    assert annotator.annotate([turned], [()], DIGITS) == annotator.annotate([upright], [()], DIGITS)


def test_our_process_stays_as_it_was(annotator: Annotator) -> None:
    assert "ultralytics" not in sys.modules
    assert Image.open.__module__ == "PIL.Image"


FAMILIES = "families: ultralytics, detr, open-vocabulary, run"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("yolo", f"model 'yolo': no family 'yolo' -> {FAMILIES}"),
        ("yolo:a.pt", f"model 'yolo:a.pt': no family 'yolo' -> {FAMILIES}"),
        (
            "ultralitics:a.pt",
            "model 'ultralitics:a.pt': no family 'ultralitics' -> did you mean ultralytics:...?",
        ),
        ("ultralytics:", "model 'ultralytics:': names no checkpoint -> write ultralytics:CHECKPOINT"),
        ("run:nothing", "no finished run 'nothing' -> runs: none; workflow train"),
        ("run:../../etc", "no finished run '../../etc' -> runs: none; workflow train"),
    ],
)
def test_a_wrong_spec_is_one_line(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(ModelError) as error:
        models.resolve(spec, tmp_path)
    assert str(error.value) == message


def test_a_bare_name_is_ultralytics(tmp_path: Path) -> None:
    assert models.resolve("yolo11n.pt", tmp_path) == ("ultralytics", "yolo11n.pt")
    (tmp_path / "yolo11n.pt").touch()
    assert models.resolve("yolo11n.pt", tmp_path) == ("ultralytics", tmp_path / "yolo11n.pt")


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("ultralytics:no/such.pt", "no/such.pt is not on this machine, and no name of ultralytics' either"),
        (
            "no-such-model-of-theirs.pt",
            "no-such-model-of-theirs.pt is not on this machine, and cannot be fetched from ultralytics"
            " (unknown there, or no network)",
        ),
    ],
)
def test_what_is_nowhere_says_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, problem: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ModelError) as error:
        models.fetch(spec, tmp_path)
    assert error.value.problem == problem
    assert error.value.fix.startswith("put a .pt file into the project folder and name it")


def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path) -> None:
    """A pickle in a .pt file may not act: only weights are read."""
    import pickle

    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "owned",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Attack()))
    log = tmp_path / "log"
    with pytest.raises(ModelError):
        models.load("ultralytics:evil.pt", tmp_path, threshold=0.1, image_size=64, device="cpu", log=log)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("spec", SPECS)
def test_classes_are_mapped_by_name(spec: str, folder: Path, pictures: list) -> None:
    loaded = _load(spec, folder, class_map=dict.fromkeys("0135789", "stroke"))
    try:
        found = loaded.annotate(pictures, [()] * len(pictures), ("stroke",))
    finally:
        loaded.close()
    assert {a.label for guesses in found for a in guesses} == {"stroke"}


@pytest.mark.parametrize("spec", SPECS[1:])
def test_one_label_a_place_keeps_the_best_only(spec: str, folder: Path, pictures: list) -> None:
    many, few = (_load(spec, folder, one_label_a_place=v) for v in (False, True))
    (all_of_them,), (kept,) = (m.annotate(pictures[:1], [()], DIGITS) for m in (many, few))
    assert kept[0].box == all_of_them[0].box
    overlaps = box_iou(_boxes(kept), _boxes(kept)) - np.eye(len(kept))
    assert overlaps.max() <= 0.7 + 1e-6

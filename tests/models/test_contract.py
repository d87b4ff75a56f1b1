"""The contract every annotator keeps: on the tiny models of `tests/tiny`, through the path users take."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from tests.tiny import CASES, DIGITS, Case
from tests.tiny.processes import start_worker
from workflow import models
from workflow.errors import ModelError
from workflow.images import decode
from workflow.models import Annotator, Guesses, Options, Pixels, Reducing, Whole
from workflow.models.frame import Frame
from workflow.models.slices import sliced
from workflow.project.settings import Slices
from workflow.records import Annotation, Provenance
from workflow.shapes import masks, overlap
from workflow.shapes.matching import score_of
from workflow.tasks import TASKS

BOXER = Provenance("model", "boxer")


def test_every_family_has_a_contract() -> None:
    assert {case.family for case in CASES.values()} == set(models.MODELS)
    for family, row in models.MODELS.items():
        tried = {case.task for case in CASES.values() if case.family == family}
        assert tried == set(row.tasks), f"{family} is not tried on all it says it can do"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with the checkpoint of every case, made when first asked for."""
    return tmp_path_factory.mktemp("checkpoints")


def _load(case: Case, folder: Path, **settings: Any) -> Annotator:
    if not (folder / case.checkpoint).exists():
        (folder / case.checkpoint).parent.mkdir(parents=True, exist_ok=True)
        case.build(folder / case.checkpoint)
    defaults: dict[str, Any] = {"threshold": case.threshold, "device": "cpu", "log": folder / "log"}
    return models.load(case.spec, folder, Options(**(defaults | dict(case.options) | settings)))


def _marked(cases: Iterable[Case]) -> list[Any]:
    return [pytest.param(c, id=c.spec, marks=[pytest.mark.slow] * c.slow) for c in cases]


@pytest.fixture(scope="module", params=_marked(CASES.values()))
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(autouse=True, scope="module")
def _processes() -> Iterator[None]:
    """Starting one a test would take most of the time; that they start is tested in test_ultralytics.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow.models.ultralytics.start_worker", start_worker)
        yield


@pytest.fixture(scope="module")
def annotator(case: Case, folder: Path) -> Iterator[Annotator]:
    loaded = _load(case, folder)
    yield loaded
    loaded.close()


@pytest.fixture(autouse=True)
def _skip_what_has_no_meaning(request: pytest.FixtureRequest) -> None:
    """A case says by a word of the test's name which tests have no meaning for it, and why."""
    if "case" in request.fixturenames:
        for word, reason in request.getfixturevalue("case").skip.items():
            if word in request.node.originalname:
                pytest.skip(reason)


@pytest.fixture(scope="module")
def pictures(envelopes: Path) -> list[Pixels]:
    return [decode.from_file(p) for p in sorted((envelopes / "images").glob("sender-0*-envelope-*.jpg"))[:4]]


def _ask(
    annotator: Annotator, case: Case, pictures: list[Pixels], classes: tuple[str, ...] = DIGITS
) -> list[Guesses]:
    """Ask as a chain would: what needs boxes gets two of each image, of the first and the last class."""
    prior: list[Guesses] = [() for _ in pictures]
    if case.prior:
        prior = [
            (
                Annotation(classes[0], BOXER, box=(0.0, 0.0, p.shape[1] / 2, p.shape[0] / 2), score=0.9),
                Annotation(classes[-1], BOXER, box=(8.0, 8.0, p.shape[1] - 8.0, p.shape[0] - 8.0), score=0.6),
            )
            for p in pictures
        ]
    return annotator.annotate(pictures, prior, classes)


def _same(one: Guesses, other: Guesses) -> None:
    """The same labels in the same order, scores within 1e-4, boxes within 0.01 px, masks all but equal."""
    assert [a.label for a in one] == [a.label for a in other]
    assert [a.score for a in one] == pytest.approx([a.score for a in other], abs=1e-4)
    assert [a.geometry for a in one] == [a.geometry for a in other]
    for a, b in zip(one, other, strict=True):
        if a.box is not None:
            assert a.box == pytest.approx(b.box, abs=1e-2)
        elif a.geometry:
            assert overlap.iou([a], [b])[0, 0] > 0.99


def test_guesses_are_of_its_task_within_the_image_best_first(
    annotator: Annotator, case: Case, pictures: list
) -> None:
    assert annotator.task == case.task
    found = _ask(annotator, case, pictures)
    assert len(found) == len(pictures)
    assert sum(map(len, found)) > 3
    for picture, guesses in zip(pictures, found, strict=True):
        height, width = picture.shape[:2]
        scores = [score_of(a) for a in guesses]
        assert all((a.score is not None) == case.scored for a in guesses)
        assert all(case.threshold <= s <= 1 for s in scores)
        assert scores == sorted(scores, reverse=True)
        assert all(a.within(width, height) and a.label in DIGITS for a in guesses)
        assert all(TASKS[case.task].takes(a) for a in guesses)
        assert {(a.mask.width, a.mask.height) for a in guesses if a.mask} <= {(width, height)}
        assert {a.provenance.name for a in guesses} <= {annotator.name}


def test_a_batch_says_what_single_images_say(annotator: Annotator, case: Case, pictures: list) -> None:
    mixed = [*pictures, np.ascontiguousarray(pictures[0].transpose(1, 0, 2))]
    together = _ask(annotator, case, mixed)
    for picture, guesses in zip(mixed, together, strict=True):
        (alone,) = _ask(annotator, case, [picture])
        _same(alone, guesses)


def test_the_same_image_gets_the_same_guesses(annotator: Annotator, case: Case, pictures: list) -> None:
    first, again = (_ask(annotator, case, pictures[:1]) for _ in range(2))
    assert first == again


def test_an_empty_image_gets_none(annotator: Annotator, case: Case) -> None:
    if "tiny" in annotator.name:
        pytest.skip("random weights see things everywhere")
    assert _ask(annotator, case, [np.full((64, 96, 3), 128, np.uint8)]) == [()]


def test_nothing_above_the_threshold_is_no_guess(case: Case, folder: Path, pictures: list) -> None:
    strict = _load(case, folder, threshold=1.0)
    assert _ask(strict, case, pictures[:2]) == [(), ()]
    assert strict.annotate([], [], DIGITS) == []
    strict.close()


def test_only_the_classes_asked_for_come_back(annotator: Annotator, case: Case, pictures: list) -> None:
    found = _ask(annotator, case, pictures, ("1", "2"))
    assert {a.label for guesses in found for a in guesses} <= {"1", "2"}


def test_its_names_are_what_it_can_tell(annotator: Annotator, case: Case) -> None:
    assert annotator.names == case.names


def test_the_order_of_the_classes_changes_nothing(annotator: Annotator, case: Case, pictures: list) -> None:
    if case.prior:
        pytest.skip("it labels nothing")
    ordered, reversed_ = (_ask(annotator, case, pictures[:1], names) for names in (DIGITS, DIGITS[::-1]))
    assert ordered == reversed_


def test_gray_transparent_and_deep_images_are_seen(annotator: Annotator, case: Case, tmp_path: Path) -> None:
    gray = np.tile(np.linspace(0, 255, 96, dtype=np.uint8), (64, 1))
    Image.fromarray(gray).save(tmp_path / "gray.png")
    Image.fromarray(np.dstack([gray] * 3 + [np.full_like(gray, 255)])).save(tmp_path / "rgba.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    decoded = [decode.from_file(tmp_path / f"{name}.png") for name in ("gray", "rgba", "deep")]
    first, *others = _ask(annotator, case, decoded)
    for other in others:
        _same(first, other)


def test_no_known_class_is_one_clear_line(annotator: Annotator, case: Case, pictures: list) -> None:
    if not annotator.names:
        pytest.skip("it finds whatever it is told")
    some = ", ".join(annotator.names[:8])
    with pytest.raises(ModelError) as error:
        annotator.annotate(pictures[:1], [()], ("zebra",))
    assert str(error.value) == (
        f"model {annotator.name!r}: none of its classes ({some}, ...) is one of the project's"
        " -> set preannotate.class_map"
    )


def test_a_turned_file_gives_upright_guesses(
    annotator: Annotator, case: Case, pictures: list, tmp_path: Path
) -> None:
    upright = pictures[0]
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    turned = decode.from_file(tmp_path / "turned.png")
    assert (turned == upright).all()
    assert _ask(annotator, case, [turned]) == _ask(annotator, case, [upright])


def test_classes_are_mapped_by_name(case: Case, folder: Path, pictures: list) -> None:
    if case.prior:
        pytest.skip("it labels nothing")
    loaded = _load(case, folder, class_map=dict.fromkeys("0135789", "stroke"))
    try:
        found = _ask(loaded, case, pictures, ("stroke",))
    finally:
        loaded.close()
    assert {a.label for guesses in found for a in guesses} == {"stroke"}


def test_our_process_stays_as_it_was(annotator: Annotator) -> None:
    assert "ultralytics" not in sys.modules
    assert Image.open.__module__ == "PIL.Image"


BOXERS = [case for case in CASES.values() if case.task == "detection" and "tiny" in case.spec]


@pytest.mark.parametrize("case", _marked(BOXERS))
def test_one_label_a_place_keeps_the_best_only(case: Case, folder: Path, pictures: list) -> None:
    answers = []
    for one in (False, True):
        with closing(_load(case, folder, one_label_a_place=one)) as annotator:
            answers += _ask(annotator, case, pictures[:1])
    all_of_them, kept = answers
    assert kept[0].box == all_of_them[0].box
    overlaps = overlap.iou(kept, kept) - np.eye(len(kept))
    assert overlaps.max() <= 0.7 + 1e-6


FAMILIES = f"families: {', '.join(models.MODELS)}, run"


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
    options = Options(device="cpu", log=tmp_path / "log")
    with pytest.raises(ModelError):
        models.load("ultralytics:evil.pt", tmp_path, options)
    assert not (tmp_path / "owned").exists()


def _painted(guesses: Guesses, label: str) -> NDArray[np.bool_]:
    """Where anything of a label is."""
    return np.logical_or.reduce([masks.decode(a.mask) for a in guesses if a.mask and a.label == label])


def test_in_slices_it_keeps_the_contract_and_in_one_slice_it_says_the_same(
    annotator: Annotator, case: Case, pictures: list
) -> None:
    if case.prior or not TASKS[case.task].geometry:
        return
    picture = np.ascontiguousarray(pictures[0][:140, :200])
    height, width = picture.shape[:2]

    def ask(**slices: Any) -> Guesses:
        shown = sliced(annotator, Options(slices=Slices(**slices), max_det=40))
        return shown.annotate([picture], [()], DIGITS)[0]

    assert ask(size=width) == annotator.annotate([picture], [()], DIGITS)[0]
    found = ask(size=140, overlap=0.25)
    scores = [score_of(a) for a in found]
    assert found
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= case.threshold
    assert all(a.within(width, height) and a.label in DIGITS for a in found)
    assert {(a.mask.width, a.mask.height) for a in found if a.mask} <= {(width, height)}
    assert all(TASKS[case.task].takes(a) for a in found)
    assert {a.parent for a in found} <= {"", *(a.id for a in found)}
    assert sum(not a.parent for a in found) <= 40


# These are always shown the whole image.
WHOLE_ONLY = ("sam", "own")


def test_of_a_reduced_image_it_answers_in_pixels_of_the_whole(
    annotator: Annotator, case: Case, pictures: list
) -> None:
    """The same pixels, as an image and as one that is twice as large but for its last row and column."""
    if case.family in WHOLE_ONLY:
        assert not isinstance(annotator, Reducing) or annotator.least(4000, 4000) is None
        return
    assert isinstance(annotator, Reducing)
    picture = pictures[0]
    height, width = (2 * side - 1 for side in picture.shape[:2])
    (small,) = annotator.annotate([picture], [()], DIGITS)
    (large,) = annotator.annotate_reduced([picture], [Whole(height, width, 2)], DIGITS)
    assert small
    assert all(a.within(width, height) for a in large)
    if case.task in ("classification", "multilabel-classification"):
        assert [(a.label, a.score) for a in large] == [(a.label, a.score) for a in small]
        return
    if large[0].mask:
        assert {(a.mask.width, a.mask.height) for a in large if a.mask} == {(width, height)}
        usual, ours = (_painted(guesses, small[0].label) for guesses in (small, large))
        # What random weights draw may be a pixel thin, and lies a quarter of one off here.
        for one, other in ((usual, ours[::2, ::2]), (ours[::2, ::2], usual)):
            assert (one & binary_dilation(other, np.ones((3, 3)))).sum() > 0.95 * one.sum()
        return
    assert [a.label for a in large[:5]] == [a.label for a in small[:5]]
    assert [a.score for a in large[:5]] == pytest.approx([a.score for a in small[:5]], abs=1e-4)
    for a, b in zip(large[:5], small[:5], strict=True):
        if a.box and b.box:
            doubled = [min(2 * v, side) for v, side in zip(b.box, (width, height) * 2, strict=True)]
            assert a.box == pytest.approx(doubled, abs=0.02)
        elif a.rotated_box and b.rotated_box:
            one, other = a.rotated_box, b.rotated_box
            assert (one.cx, one.cy, one.width) == pytest.approx(
                (2 * other.cx, 2 * other.cy, 2 * other.width), abs=0.02
            )
        else:
            assert np.array(a.keypoints) == pytest.approx(2 * np.array(b.keypoints), abs=0.02)


@pytest.mark.parametrize("size", [(1200, 1600), (1080, 1920), (1600, 1200)])
def test_a_reduced_image_is_no_smaller_than_what_it_sees(
    case: Case, folder: Path, size: tuple[int, int]
) -> None:
    """What comes out of its preparation is no larger than what it says is enough."""
    loaded = _load(case, folder, exact_decode=False)
    try:
        least = loaded.least(*size) if isinstance(loaded, Reducing) else None
        if least is None:
            return
        assert least[0] <= size[0] and least[1] <= size[1]
        if isinstance(loaded, Frame) and case.family != "ultralytics":
            ((_, inputs),) = loaded._batches([np.zeros((*size, 3), np.uint8)])
            inputs = inputs["pixel_values"] if isinstance(inputs, dict) else inputs
            if hasattr(inputs, "shape"):
                assert max(inputs.shape[-2:]) <= max(least) + 32
    finally:
        loaded.close()

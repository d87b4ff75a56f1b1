"""Planted wrong guesses: the same ones again, and gone from the labels unless a person made them theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.samples import CLASSES, HEIGHT, ME, WIDTH, draw_objects, shifted, truth_of
from workflow.errors import FormatError
from workflow.labels.ledger import compare
from workflow.labels.probes import APART, is_probe, judge, plant, without
from workflow.labelstudio import regions as labelstudio
from workflow.records import Annotation, ImageRecord, Mask, Provenance, RotatedBox
from workflow.schema import Schema
from workflow.shapes import overlap
from workflow.tasks import TASKS

PROBED = [name for name, task in TASKS.items() if task.of_objects]

MODEL = Provenance("model", "m", "1")
WIDE = 4

SCHEMA = Schema.of("detection", CLASSES)


def _record(number: int, width: int = WIDTH * WIDE, height: int = HEIGHT) -> ImageRecord:
    return ImageRecord(f"{number:016x}", f"{number}.png", width, height, "train")


def _guesses(task: str, number: int = 0) -> tuple[Annotation, ...]:
    """Guesses of one object, in an image wide enough for another."""
    found = truth_of(task, draw_objects(4 * number))
    return tuple(
        replace(a, provenance=MODEL, score=0.25 + n / 10, id=a.id or f"r{n}", mask=_widened(a))
        for n, a in enumerate(found)
    )


def _widened(a: Annotation) -> Mask | None:
    if a.mask is None:
        return None
    parts = overlap.masks.outlines(a.mask)[0]
    return overlap.masks.from_polygons(parts, HEIGHT, WIDTH * WIDE)


def _planted(task: str, number: int = 0) -> tuple[tuple[Annotation, ...], tuple[Annotation, ...]]:
    guesses = _guesses(task, number)
    both = plant(guesses, _record(number), Schema.of(task, CLASSES), 0.999999)
    assert both[: len(guesses)] == guesses
    return guesses, both[len(guesses) :]


@pytest.mark.parametrize("task", PROBED)
@pytest.mark.parametrize("number", range(6))
def test_a_probe_is_a_copy_that_overlaps_nothing_and_has_another_name(task: str, number: int) -> None:
    guesses, probe = _planted(task, number)
    shape, *points = probe
    assert overlap.iou([shape], [g for g in guesses if not g.keypoints]).max() < APART
    assert shape.label in CLASSES
    assert shape.label not in {g.label for g in guesses}
    assert shape.score in {g.score for g in guesses}
    assert shape.provenance == MODEL
    assert [a.id for a in probe] == [f"probe-{n}" for n in range(len(probe))]
    assert all(p.parent == "probe-0" for p in points)
    assert (task == "keypoints") == bool(points)
    x1, y1, x2, y2 = overlap.as_box(shape)
    assert x1 >= 0 and y1 >= 0 and x2 <= WIDTH * WIDE and y2 <= HEIGHT
    # Moved as it was: the size is that of the guess.
    a1, b1, a2, b2 = overlap.as_box(guesses[0])
    assert (x2 - x1, y2 - y1) == pytest.approx((a2 - a1, b2 - b1))
    if points:
        own = [g for g in guesses if g.parent == guesses[0].id]
        assert [p.label for p in points] == [g.label for g in own]
        step = x1 - a1, y1 - b1
        for p, g in zip(points, own, strict=True):
            (px, py), (gx, gy) = p.keypoints[0], g.keypoints[0]
            assert (px - gx, py - gy) == pytest.approx(step)


@pytest.mark.parametrize("task", PROBED)
def test_planting_again_gives_the_same(task: str) -> None:
    assert _planted(task) == _planted(task)


@pytest.mark.parametrize("task", sorted(TASKS.keys() - set(PROBED)))
def test_labels_of_whole_images_and_painted_classes_have_none(task: str) -> None:
    guesses = _guesses(task)
    assert guesses
    assert plant(guesses, _record(0), Schema.of(task, CLASSES), 0.999999) == guesses


def test_a_share_of_the_images_has_a_probe_and_a_larger_share_those_too() -> None:
    guesses = _guesses("detection")

    def chosen(share: float) -> set[int]:
        count = range(2000)
        return {n for n in count if len(plant(guesses, _record(n), SCHEMA, share)) > len(guesses)}

    none, few, more = chosen(0.0), chosen(0.1), chosen(0.3)
    assert none == set()
    assert 160 < len(few) < 240
    assert few < more
    assert 540 < len(more) < 660


def test_where_no_place_is_free_nothing_is_planted() -> None:
    full = (Annotation("disk", MODEL, box=(0, 0, 90, 70), score=0.5, id="r0"),)
    assert plant(full, _record(1, 96, 72), SCHEMA, 0.999999) == full
    whole = (Annotation("disk", MODEL, box=(0.5, 0, 96, 71.5), score=0.5, id="r0"),)
    assert plant(whole, _record(1, 96, 72), SCHEMA, 0.999999) == whole
    # A rotated box may reach over the edge, and there is nowhere to move it.
    turned = (Annotation("disk", MODEL, rotated_box=RotatedBox(48, 36, 120, 20, 10), score=0.5, id="r0"),)
    assert plant(turned, _record(1, 96, 72), Schema.of("oriented-detection", CLASSES), 0.999999) == turned
    assert plant((), _record(1), SCHEMA, 0.999999) == ()
    # The small guess finds a place where the large one does not.
    small = Annotation("bar", MODEL, box=(92, 71, 93, 72), score=0.4, id="r1")
    both = plant((*full, small), _record(1, 96, 72), SCHEMA, 0.999999)
    assert overlap.as_box(both[2])[2] - overlap.as_box(both[2])[0] == 1


def test_a_project_of_one_class_has_probes_of_it() -> None:
    guesses = (Annotation("disk", MODEL, box=(0, 0, 9, 9), score=0.5, id="r0"),)
    (_, probe) = plant(guesses, _record(1), Schema.of("detection", ["disk"]), 0.999999)
    assert probe.label == "disk"


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_an_id_that_is_kept_for_probes_is_refused(share: float) -> None:
    mine = (Annotation("disk", MODEL, box=(0, 0, 9, 9), id="probe-7"),)
    with pytest.raises(FormatError) as caught:
        plant(mine, _record(1), SCHEMA, share)
    message = "1.png: a guess has the id 'probe-7', and probe-... is kept for probes -> rename it"
    assert str(caught.value) == message


def _submitted(task: str, annotations: tuple[Annotation, ...]) -> list[Annotation]:
    """As they come back from Label Studio, of a person."""
    controls = labelstudio.controls(TASKS[task], "brush")
    regions = labelstudio.to_result(annotations, WIDTH * WIDE, HEIGHT, controls=controls)
    return labelstudio.from_result(regions, WIDTH * WIDE, HEIGHT, ME, controls=controls).annotations


@pytest.mark.parametrize("task", PROBED)
class TestThroughLabelStudio:
    """Guesses and a probe, as a person was shown them and gave them back."""

    @pytest.fixture
    def shown(self, task: str) -> list[Annotation]:
        guesses, probe = _planted(task)
        return _submitted(task, guesses + probe)

    def test_left_as_it_was_it_is_no_label(self, task: str, shown: list[Annotation]) -> None:
        kept, rows = judge(shown, shown)
        assert kept == without(shown)
        assert len(kept) == len(_guesses(task))
        assert rows == [{"id": "probe-0", "caught": False}]

    def test_copied_in_the_editor_it_is_no_label_either(self, task: str, shown: list[Annotation]) -> None:
        names = {a.id: f"n{n}" for n, a in enumerate(shown) if is_probe(a)}
        renamed = [replace(a, id=names.get(a.id, a.id), parent=names.get(a.parent, a.parent)) for a in shown]
        kept, rows = judge(shown, renamed)
        assert (kept, rows[0]["caught"]) == (without(shown), False)

    def test_deleted_it_is_caught(self, task: str, shown: list[Annotation]) -> None:
        assert judge(shown, without(shown)) == (without(shown), [{"id": "probe-0", "caught": True}])

    def test_renamed_or_moved_it_is_the_persons(self, task: str, shown: list[Annotation]) -> None:
        label = next(name for name in CLASSES if name != next(a for a in shown if a.id == "probe-0").label)
        for now in (
            [replace(a, label=label) if a.id == "probe-0" else a for a in shown],
            [_nudged(a) if a.id == "probe-0" else a for a in shown],
        ):
            assert judge(shown, now) == (tuple(now), [{"id": "probe-0", "caught": True}])

    def test_it_counts_as_no_guess_of_the_model(self, task: str, shown: list[Annotation]) -> None:
        kept, _ = judge(shown, shown)
        assert {row["action"] for row in compare(without(shown), kept)} == {"accepted"}
        # What a person made of a probe they added.
        moved = [_nudged(a) if a.id == "probe-0" else a for a in shown]
        kept, _ = judge(shown, moved)
        words = [row["action"] for row in compare(without(shown), kept)]
        assert words.count("added") == len(shown) - len(without(shown))
        assert "deleted" not in words


def _nudged(a: Annotation) -> Annotation:
    if a.mask is None:
        return shifted(a, 1)
    pixels = overlap.masks.decode(a.mask)
    pixels[0, 0] = True
    return replace(a, mask=overlap.masks.encode(pixels))


def test_outlines_have_probes_too() -> None:
    parts = (((2.5, 2), (12, 2), (12, 12)), ((20, 2), (30.25, 2), (30, 12)))
    guesses = (Annotation("disk", MODEL, polygons=parts, score=0.5, id="r0"),)
    _, probe = plant(guesses, _record(1), Schema.of("instance-segmentation", CLASSES), 0.999999)
    steps = {
        (round(x - a, 9), round(y - b, 9))
        for part, was in zip(probe.polygons, parts, strict=True)
        for (x, y), (a, b) in zip(part, was, strict=True)
    }
    assert len(steps) == 1
    shown = [*guesses, probe]
    assert judge(shown, shown) == (guesses, [{"id": "probe-0", "caught": False}])


def test_points_of_a_probe() -> None:
    guesses, (box, *points) = _planted("keypoints")
    shown = [*guesses, box, *points]
    # Without one of its points somebody looked at it, but what is left of it is no label.
    assert judge(shown, shown[:-1]) == (guesses, [{"id": "probe-0", "caught": True}])
    # Its box deleted and its points forgotten.
    assert judge(shown, [*guesses, *points]) == (guesses, [{"id": "probe-0", "caught": True}])
    # A point of it dragged to where it belongs, or one hung under its box: all of it is theirs.
    for now in (
        [*guesses, box, points[0], *(_nudged(p) for p in points[1:])],
        [*shown, replace(points[0], id="mine", label="right")],
    ):
        assert judge(shown, now) == (tuple(now), [{"id": "probe-0", "caught": True}])


def test_without_a_probe_nothing_is_judged() -> None:
    guesses = _guesses("detection")
    mine = (Annotation("disk", ME, box=(1, 1, 5, 5)),)
    assert judge(guesses, mine) == (mine, [])
    assert judge((), ()) == ((), [])


def test_a_second_label_on_a_probe_is_the_persons_doing() -> None:
    guesses, (probe,) = _planted("detection")
    second = replace(probe, label=guesses[0].label)
    now = (*guesses, probe, second)
    assert judge((*guesses, probe), now) == (now, [{"id": "probe-0", "caught": True}])

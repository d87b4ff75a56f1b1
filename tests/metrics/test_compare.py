"""Intervals and comparisons: the same as measuring again what was drawn, and right as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from workflow.metrics import measure, weigh
from workflow.metrics.compare import Change, Comparison, compare, confidence, headline_intervals, in_words
from workflow.metrics.evidence import Evidence
from workflow.metrics.resampling import Interval, draw, interval
from workflow.records import Annotation, Provenance
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.shapes.matching import above, match
from workflow.tasks import TaskName

MODEL = Provenance("model", "m")
CLASSES = ("cat", "dog", "eel")
SIZE = 60
COUNT = 12

Sides = tuple[dict[str, tuple[int, int]], dict[str, list[Annotation]], dict[str, list[Annotation]]]


def scene(task: TaskName, count: int = COUNT, seed: int = 3) -> Sides:
    """Images with labels at random, and guesses that are right more often than not."""
    rng = np.random.default_rng(seed)
    images = {f"{n:03}": (SIZE, SIZE) for n in range(count)}
    truth, guesses = {}, {}
    for image in images:
        truth[image] = [_truth(task, rng) for _ in range(1 if task == "classification" else 3)]
        guesses[image] = [_guess(a, rng) for a in truth[image] for _ in range(rng.integers(1, 3))]
    if task in ("classification", "multilabel-classification"):
        # A label is there once.
        for side in (truth, guesses):
            for image, some in side.items():
                side[image] = list({a.label: a for a in some}.values())
    return images, truth, guesses


def _truth(task: TaskName, rng: np.random.Generator) -> Annotation:
    label = str(rng.choice(CLASSES[:2]))
    if task in ("classification", "multilabel-classification"):
        return Annotation(label, MODEL)
    x, y = rng.integers(0, SIZE - 20, 2)
    if task == "detection":
        return Annotation(label, MODEL, box=(float(x), float(y), float(x + 12), float(y + 12)))
    pixels = np.zeros((SIZE, SIZE), dtype=bool)
    pixels[y : y + 12, x : x + 12] = True
    return Annotation(label, MODEL, mask=masks.encode(pixels))


def _guess(truth: Annotation, rng: np.random.Generator) -> Annotation:
    label = truth.label if rng.random() < 0.7 else str(rng.choice(CLASSES))
    # Of labels few scores, so that there are equal ones; equal ones of one image's objects keep together
    # when the image is drawn twice, which COCO's order of files would take apart.
    score = float(rng.random()) if truth.geometry else float(rng.integers(1, 8)) / 8
    box = truth.box and tuple(v + float(rng.integers(0, 3)) for v in truth.box)
    return Annotation(label, MODEL, box=box, mask=truth.mask, score=score)  # type: ignore[arg-type]


def drawn_again(sides: Sides, weights: np.ndarray) -> Sides:
    """The images as often as they were drawn, each under a name of its own that keeps their order."""
    images: dict[str, tuple[int, int]] = {}
    parts: tuple[dict[str, list[Annotation]], ...] = ({}, {})
    for image, count in zip(sorted(sides[0]), weights.tolist(), strict=True):
        for copy in range(count):
            images[f"{image}-{copy}"] = sides[0][image]
            for part, side in zip(parts, sides[1:], strict=True):
                part[f"{image}-{copy}"] = side[image]
    return images, parts[0], parts[1]


TASKS: tuple[TaskName, ...] = (
    "classification",
    "multilabel-classification",
    "detection",
    "instance-segmentation",
    "semantic-segmentation",
)


@pytest.mark.parametrize("task", TASKS)
def test_a_draw_scores_what_its_images_would_score_anew(task: TaskName) -> None:
    schema, sides = Schema.of(task, CLASSES), scene(task)
    metrics, evidence = weigh(schema, *sides)
    weights = np.vstack([np.ones(COUNT, dtype=np.int32), draw([*sides[0]], draws=25)])
    scores, per_class = evidence.scores(weights)
    assert scores[0] == pytest.approx(metrics.score, abs=1e-7)
    column = next(c.key for c in metrics.columns if c.kind == "change")
    for row, score, classes in zip(weights, scores, per_class, strict=True):
        again = measure(schema, *drawn_again(sides, row))
        assert score == pytest.approx(again.score, abs=1e-7)
        for label, value in zip(CLASSES, classes, strict=True):
            expected = again.per_class[label][column]
            assert value == pytest.approx(np.nan if expected is None else expected, abs=1e-7, nan_ok=True)


OTHERS = {
    "classification": {"macro_f1"},
    "multilabel-classification": {"f1", "macro_f1"},
    "detection": {"map50", "f1"},
    "instance-segmentation": {"map50", "f1"},
    "semantic-segmentation": {"dice"},
}


@pytest.mark.parametrize("task", TASKS)
def test_headlines_have_the_intervals_of_their_images_drawn_again(task: TaskName) -> None:
    schema, sides = Schema.of(task, CLASSES), scene(task)
    numbers, evidence = weigh(schema, *sides)
    groups = sorted(sides[0])
    found = headline_intervals(evidence, numbers, groups, confidence(evidence, groups))
    score = next(line.key for line in numbers.headlines if line.name == numbers.metric)
    assert set(found) == {score} | OTHERS[task]
    assert found[score] == confidence(evidence, groups)
    weights, threshold = draw(groups), getattr(numbers, "threshold", 0.0)
    draws = evidence.others(weights, threshold)
    for key in OTHERS[task]:
        assert found[key] == interval(getattr(numbers, key), draws[key])
        assert found[key].low < found[key].value < found[key].high
        for row, value in zip(weights[:20], draws[key][:20], strict=True):
            assert value == pytest.approx(anew(schema, key, drawn_again(sides, row), threshold), abs=1e-7)


def anew(schema: Schema, key: str, sides: Sides, threshold: float) -> float:
    """A number of images drawn again; F1 at the threshold that the model had before."""
    images, truth, guesses = sides
    if key in ("f1", "macro_f1") and schema.task.name != "classification":
        shown = {image: above(some, threshold) for image, some in guesses.items()}
        hits, of_truths, of_guesses = (
            [count(schema, label, images, truth, shown)[n] for label in CLASSES] for n in range(3)
        )
        if key == "f1":
            return 2 * sum(hits) / (sum(of_truths) + sum(of_guesses))
        every = zip(hits, of_truths, of_guesses, strict=True)
        return float(np.mean([2 * h / (t + g) for h, t, g in every if t + g]))
    return getattr(measure(schema, *sides), key)


def count(schema, label, images, truth, shown):
    """Hits, truths and guesses of one class."""
    sides = [
        [[a for a in labels.get(i, ()) if a.label == label] for i in images] for labels in (truth, shown)
    ]
    if schema.task.kind == "labels":
        hits = sum(bool(true and said) for true, said in zip(*sides, strict=True))
    else:
        matches = (m for true, said in zip(*sides, strict=True) for m in match(true, said))
        hits = sum(t is not None and p is not None for t, p, _ in matches)
    return hits, sum(map(len, sides[0])), sum(map(len, sides[1]))


@pytest.mark.parametrize("task", TASKS)
def test_a_slice_scores_what_its_images_score_alone(task: TaskName) -> None:
    schema, sides = Schema.of(task, CLASSES), scene(task)
    chosen = np.arange(COUNT) % 3 == 0
    names = [name for name, kept in zip(sorted(sides[0]), chosen, strict=True) if kept]
    part: Sides = tuple({name: side[name] for name in names} for side in sides)  # type: ignore[assignment]
    value = weigh(schema, *sides)[1].within(chosen).scores(np.ones((1, len(names)), dtype=np.int32))[0][0]
    assert value == pytest.approx(measure(schema, *part).score, abs=1e-7)


def test_groups_are_drawn_whole_and_draws_are_the_same_again() -> None:
    weights = draw(["a", "a", "b", "c", "c", "c"], draws=200)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert set((weights[:, 0] + weights[:, 2] + weights[:, 3]).tolist()) == {3}
    assert weights[:, [0, 2, 3]].mean(axis=0) == pytest.approx([1, 1, 1], abs=0.2)
    assert (weights == draw(["a", "a", "b", "c", "c", "c"], draws=200)).all()
    assert draw([], draws=5).shape == (5, 0)


def evidence_of(right: list[bool]) -> Evidence:
    """Labels of images, right or not."""
    images = {f"{n:05}": (1, 1) for n in range(len(right))}
    truth = {image: [Annotation("cat", MODEL)] for image in images}
    guesses = {
        image: [Annotation("cat" if r else "dog", MODEL, score=1.0)]
        for image, r in zip(images, right, strict=True)
    }
    return weigh(Schema.of("classification", CLASSES), images, truth, guesses)[1]


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_an_interval_of_95_holds_the_truth_as_often(share: float) -> None:
    """Of 1,000 sets of 100 images each, whose labels are right by chance."""
    rng, count = np.random.default_rng(7), 100
    weights = draw([str(n) for n in range(count)], draws=400)
    held = 0
    for right in rng.random((1000, count)) < share:
        scores = weights @ right / count
        found = interval(float(right.mean()), scores)
        assert found.low is not None and found.high is not None
        held += found.low <= share <= found.high
    assert 930 <= held <= 970


def test_a_clear_difference_is_told_and_an_unclear_one_says_how_many_images_would_tell() -> None:
    groups = [str(n) for n in range(100)]
    half = [n % 2 == 0 for n in range(100)]
    most = [n % 10 != 0 for n in range(100)]
    better = compare(evidence_of(half), evidence_of(most), groups, CLASSES)
    assert (better.score.before.value, better.score.after.value) == (0.5, 0.9)
    assert better.score.difference.value == pytest.approx(0.4)
    assert (better.score.verdict, better.score.chance) == ("better", 1.0)
    assert in_words(better.score) == "better, with 100 images"
    worse = compare(evidence_of(most), evidence_of(half), groups, CLASSES)
    assert (worse.score.verdict, worse.score.chance) == ("worse", 0.0)
    nearly = [value or n == 1 for n, value in enumerate(half)]
    unclear = compare(evidence_of(half), evidence_of(nearly), groups, CLASSES).score
    assert unclear.verdict == "cannot be told"
    # One of 100: its error is .00995, so that (2.8 x .00995 / .01)² x 100 images would show it.
    assert unclear.needed == pytest.approx(784 * 0.99, rel=0.1)
    assert in_words(unclear) == f"cannot be told with 100 images; about {unclear.needed} would do"
    same = compare(evidence_of(half), evidence_of(half), groups, CLASSES).score
    assert (same.verdict, same.chance, same.needed, same.difference) == (
        "cannot be told",
        0.5,
        None,
        Interval(0.0, 0.0, 0.0),
    )


@pytest.mark.parametrize(("several", "told"), [(4, False), (5, True)])
def test_a_few_images_tell_nothing_however_clear_they_look(several: int, told: bool) -> None:
    """Draws of four images that all got worse hardly differ, and would call that sure."""
    groups = [str(n) for n in range(40)]
    before, after = evidence_of([True] * 40), evidence_of([n >= several for n in range(40)])
    change = compare(before, after, groups, CLASSES, {"dark": range(several)}).slices["dark"]
    assert change.difference == Interval(-1.0, -1.0, -1.0)
    words = f"worse, with {several} images" if told else f"cannot be told with {several} images"
    assert in_words(change) == words


def test_of_many_slices_a_chance_find_is_none() -> None:
    """Twenty slices without any difference: uncorrected, one or more of them would look better or worse."""
    rng = np.random.default_rng(11)
    count, finds, uncorrected = 400, 0, 0
    groups = [str(n) for n in range(count)]
    slices = {f"s{n}": range(n * 20, n * 20 + 20) for n in range(20)}
    for _ in range(10):
        before, after = (evidence_of((rng.random(count) < 0.8).tolist()) for _ in range(2))
        changes = compare(before, after, groups, CLASSES, slices, draws=400).slices.values()
        finds += sum(change.verdict != "cannot be told" for change in changes)
        uncorrected += sum((c.difference.low or 0) > 0 or (c.difference.high or 0) < 0 for c in changes)
    assert uncorrected >= 5 and finds <= 1


def test_json_and_back() -> None:
    schema, sides = Schema.of("detection", CLASSES), scene("detection")
    evidence = weigh(schema, *sides)[1]
    comparison = compare(evidence, evidence, [*sides[0]], CLASSES, {"first": [0, 1, 2]}, draws=50)
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert isinstance(comparison.slices["first"], Change) and comparison.slices["first"].images == 3
    # No image has an eel: no number, and no verdict.
    assert comparison.per_class["eel"].before == Interval(None, None, None)
    assert comparison.per_class["eel"].chance is None
    assert comparison == compare(evidence, evidence, [*sides[0]], CLASSES, {"first": [0, 1, 2]}, draws=50)


def test_nothing_to_measure_has_no_interval() -> None:
    schema = Schema.of("detection", CLASSES)
    assert confidence(weigh(schema, {}, {}, {})[1], []) == Interval(None, None, None)
    assert confidence(weigh(schema, {"a": (9, 9)}, {}, {})[1], ["a"]) == Interval(None, None, None)

"""The report: exact numbers, nothing from outside, nothing unescaped, and a browser that likes it."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageDraw

from tests.scenes import INKS
from tests.scenes import scene as scene_of
from workflow.metrics import measure, weigh
from workflow.metrics.compare import sureness
from workflow.metrics.detection import detection_metrics
from workflow.records import Annotation, Provenance
from workflow.schema import Schema
from workflow.shapes.matching import Errors
from workflow.shown.figures.colours import TRUTH, TUNED, WRONG
from workflow.shown.figures.pictures import error_window, picture, true_picture
from workflow.shown.report import ReportData, render, write_report
from workflow.shown.report.examples import most_changed, worst_errors
from workflow.shown.report.words import duration, number, signed, told, verdict
from workflow.tasks import TASKS

ANN, MODEL = Provenance("person", "ann"), Provenance("model", "m")
CLASSES = ["disc", "<b>square</b>", "star"]
SCHEMA = Schema.of("detection", CLASSES)
SIZE = (320, 240)


def guess(label, score, box):
    return Annotation(label, MODEL, box=box, score=score)


def scene(count=12):
    """Drawn images with known boxes, a model that is often wrong and one that seldom is."""
    images, truth, base, tuned = {}, {}, {}, {}
    for n in range(count):
        name = f"image-{n:02}"
        disc = (20.0 + 5 * n, 30.0, 80.0 + 5 * n, 90.0)
        square = (180.0, 120.0 - 4 * n, 250.0, 190.0 - 4 * n)
        picture = Image.new("RGB", SIZE, (236, 232, 224))
        draw = ImageDraw.Draw(picture)
        draw.ellipse(disc, fill=(196, 78, 62))
        draw.rectangle(square, fill=(70, 96, 140))
        images[name] = picture
        truth[name] = [Annotation("disc", ANN, box=disc), Annotation(CLASSES[1], ANN, box=square)]
        base[name] = [guess(CLASSES[n % 2], 0.4 + n / 40, disc)] + [
            guess("disc", 0.5, (0.0, 150.0, 60.0, 220.0))
        ] * (n % 3)
        near = (square[0] + n, square[1] + n, square[2] + n, square[3] + n)
        tuned[name] = [guess("disc", 0.95 - n / 100, disc), guess(CLASSES[1], 0.9 - n / 50, near)]
    tuned["image-07"] = [
        guess(CLASSES[1], 0.93, truth["image-07"][0].box),
        guess("disc", 0.97, (250.0, 10.0, 310.0, 70.0)),
    ]
    return images, truth, base, tuned


@pytest.fixture(scope="module")
def data():
    images, truth, base, tuned = scene()
    sizes = dict.fromkeys(images, SIZE)
    epochs = [{"epoch": n, "loss": 1.6 * 0.7**n + 0.1, "score": 0.7 * (1 - 0.6**n)} for n in range(1, 11)]
    return ReportData(
        title="Shapes & signs, round 2",
        base=detection_metrics(SCHEMA, sizes, truth, base),
        tuned=detection_metrics(SCHEMA, sizes, truth, tuned),
        made_at="2026-01-02",
        ledger={"accepted": 412, "moved": 96, "relabelled": 31, "deleted": 44, "added": 57, "skipped": 3},
        reviewer_seconds=1384.0,
        seconds_from_nothing=4920.0,
        epochs=epochs,
        truth=truth,
        base_predictions=base,
        tuned_predictions=tuned,
        load=images.__getitem__,
        names={name: f"{name}.jpg" for name in images},
        settings={"model": "rtdetr-r18", "mode": "lora", "epochs": 10, "learning rate": 0.0001, "seed": 0},
        dataset_version="3f9c2ab1",
        provenance={"base model": "rtdetr-r18 @ 1a2b3c", "labels": "ann, bob", "device": "CPU"},
        reproduce=["workflow train shapes --run 2", "workflow evaluate shapes --run 2"],
    )


@pytest.fixture(scope="module")
def html(data):
    return render(data)


def test_the_numbers_are_there(data, html):
    base, tuned = data.base, data.tuned
    for value in (base.map50, base.map50_95, tuned.map50, tuned.map50_95, tuned.f1, tuned.threshold):
        assert f"{value:.3f}" in html
    assert f"({tuned.map50_95 - base.map50_95:+.3f}) on 12 test images." in html
    for label in ("disc", "<b>square</b>"):
        for key in ("ap50", "ap50_95", "precision", "recall"):
            assert f"<td>{tuned.per_class[label][key]:.3f}</td>" in html
            assert f"<td>{base.per_class[label][key]:.3f}</td>" in html
    for count, word in ((412, "accepted"), (96, "moved"), (31, "relabelled"), (44, "deleted"), (57, "added")):
        assert f"<b>{count}</b> {word}" in html
    assert (
        "Review took 23 min 4 s, where drawing the same boxes from nothing would have taken 1 h 22 min"
        " by the cost model: 72 % less." in html
    )
    assert "72 % less" in html
    assert "workflow train shapes --run 2" in html
    slower = render(replace(data, reviewer_seconds=6150.0, load=None))
    assert "would have taken 1 h 22 min by the cost model: 25 % more" in slower
    for row in tuned.confusion[:2]:
        for count in row:
            assert f">{count}</td>" in html


def test_of_labels_that_nobody_reviewed_no_review_is_told(data):
    nobody = replace(data, ledger={}, reviewer_seconds=None, load=None)
    assert "What people did" not in render(nobody)
    assert "Who labeled" not in render(nobody)
    html = render(replace(nobody, labels=["24 images imported as coco from <a>.json."]))
    assert "<h2>Who labeled</h2>" in html
    assert "<li>24 images imported as coco from &lt;a&gt;.json.</li>" in html
    assert "Review took" not in html


def test_what_is_a_sum_is_not_called_a_mean(data, html):
    assert '<tfoot><tr><th scope="row">sum, mean</th>' in html


def test_nothing_comes_from_outside(html):
    assert not re.search(r"https?://", html)
    assert not re.search(r"//[a-z]+\.[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert "<script" not in html
    for address in re.findall(r"""(?:src|href)=["']([^"']*)""", html) + re.findall(r"url\(([^)]*)\)", html):
        assert address.startswith(("data:", "#"))


def test_names_are_escaped(data, html):
    assert "<b>square</b>" not in html
    assert "&lt;b&gt;square&lt;/b&gt;" in html
    nasty = render(replace(data, title='"><script>alert(1)</script>', names={"image-07": "<img src=x>"}))
    assert "<script" not in nasty
    assert "<img src=x>" not in nasty


def test_ids_are_unique_and_pictures_have_words(html):
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    pictures = re.findall(r'<svg class="picture"[^>]*>', html)
    assert len(pictures) == 3 * len(re.findall('<figure class="example">', html)) > 12
    assert all(re.search(r'aria-label="[^"]{20,}"', picture) for picture in pictures)


def test_worst_errors_and_most_changed(data):
    worst = worst_errors(data.tuned, data.truth, data.tuned_predictions)
    assert worst[0][0] == "image-07"
    assert (worst[0][1].missed, worst[0][1].false, worst[0][1].mislabelled) == (1, 1, 1)
    totals = [errors.total for _, errors in worst]
    assert totals == sorted(totals, reverse=True)
    assert 0 not in totals
    assert worst_errors(data.tuned, data.truth, data.tuned_predictions, 1) == worst[:1]
    assert worst_errors(data.tuned, data.truth, data.truth) == []
    # image 5: one mislabelled, one missed, two false; nothing is wrong afterwards
    improved, worsened = most_changed(data, 20)
    assert dict(improved)["image-05"] == 4
    gains = [gain for _, gain in improved]
    assert gains == sorted(gains, reverse=True)
    assert most_changed(data, 2) == (improved[:2], worsened[:2])
    swapped = replace(
        data,
        base=data.tuned,
        tuned=data.base,
        base_predictions=data.tuned_predictions,
        tuned_predictions=data.base_predictions,
    )
    assert most_changed(swapped, 20) == (worsened, improved)
    assert most_changed(replace(data, base=None), 3) == ([], [])


def test_what_errors_cost_and_scores_mean(data):
    html = render(data)
    assert "What the errors cost" in html
    costs = {kind: (row["count"], row["cost"]) for kind, row in data.tuned.error_split.items()}
    shown = re.search(r"<th[^>]*>background</th>.*?</tr>", html, re.DOTALL)
    before = data.base.error_split["background"]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown[0])[1:]
    wanted = [before["count"], costs["background"][0]]
    assert cells == [*map(str, wanted), number(before["cost"]), number(costs["background"][1])]
    assert f"{number(data.base.calibration['ece'])} before" in html
    assert 'aria-label="F1 against the score' in html
    assert "Right guesses by score" in html
    classes = measure(
        Schema.of("classification", ["cat"]),
        {"a": (9, 9)},
        {"a": [Annotation("cat", ANN)]},
        {"a": [Annotation("cat", ANN, score=0.5)]},
    )
    labels = render(ReportData(title="t", tuned=classes))
    assert "expected calibration error (ECE, 15 bins of equal width): 0.500." in labels
    assert "What the errors cost" not in labels


def test_written_whole_and_small_and_the_same_twice(data, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, data)
    first = path.read_bytes()
    write_report(path, data)
    assert path.read_bytes() == first
    assert len(first) < 3_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_little_is_known(tmp_path):
    """No base, no labels, no pictures: the report stands, with dashes."""
    empty = detection_metrics(SCHEMA, {"a": (10, 10)}, {}, {})
    html = render(ReportData(title="t", tuned=empty))
    assert "There is nothing to measure on 1 test image: none of them has a labelled box." in html
    assert "None" not in html
    assert "nan" not in html
    only_base = render(ReportData(title="t", tuned=empty, base=empty, epochs=[{"epoch": 1, "loss": 1.0}]))
    assert "None" not in re.sub(r"<svg.*?</svg>", "", only_base, flags=re.DOTALL)


def test_upright_and_deep_pictures(data, tmp_path):
    """A file stored lying down gives, through its EXIF, the upright picture; 16 bits are not cut."""
    upright = data.load("image-07")
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.png", exif=exif)
    pictures = [
        re.findall(r"data:image/jpeg;base64,[^\"]+", render(replace(data, load=load)))
        for load in (lambda _: upright, lambda _: tmp_path / "lying.png")
    ]
    assert pictures[0] == pictures[1]
    deep = Image.new("I;16", SIZE, 0)
    deep.paste(30000, (0, 0, 160, 240))
    deep.save(tmp_path / "deep.png")
    assert "data:image/jpeg" in render(replace(data, load=lambda _: tmp_path / "deep.png"))


def test_many_classes_share_a_row():
    names = [f"class {n}" for n in range(60)]
    truth = {
        "a": [Annotation(name, ANN, box=(n * 10.0, 0.0, n * 10.0 + 8, 8.0)) for n, name in enumerate(names)]
    }
    metrics = detection_metrics(Schema.of("detection", names), {"a": (600, 10)}, truth, truth)
    html = render(ReportData(title="t", tuned=metrics))
    assert "(others)" in html
    assert ">41</td>" in html


def test_the_window_is_round_the_errors():
    far = [Annotation("disc", ANN, box=(900.0, 900.0, 920.0, 920.0))]
    x1, y1, x2, y2 = error_window((1000, 1000), far, [])
    assert (x1, y1, x2, y2) == (600, 600, 1000, 1000)
    assert error_window((1000, 500), far, far) == (0, 0, 1000, 500)


def test_words():
    assert [duration(s) for s in (0, 59.4, 61, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1 min 1 s",
        "1 h 0 min",
        "2 h 5 min",
    ]
    assert [signed(v) for v in (0.1, -0.25, -0.0001, None)] == ["+0.100", "−0.250", "+0.000", "–"]


def test_verdicts(data):
    assert verdict(replace(data, base=data.tuned)).startswith("Fine-tuning left mAP50-95 at 0.")
    worse = verdict(replace(data, base=data.tuned, tuned=data.base))
    assert worse.startswith("Fine-tuning lowered mAP50-95 from 0.")
    assert "(−0." in worse
    assert verdict(replace(data, base=None)).startswith("The model reaches a mAP50-95 of 0.")


def test_how_sure_the_result_is(data):
    before, after = (
        weigh(SCHEMA, dict.fromkeys(data.names, SIZE), data.truth, guesses)[1]
        for guesses in (data.base_predictions, data.tuned_predictions)
    )
    groups = sorted(data.names)
    sure = sureness(before, after, groups, SCHEMA.classes, {"folder <a>": range(6)})
    html = render(replace(data, score=sure.score, comparison=sure.comparison, load=None))
    change = sure.comparison.score
    assert (change.before.value, change.after.value) == pytest.approx(
        (data.base.score, data.tuned.score), abs=1e-12
    )
    span = f"{signed(change.difference.low)} and {signed(change.difference.high)}"
    assert f"Better, with 12 images. The change lies between {span}, 95 times in 100." in html
    assert "<h2>Is it better?</h2>" in html
    row = f"<td>6</td><td>{sure.comparison.slices['folder <a>'].before.value:.3f}</td>"
    assert f'<tr><th scope="row" title="folder &lt;a&gt;">folder &lt;a&gt;</th>{row}' in html
    assert "<td>no label to tell by</td>" in html.replace(' class="words"', "")
    cards = re.findall(r'<div class="sure">(.*?)</div>.*?<div class="note">(.*?);', html, flags=re.DOTALL)
    assert cards == []
    known = {"base": {"map50_95": change.before}, "tuned": {"map50_95": sure.score, "f1": sure.score}}
    html = render(replace(data, score=sure.score, intervals=known, load=None))
    cards = re.findall(r'<div class="sure">(.*?)</div>.*?<div class="note">(.*?);', html, flags=re.DOTALL)
    between = f"95 %: {sure.score.low:.3f} to {sure.score.high:.3f}"
    low, high = change.before.low, change.before.high
    assert cards == [
        (between, f"before {data.base.map50_95:.3f} ({low:.3f} to {high:.3f})"),
        (between, f"before {data.base.f1:.3f}"),
    ]
    alone = render(replace(data, base=None, score=sure.score, comparison=None, load=None))
    assert f"It lies between {sure.score.low:.3f} and {sure.score.high:.3f}, 95 times in 100." in alone
    assert "Is it better?" not in alone
    # COCO's figures stand beside it.
    for name in ("AP75", "AP medium", "AR10"):
        before, after = data.base.figures[name], data.tuned.figures[name]
        assert f'<tr><th scope="row">{name}</th><td>{before:.3f}</td><td>{after:.3f}</td>' in html


def task_data(task):
    drawn = scene_of(task)
    base, tuned = (
        measure(Schema.of(task, drawn.classes, drawn.keypoints), drawn.sizes, drawn.truth, said)
        for said in (drawn.base, drawn.tuned)
    )
    return ReportData(
        title="Drawn",
        base=base,
        tuned=tuned,
        noun=TASKS[task].noun,
        ledger={"accepted": 4, "reshaped": 3},
        epochs=[{"epoch": n, "loss": 1 / n, "score": n / 10} for n in range(1, 4)],
        selected_by=tuned.metric,
        truth=drawn.truth,
        base_predictions=drawn.base,
        tuned_predictions=drawn.tuned,
        load=drawn.images.__getitem__,
    )


WORDS = {
    "classification": "The best scored label of an image counts.",
    "multilabel-classification": "nobody knows which is taken for which",
    "oriented-detection": "by the IoU of the outlines of rotated boxes",
    "instance-segmentation": "by the IoU of masks",
    "keypoints": "(PCK@0.1)",
    "semantic-segmentation": "in percent of the row's pixels",
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_its_report(task):
    data = task_data(task)
    html = render(data)
    base, tuned = data.base, data.tuned
    change = (
        f"from {base.score:.3f} to {tuned.score:.3f} ({signed(tuned.score - base.score)}) on 8 test images."
    )
    assert change in html
    for line in tuned.headlines:
        assert f'<div class="label">{line.name}</div>' in html
        assert f'<div class="big">{line.value:.3f}' in html
    for column in tuned.columns:
        assert f">{column.name}</th>" in html
        for row in (*base.per_class.values(), *tuned.per_class.values()):
            if column.kind != "count" and row[column.key] is not None:
                assert f"<td>{row[column.key]:.3f}</td>" in html
    assert f"validation {tuned.metric}</text>" in html
    assert ("Precision against recall" in html) == (task not in ("semantic-segmentation",) + LABELS)
    assert ("<b>3</b> reshaped" in html, "</b> moved" in html) == (True, False)
    assert WORDS.get(task, "") in html
    panels = 1 if task in LABELS else 3
    assert html.count("data:image/jpeg") == panels * html.count('<figure class="example">') > 2
    text = re.sub(r"base64,[A-Za-z0-9+/=]+|<svg.*?</svg>|<style.*?</style>", "", html, flags=re.DOTALL)
    assert not re.search(r"\bNone\b|\bnan\b|Undefined", text)
    alone = render(replace(data, base=None, no_base="no model before: it knows no class"))
    assert "no model before: it knows no class" in alone
    assert "model before</li>" not in alone


LABELS = ("classification", "multilabel-classification")


@pytest.mark.parametrize("task", TASKS)
def test_pictures_show_truth_and_guesses_in_their_colours(task):
    drawn = scene_of(task)
    numbers = task_data(task).base
    name = "image-01"
    window = (0.0, 0.0, 320.0, 240.0)
    sides = (drawn.truth[name], numbers.shown(drawn.base[name]))
    schema, image = TASKS[task], drawn.images[name]
    urls = [
        picture(schema, drawn.classes, image, true, said, TUNED, window).url
        for true, said in (sides, (sides[0], []), ([], sides[1]), ([], []))
    ]
    alone = true_picture(schema, drawn.classes, image, sides[0], window)
    if task in LABELS:
        # They have no place: the image is shown as it is.
        assert set(urls) == {alone.url}
        return
    assert len(set(urls)) == 4
    assert near(decoded(alone.url), TRUTH)
    both, only_true, only_said, neither = (decoded(url) for url in urls)
    assert both.size == (640, 480)
    assert near(only_true, TRUTH)
    assert near(both, TRUTH)
    # what is false is drawn as wrong where classes are painted, over the square's ink
    over = [0.6 * wrong + 0.4 * ink for wrong, ink in zip(ImageColor.getrgb(WRONG), INKS[1], strict=True)]
    assert near(only_said, over if task == "semantic-segmentation" else TUNED)
    assert not near(neither, TUNED)


def decoded(url):
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def near(picture, colour, reach=60, pixels=40):
    """Whether some pixels are of a colour, as JPEG leaves it."""
    colour = ImageColor.getrgb(colour) if isinstance(colour, str) else colour
    distance = np.abs(np.asarray(picture, dtype=int) - colour).sum(axis=2)
    return (distance < reach).sum() >= pixels


def test_errors_in_words():
    assert told(Errors(0, 0, 0)) == "no errors"
    assert told(Errors(2, 0, 1)) == "2 missed, 1 mislabelled"
    words = told(Errors(10, 5, 0, 200)).replace("\N{NO-BREAK SPACE}", " ")
    assert words == "7.5 % of the pixels wrong: 5.0 % missed, 2.5 % false"

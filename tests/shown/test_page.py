"""The report in a real browser, as wide as a screen and as a telephone, by day and by night."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ledger_rows import realistic
from tests.shown.test_report import task_data
from workflow.labels.ledger import CostModel
from workflow.labels.ledger.figures import figures
from workflow.labels.ledger.thresholds import suggest
from workflow.metrics import measure
from workflow.records import Annotation, Provenance
from workflow.schema import Schema
from workflow.shown.report import render
from workflow.shown.report.page import finished
from workflow.tasks import TASKS

COST = CostModel(look=1.5, move=3, reshape=8, relabel=2, delete=1, add=5)
LONG = "a class whose name is much longer than any column of a table has room for"

# Everything wider than the page that nothing scrolls; the marks of each picture; the text hard to read.
LOOK = """() => {
  const wide = innerWidth, scrolls = ".scroll, pre";
  const outside = [...document.body.querySelectorAll("*")].filter(e => {
    const box = e.getBoundingClientRect();
    return (box.right > wide + 1 || box.left < -1) && box.width && !e.closest(scrolls) && !e.closest("svg");
  }).map(e => e.outerHTML.slice(0, 200));
  const rect = e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  const pictures = [...document.querySelectorAll("svg.picture")].map(
    p => ({picture: rect(p), marks: [...p.querySelectorAll(".mark rect")].map(rect)}));
  const bars = [...document.querySelectorAll(".fates .track")].map(b => b.getBoundingClientRect().width);
  return {page: document.documentElement.scrollWidth, outside, pictures, bars};
}"""
CONTRAST = """() => {
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => {
    const v = c[i] / 255;
    return sum + part * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const ground = e => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
  };
  const weak = [];
  for (const e of document.querySelectorAll("main *")) {
    if (e.closest("svg") || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const back = ground(e), ink = over(rgba(getComputedStyle(e).color), back);
    const [high, low] = [light(ink), light(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) weak.push(`${ratio.toFixed(2)} ${e.outerHTML.slice(0, 120)}`);
  }
  return weak;
}"""


def crowded():
    """Digits side by side, all of them wrong, and as many false guesses on top of them."""
    ann, model = Provenance("person", "ann"), Provenance("model", "m", "r1")
    names = tuple("0123456789") + (LONG,)
    data = task_data("detection")
    boxes = [(20.0 + 30 * n, 100.0, 45.0 + 30 * n, 140.0) for n in range(9)]
    truth = {"image-00": [Annotation(names[n], ann, box=box) for n, box in enumerate(boxes)]}
    said = [Annotation(names[(n + 1) % 11], model, box=box, score=0.9) for n, box in enumerate(boxes)]
    said += [Annotation(LONG, model, box=(x, y + 25, w, h + 30), score=0.8) for x, y, w, h in boxes[:5]]
    sides = [
        measure(Schema.of("detection", names), {"image-00": (320, 240)}, truth, {"image-00": some})
        for some in (said, said[:4])
    ]
    rows = realistic(names)
    return replace(
        data,
        base=sides[0],
        tuned=sides[1],
        truth=truth,
        base_predictions={"image-00": said},
        tuned_predictions={"image-00": said[:4]},
        names={"image-00": "a-very-long-file-name-without-any-place-to-break-it/" * 3},
        figures=figures(rows, names),
        suggestions=suggest(rows, COST),
        reproduce=["make evaluate P=" + "long" * 60],
        settings={"augment.rotate": "x" * 90},
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    pages = {task: render(task_data(task)) for task in TASKS} | {"crowded": render(crowded())}
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html)
    return sorted(folder.iterdir())


@pytest.mark.services
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_leaves_the_page_or_hides_another(chromium, reports, width):
    problems, asked = [], []
    with chromium.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        for path in reports:
            page.goto(path.as_uri())
            seen = page.evaluate(LOOK)
            assert (seen["page"], seen["outside"]) == (width, []), path.stem
            check_marks(seen["pictures"])
            # A bar is no sliver.
            assert all(bar > 200 for bar in seen["bars"]), path.stem
            if path.stem == "crowded":
                assert len(seen["bars"]) > 20
                assert max(len(p["marks"]) for p in seen["pictures"]) == 12
            links = page.eval_on_selector_all("nav a", "links => links.map(a => a.getAttribute('href'))")
            assert len(links) >= 6
            assert all(page.locator(link).count() == 1 for link in links)
    assert problems == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri() for path in reports]


def check_marks(pictures):
    assert pictures
    for seen in pictures:
        left, top, right, bottom = seen["picture"]
        for n, (x1, y1, x2, y2) in enumerate(seen["marks"]):
            assert x1 >= left - 1
            assert y1 >= top - 1
            assert x2 <= right + 1
            assert y2 <= bottom + 1
            for u1, v1, u2, v2 in seen["marks"][:n]:
                assert x1 >= u2 or u1 >= x2 or y1 >= v2 or v1 >= y2


@pytest.mark.services
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_can_be_read_by_day_and_by_night(chromium, reports, scheme):
    with chromium.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        for path in reports:
            page.goto(path.as_uri())
            assert page.evaluate(CONTRAST) == [], path.stem


def test_every_header_has_a_scope_and_every_section_is_in_the_contents():
    html = render(crowded())
    headers = re.findall(r"<th[ >][^>]*", html)
    assert len(headers) > 60
    assert all(re.search(r'scope="(col|row|rowgroup)"', header) for header in headers)
    sections = re.findall(r'<section id="([^"]+)">\s*<h2>(.*?)</h2>', html)
    assert len(sections) == html.count("<h2>") >= 7
    (contents,) = re.findall(r"<nav.*?</nav>", html, flags=re.DOTALL)
    assert re.findall(r'<a href="#([^"]+)">(.*?)</a>', contents) == sections


def test_sections_of_one_name_have_addresses_of_their_own():
    page = finished("<nav></nav>" + "<section> <h2>Drawn &amp; said</h2></section>" * 3)
    assert re.findall(r'<section id="([^"]+)"', page) == ["s-drawn-said", "s-drawn-said1", "s-drawn-said2"]
    assert (
        finished("<nav></nav><section><h2>One</h2></section>") == '<section id="s-one"><h2>One</h2></section>'
    )


def test_a_report_is_a_file_of_its_own(tmp_path: Path):
    html = render(crowded())
    assert not re.search(r"https?://", html)
    assert "<script" not in html

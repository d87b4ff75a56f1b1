"""`workflow predict` on the demo's base model, and `workflow models`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.conftest import REPOSITORY, ZIPCODES
from tests.guesses.test_annotate import Looker
from tests.tiny import build
from workflow.cli import app
from workflow.commands import models, predict
from workflow.errors import ModelError, StageError
from workflow.guesses.engine import Limits, ask_all

BASE = f"ultralytics:{ZIPCODES}/base/printed-digits.pt"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--device", "cpu"])


@pytest.fixture(scope="module")
def drawn(envelopes: Path) -> list[Path]:
    return sorted((envelopes / "images").glob("sender-0*-envelope-*.jpg"))[:2]


def test_json_has_an_exact_shape(drawn: list[Path], envelopes: Path, tmp_path: Path) -> None:
    """One run: JSON, a broken picture, limits, and the drawings."""
    broken = envelopes / "images" / "sender-11-damaged.jpg"
    twin = tmp_path / "other" / drawn[0].name
    twin.parent.mkdir()
    shutil.copy2(drawn[0], twin)
    pictures = [drawn[0], broken, drawn[1], twin]
    out = tmp_path / "out"
    options = ("--json", "--image-size", 384, "--top", 3, "--save", out, "--classes", "0,1,2,3,4,5,6,7,8")
    done = _run(*pictures, "--model", BASE, *options)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {broken}: truncated")
    assert done.stderr.count("\n") == 1
    found = json.loads(done.stdout)
    assert [row["image"] for row in found] == [str(p) for p in (drawn[0], drawn[1], twin)]
    assert all(set(row) == {"image", "predictions"} for row in found)
    guesses = [guess for row in found for guess in row["predictions"]]
    assert guesses
    assert all(len(row["predictions"]) <= 3 for row in found)
    for row in found:
        scores = [guess["score"] for guess in row["predictions"]]
        assert scores == sorted(scores, reverse=True)
        width, height = Image.open(row["image"]).size
        for guess in row["predictions"]:
            assert set(guess) == {"label", "score", "box"}
            assert guess["label"] in "012345678"
            x1, y1, x2, y2 = guess["box"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
    names = {p.name for p in out.iterdir()}
    assert names == {drawn[0].name, drawn[1].name, f"{drawn[0].stem}-2.jpg"}
    assert Image.open(out / drawn[0].name).size == Image.open(drawn[0]).size


def test_the_table_has_a_line_a_guess(drawn: list[Path], tmp_path: Path) -> None:
    build("rtdetr-v2", tmp_path / "tiny")
    done = _run(drawn[0], "--model", f"detr:{tmp_path}/tiny", "--top", 2)
    assert done.exit_code == 0, done.stderr
    head, *lines, engine = done.stdout.splitlines()
    assert head == f"{drawn[0]}: 2 found"
    assert engine == f"detr:{tmp_path}/tiny runs on PyTorch, cpu"
    assert len(lines) == 2
    assert all(len(line.split()) == 6 for line in lines)


def test_no_drawing_replaces_a_picture_of_ones_own(drawn: list[Path], tmp_path: Path) -> None:
    """A drawing is replaced by the next one; pictures beside the originals are not."""
    mine = tmp_path / "mine"
    mine.mkdir()
    photo = Path(shutil.copy2(drawn[0], mine / "a.jpg"))
    before = photo.read_bytes()
    predict.draw([(photo, ())], tmp_path / "out")
    predict.draw([(photo, ())], tmp_path / "out")
    assert Image.open(tmp_path / "out" / "a.jpg").size == Image.open(photo).size
    with pytest.raises(StageError) as caught:
        predict.draw([(photo, ())], mine)
    assert str(caught.value) == f"{photo} is a picture of yours -> --save to another folder"
    assert photo.read_bytes() == before


def test_a_model_that_must_be_told_says_so(drawn: list[Path], tmp_path: Path) -> None:
    build("owlv2", tmp_path / "tiny")
    ask = predict.Question(["open-vocabulary:tiny"], tmp_path, device="cpu")
    with pytest.raises(ModelError) as error:
        predict.run(drawn[:1], ask)
    assert (
        str(error.value) == "model 'open-vocabulary:tiny' finds what it is told -> name it: --classes a,b,c"
    )


def test_a_class_the_model_does_not_know_is_named(drawn: list[Path], tmp_path: Path) -> None:
    build("detr", tmp_path / "tiny")
    ask = predict.Question(["detr:tiny"], tmp_path, ["zebra", "1"], device="cpu")
    with pytest.raises(ModelError) as error:
        predict.run(drawn[:1], ask)
    known = "it knows 9, 8, 7, 6, 5, 4, 3, 2, 1, 0"
    assert str(error.value) == f"model 'detr:tiny' knows no zebra -> {known}"


def test_nothing_found_is_said() -> None:
    assert predict.as_table([(Path("a.jpg"), ())]) == "a.jpg: nothing found"
    assert json.loads(predict.as_json([(Path("a.jpg"), ())])) == [{"image": "a.jpg", "predictions": []}]


def test_models_lists_every_family() -> None:
    done = CliRunner().invoke(app, ["models"])
    assert done.exit_code == 0
    assert all(f"\n{name}: " in f"\n{done.stdout}" for name in models.MODELS)


def test_the_document_holds_the_table() -> None:
    """Make it anew with `workflow models --markdown`."""
    document = (REPOSITORY / "docs" / "models.md").read_text()
    assert models.as_markdown() in document
    assert models.trainers_as_markdown() in document


def test_deep_gray_pictures_are_given_at_one_depth(tmp_path: Path) -> None:
    """Two scans, alike but for one pixel that needs a 13th bit, are equally bright to the model."""
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"]
    for path, brightest in zip(paths, (4095, 4096), strict=False):
        values = np.full((8, 8), 2000, np.uint16)
        values[0, 0] = brightest
        Image.fromarray(values).save(path)
    Image.new("L", (8, 8), 77).save(paths[2])
    looker = Looker()
    answers = list(ask_all(cast(Any, looker), predict._sources(paths), ["cat"], Limits()))
    assert [path for part in answers for path, _ in part] == paths
    assert [int(image[1, 1, 0]) for image in looker.images] == [31, 31, 77]

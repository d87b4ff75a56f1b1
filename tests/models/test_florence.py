"""Florence-2 as the product asks it: a guess without a score is neither left out nor read as one of 0."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.tiny import build
from workflow import models
from workflow.cli import app
from workflow.errors import ModelError
from workflow.guesses.tally import described
from workflow.models import Options
from workflow.records import Annotation, Provenance

PICTURE = np.random.default_rng(0).integers(0, 255, (140, 200, 3)).astype(np.uint8)


def test_predict_shows_guesses_without_a_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build("florence2", tmp_path / "tiny")
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    asked = ["predict", "a.png", "--model", "florence:tiny", "--classes", "1,2", "--threshold", "0.9"]
    table = CliRunner().invoke(app, [*asked, "--save", "out"])
    done = CliRunner().invoke(app, [*asked, "--json"])
    (row,) = json.loads(done.stdout)
    assert row["predictions"]
    assert {guess["score"] for guess in row["predictions"]} == {None}
    assert table.stdout.count("     -  ") == len(row["predictions"])
    assert (tmp_path / "out" / "a.jpg").is_file()
    # Each edge lies in the middle of one of 1,000 parts.
    parts = [
        v / side * 1000 - 0.5
        for g in row["predictions"]
        for v, side in zip(g["box"], (200, 140) * 2, strict=True)
    ]
    assert parts == pytest.approx([round(part) for part in parts], abs=0.05)
    # Its answers were as long as they may be.
    assert (
        done.stderr
        == "florence:tiny gave 3 guesses, the most it can, on 1 images: there may be more objects\n"
    )


def test_a_summary_has_no_line_of_scores_where_there_are_none() -> None:
    guesses = [Annotation("a", Provenance("model", "florence:tiny"), box=(0, 0, 1, 1))]
    assert described(guesses) == ["by class: a 1", "scores: none, the model gives no scores"]


def test_a_tokenizer_without_places_is_refused(tmp_path: Path) -> None:
    build("florence2", tmp_path / "tiny")
    words = tmp_path / "tiny" / "tokenizer.json"
    words.write_text(words.read_text().replace('"<loc_999>"', '"<place_999>"'))
    with pytest.raises(ModelError) as error:
        models.load("florence:tiny", tmp_path, Options(device="cpu"))
    assert str(error.value) == (
        "model 'florence:tiny': its tokenizer lacks some of <loc_0> to <loc_999>"
        " -> take florence:florence-community/Florence-2-base-ft"
    )

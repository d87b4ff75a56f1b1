"""What people are shown of an image's guesses."""

from __future__ import annotations

from pathlib import Path

from tests.samples import draw_project
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push.prediction import as_prediction
from workflow.records import Annotation, ImageRecord, Provenance, Sample

MODEL = Provenance("model", "m", "1")


def test_a_guess_told_twice_is_shown_once(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "detection", 2)
    record = ImageRecord("a" * 64, "a.png", 100, 80, "train")
    place = (10.0, 10.0, 30.0, 30.0)
    guesses = (
        Annotation("disk", MODEL, box=place, score=0.5, id="first"),
        Annotation("bar", MODEL, box=place, score=0.4, id="other"),
        Annotation("disk", MODEL, box=place, score=0.9, id="again"),
    )
    losses: list[str] = []
    sample = Sample(record.id, "predicted", guesses)
    row = as_prediction(sample, record, project.settings, interface_of(project), losses.append)
    assert [(r["id"], r["value"]["rectanglelabels"], r["score"]) for r in row["result"]] == [
        ("first", ["disk"], 0.9),
        ("other", ["bar"], 0.4),
    ]
    assert losses == ["guesses twice in the same place (one is shown)"]

"""Models in a row, made of people's own files: what is handed on, and what the project's task makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny import build
from workflow.errors import ModelError
from workflow.models import Guesses, Options
from workflow.models.chain import Chain, load_chain
from workflow.records import Annotation
from workflow.shapes import masks

PICTURE = np.zeros((40, 60, 3), dtype=np.uint8)
FILE = """
import numpy as np

from workflow import masks
from workflow.records import Annotation, Provenance, RotatedBox

ME = Provenance("model", "me")


def ink(x1, y1, x2, y2):
    pixels = np.zeros((40, 60), dtype=bool)
    pixels[y1:y2, x1:x2] = True
    return masks.encode(pixels)


class Model:
    task = "{task}"
    {names}

    def __init__(self, options):
        pass

    def annotate(self, images, prior, classes):
        return [[a for a in self.look(said, classes) if a.label in classes] for said in prior]

    def look(self, prior, classes):
        return [{answer}]

    def close(self):
        with open({log!r}, "a") as file:
            file.write("{name} ")
"""

BOXES = """
Annotation("a", ME, score=0.9, box=(5, 5, 20, 20)),
Annotation("b", ME, score=0.6, box=(10, 10, 30, 30)),
Annotation("a", ME, score=0.3, box=(40, 10, 50, 30)),
"""
MASKS = """
Annotation("a", ME, score=0.9, mask=ink(5, 5, 20, 20)),
Annotation("b", ME, score=0.6, mask=ink(10, 5, 30, 20)),
Annotation("a", ME, score=0.5, polygons=(((40, 10), (50, 10), (50, 30), (40, 30)),)),
Annotation("b", ME, score=0.4, mask=ink(6, 6, 8, 8)),
"""
# The boxes before it, drawn in.
DRAWN = """
Annotation(a.label, a.provenance, score=a.score, mask=ink(*map(int, a.box))) for a in prior
"""
TURNED = """
Annotation("a", ME, score=0.9, rotated_box=RotatedBox(0, 20, 20, 10, 0)),
Annotation("a", ME, score=0.8, rotated_box=RotatedBox(30, 20, 10, 20, 90)),
Annotation("a", ME, score=0.7, rotated_box=RotatedBox(-30, 20, 10, 20, 90)),
"""
POINTS = """
Annotation("a", ME, score=0.9, id="1", box=(5, 5, 20, 20)),
Annotation("nose", ME, score=0.8, parent="1", keypoints=((7, 7),)),
Annotation("a", ME, score=0.4, id="2", box=(25, 5, 40, 20)),
Annotation("nose", ME, score=0.95, parent="2", keypoints=((30, 9),)),
"""
NAMES = """
Annotation(c, ME, score=0.4) for c in classes
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, task, answer, names in (
        ("boxes", "detection", BOXES, 'names = ("a", "b")'),
        ("masks", "instance-segmentation", MASKS, ""),
        ("drawn", "instance-segmentation", DRAWN, ""),
        ("turned", "oriented-detection", TURNED, ""),
        ("points", "keypoints", POINTS, ""),
        ("whole", "classification", NAMES, ""),
        ("broken", "nothing", "", ""),
    ):
        code = FILE.format(task=task, answer=answer, names=names, name=name, log=str(tmp_path / "closed"))
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


def _chain(
    project: Path,
    names: str,
    task: str | None,
    thresholds: Mapping[str, float] | None = None,
    **settings: Any,
) -> Chain:
    specs = [name if ":" in name else f"own:{name}.py" for name in names.split()]
    options = Options(**{"trust": True, "device": "cpu", "log": project / "log"} | settings)
    return load_chain(specs, project, task, options, thresholds)


def _ask(chain: Chain, *classes: str) -> Guesses:
    (found,) = chain.annotate([PICTURE], [()], classes)
    return found


def _brief(found: Guesses) -> list[tuple[str, float | None, Any]]:
    return [(a.label, a.score, a.box) for a in found]


def _pixels(a: Annotation) -> int:
    assert a.mask is not None
    return masks.area(a.mask)


def test_each_goes_on_with_what_the_one_before_it_said(project: Path) -> None:
    chain = _chain(project, "boxes drawn", "instance-segmentation")
    found = _ask(chain, "a", "b")
    assert [(a.label, a.score, masks.box(a.mask)) for a in found if a.mask] == [
        ("a", 0.9, (5, 5, 20, 20)),
        ("b", 0.6, (10, 10, 30, 30)),
        ("a", 0.3, (40, 10, 50, 30)),
    ]
    assert chain.names == ("a", "b")
    assert [a.label for a in _ask(chain, "b")] == ["b"]


def test_what_a_chain_says_is_said_by_all_of_it(project: Path) -> None:
    alone = _chain(project, "boxes", "detection")
    chain = _chain(project, "boxes drawn", "instance-segmentation")
    assert alone.name == "own:boxes.py"
    assert chain.name == "own:boxes.py > own:drawn.py"
    for one in (alone, chain):
        said = {(a.provenance.kind, a.provenance.name, a.provenance.revision) for a in _ask(one, "a")}
        assert said == {("model", one.name, one.revision)}


def test_the_revision_follows_every_part(project: Path) -> None:
    first = _chain(project, "boxes drawn", "instance-segmentation").revision
    assert _chain(project, "boxes drawn", "instance-segmentation").revision == first
    others = [
        _chain(project, "boxes drawn", "semantic-segmentation").revision,
        _chain(project, "boxes drawn", "instance-segmentation", {"a": 0.5}).revision,
        _chain(project, "boxes drawn", "instance-segmentation", threshold=0.1).revision,
        _chain(project, "drawn", "instance-segmentation").revision,
    ]
    (project / "boxes.py").write_text((project / "boxes.py").read_text() + "\n")
    others.append(_chain(project, "boxes drawn", "instance-segmentation").revision)
    assert len({first, *others}) == 6


@pytest.mark.parametrize(
    ("threshold", "thresholds", "scores"),
    [
        # What draws must be a quarter sure unless somebody says otherwise.
        (None, {}, [0.9, 0.6, 0.3]),
        (0.5, {}, [0.9, 0.6]),
        (0.5, {"b": 0.7}, [0.9]),
        (0.5, {"a": 0.2}, [0.9, 0.6, 0.3]),
        (0.25, {"a": 0.95}, [0.6]),
        (None, {"a": 0.95}, [0.6]),
        (0.0, {"b": 1.0}, [0.9, 0.3]),
    ],
)
def test_a_class_has_its_own_threshold(
    project: Path, threshold: float | None, thresholds: dict[str, float], scores: list[float]
) -> None:
    chain = _chain(project, "boxes", "detection", thresholds, threshold=threshold)
    assert [a.score for a in _ask(chain, "a", "b")] == scores


def test_a_detection_project_takes_the_boxes_round_masks(project: Path) -> None:
    assert _brief(_ask(_chain(project, "masks", "detection"), "a", "b")) == [
        ("a", 0.9, (5, 5, 20, 20)),
        ("b", 0.6, (10, 5, 30, 20)),
        ("a", 0.5, (40, 10, 50, 30)),
        ("b", 0.4, (6, 6, 8, 8)),
    ]


def test_the_box_round_a_turned_one_ends_at_the_image(project: Path) -> None:
    found = _ask(_chain(project, "turned", "detection"), "a")
    assert [(a.score, a.box) for a in found] == [
        (0.9, pytest.approx((0, 15, 10, 25))),
        (0.8, pytest.approx((20, 15, 40, 25))),
    ]
    assert all(a.within(60, 40) for a in found)
    # As they are where they may be turned.
    assert len(_ask(_chain(project, "turned", "oriented-detection"), "a")) == 3


def test_a_semantic_project_takes_a_mask_a_class(project: Path) -> None:
    """Pixels that objects of two classes share go to the better one, so that each has one class."""
    found = _ask(_chain(project, "masks", "semantic-segmentation"), "a", "b")
    assert [(a.label, a.score, _pixels(a)) for a in found] == [
        ("a", 0.9, 15 * 15 + 10 * 20),
        ("b", 0.6, 10 * 15),
    ]
    together = np.sum([masks.decode(a.mask) for a in found if a.mask], axis=0)
    assert together.max() == 1


def test_points_go_with_their_object(project: Path) -> None:
    chain = _chain(project, "points", "keypoints", threshold=0.5)
    (box, nose) = sorted(_ask(chain, "a", "nose"), key=lambda a: a.label)
    assert (box.id, nose.parent, nose.keypoints) == ("1", "1", ((7, 7),))
    detection = _ask(_chain(project, "points", "detection"), "a", "nose")
    assert [(a.label, a.box) for a in detection] == [("a", (5, 5, 20, 20)), ("a", (25, 5, 40, 20))]


@pytest.mark.parametrize(
    ("names", "task", "problem"),
    [
        (
            "boxes",
            "instance-segmentation",
            "model 'own:boxes.py' is one of detection, the project's task is instance-segmentation"
            " -> take a model of instance-segmentation: workflow models",
        ),
        (
            "boxes whole",
            "classification",
            "model 'own:boxes.py' is one of detection, the project's task is classification"
            " -> take a model of classification, multilabel-classification: workflow models",
        ),
        (
            "whole whole",
            "classification",
            "model 'own:whole.py' goes on with what was drawn, and no model before it draws"
            " -> take it alone, or put a model that draws before it",
        ),
    ],
)
def test_what_does_not_fit_is_refused(project: Path, names: str, task: str, problem: str) -> None:
    with pytest.raises(ModelError) as error:
        _chain(project, names, task)
    assert str(error.value) == problem
    assert (project / "closed").read_text().split() == names.split()


def test_what_draws_in_boxes_needs_some(project: Path) -> None:
    build("sam2", project / "sam2")
    fix = ' -> put one before it: model = ["grounding-dino", "sam:sam2"]'
    for names in ("sam:sam2", "whole sam:sam2"):
        with pytest.raises(ModelError) as error:
            _chain(project, names, "instance-segmentation")
        what = "model 'sam:sam2' draws in boxes, and no model before it finds any"
        assert str(error.value) == what + fix
    chain = _chain(project, "boxes sam:sam2", "instance-segmentation")
    assert {a.geometry for a in _ask(chain, "a", "b")} == {"mask"}
    assert [(a.label, a.score) for a in _ask(chain, "a")] == [("a", 0.9), ("a", 0.3)]


def test_a_name_given_late_may_be_unsure(project: Path) -> None:
    """What draws was asked to be a quarter sure; whoever names is as sure as such models are."""
    (project / "whole.py").write_text((project / "whole.py").read_text().replace("score=0.4", "score=0.1"))
    found = _ask(_chain(project, "boxes whole", "detection"), "x")
    assert [(a.label, a.score) for a in found] == [("x", 0.1)] * 3


def test_what_was_loaded_is_closed_when_the_next_fails(project: Path) -> None:
    with pytest.raises(ModelError, match="has the task 'nothing'"):
        _chain(project, "boxes masks broken drawn", "detection")
    assert (project / "closed").read_text().split() == ["boxes", "masks"]


def test_all_are_closed_whatever_one_of_them_raises(project: Path) -> None:
    code = (project / "drawn.py").read_text()
    (project / "drawn.py").write_text(code.replace("def close(self):", "def close(self):\n        1 / 0"))
    chain = _chain(project, "boxes masks drawn", "instance-segmentation")
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        chain.close()
    assert set((project / "closed").read_text().split()) == {"boxes", "masks"}

"""A person's own Python file as a model: when it may run, what it is asked, what answers are refused."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.tiny.own import documented
from workflow import models
from workflow.cli import app
from workflow.errors import ModelError
from workflow.models import Annotator, Options
from workflow.models.own import Own
from workflow.project.rows import annotation_from_row, annotation_to_row

PICTURE = np.full((60, 80, 3), 255, dtype=np.uint8)

HEAD = """
from workflow import masks
from workflow.errors import ModelError
from workflow.records import Annotation, Mask, Provenance, RotatedBox

ME = Provenance("model", "me")


class Model:
    task = "{task}"
    {names}

    def __init__(self, options):
        self.options = options

    def annotate(self, images, prior, classes):
        return [self.look(image, said, classes) for image, said in zip(images, prior)]

    def look(self, image, prior, classes):
        return [{answer}]
"""
FIX = " -> mend my.py; see docs/own-model.md"


def _write(folder: Path, answer: str, task: str = "detection", names: str = "") -> Path:
    file = folder / "my.py"
    file.write_text(HEAD.format(task=task, answer=answer, names=names))
    return file


def _load(folder: Path, spec: str = "own:my.py", **settings: Any) -> Annotator:
    return models.load(spec, folder, Options(**{"trust": True, "log": folder / "log"} | settings))


def test_the_documents_example_reads_digits_by_their_holes(tmp_path: Path) -> None:
    """It is what people copy: it reads what it says it reads, and its boxes are exact."""
    (tmp_path / "my_model.py").write_text(documented())
    assert 25 < len(documented().splitlines()) < 40
    picture = PICTURE.copy()
    picture[10:30, 5:10] = 0
    picture[10:30, 20:35] = 0
    picture[15:25, 25:30] = 255
    picture[10:50, 45:60] = 40
    picture[15:25, 50:55] = picture[35:45, 50:55] = 255
    model = _load(tmp_path, "own:my_model.py")
    (found,) = model.annotate([picture], [()], ("0", "1", "2", "8"))
    assert model.names == ("1", "0", "8")
    assert [(a.label, a.box, a.score) for a in found] == [
        ("1", (5, 10, 10, 30), 1.0),
        ("0", (20, 10, 35, 30), 1.0),
        ("8", (45, 10, 60, 50), pytest.approx(1 - 40 / 255)),
    ]
    assert {(a.provenance.name, a.provenance.revision) for a in found} == {
        ("own:my_model.py", model.revision)
    }
    assert model.annotate([PICTURE], [()], ("0",)) == [()]


def test_the_command_line_tries_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_model.py").write_text(documented())
    picture = PICTURE.copy()
    picture[10:30, 5:10] = 0
    Image.fromarray(picture).save(tmp_path / "one.png")
    monkeypatch.chdir(tmp_path)
    arguments = ["predict", "one.png", "--model", "own:my_model.py", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--trust"])
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["predictions"] == [{"label": "1", "score": 1.0, "box": [5.0, 10.0, 10.0, 30.0]}]
    assert "runs code of my_model.py" in str(CliRunner().invoke(app, arguments).exception)


def test_nothing_of_it_runs_without_trust(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Model: pass")
    with pytest.raises(ModelError) as error:
        _load(tmp_path, trust=False)
    assert str(error.value) == "model 'own:my.py' runs code of my.py -> set preannotate.trust = true"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", ["../my.py", "{outside}/my.py", "link.py", "folder/../../my.py"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    outside, project = tmp_path, tmp_path / "project"
    (project / "folder").mkdir(parents=True)
    (outside / "my.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (project / "link.py").symlink_to(outside / "my.py")
    with pytest.raises(ModelError, match=r"my\.py lies outside the project folder -> put a Python file"):
        _load(project, f"own:{path.format(outside=outside)}")
    assert not (tmp_path / "ran").exists()


def test_a_path_within_may_be_absolute(tmp_path: Path) -> None:
    file = _write(tmp_path, "")
    assert isinstance(_load(tmp_path, f"own:{file}"), Own)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    local = " -> put a Python file into the project folder and name it, as in own:my_model.py"
    with pytest.raises(ModelError) as error:
        _load(tmp_path)
    assert str(error.value) == "model 'own:my.py': my.py is not on this machine" + local
    with pytest.raises(ModelError) as error:
        models.fetch("own:my.py", tmp_path)
    assert str(error.value) == "my.py is not on this machine" + local


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", "defines no class Model"),
        ("Model = 3", "defines no class Model"),
        ("class Model:\n    pass", "TypeError: Model() takes no arguments"),
        ("x = 1\nclass Model\n", "line 2: SyntaxError: expected ':' (my.py, line 2)"),
        ("\nimport no_such_module", "line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("class Model:\n    def __init__(self, o): 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        (
            "class Model:\n    def __init__(self, o): self.task = 'drawing'",
            "has the task 'drawing', which is none of classification, multilabel-classification, detection,"
            " oriented-detection, keypoints, instance-segmentation, semantic-segmentation",
        ),
    ],
)
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, code: str, problem: str) -> None:
    (tmp_path / "my.py").write_text(code)
    with pytest.raises(ModelError) as error:
        _load(tmp_path)
    found = str(error.value).replace(f"({tmp_path / 'my.py'}, ", "(my.py, ")
    assert found == f"model 'own:my.py': {problem}{FIX}"


BOX = "box=(1, 2, 30, 40)"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("'b', ME, score=0.5, box=(1, 2, 81, 40)", "gave 'b' a box outside its image of 80 x 60 pixels"),
        (f"'zebra', ME, score=0.5, {BOX}", "gave the label 'zebra', which is none of a, b"),
        (f"'b', ME, {BOX}", "gave 'b' no score"),
        ("'b', ME, score=1", "gave 'b' no geometry, and its task is detection"),
        ("'b', ME, score=1, keypoints=((1, 2),)", "gave 'b' keypoints, and its task is detection"),
        (f"'b', ME, score=2, {BOX}", "line 20: ValueError: score 2 is not in [0, 1]"),
        ("'b', ME, score=1, box=(3, 3, 3, 9)", "line 20: ValueError: box (3, 3, 3, 9) has no area"),
    ],
)
def test_an_annotation_that_cannot_be_is_one_line(tmp_path: Path, arguments: str, problem: str) -> None:
    _write(tmp_path, f"Annotation({arguments})")
    assert _complaint(tmp_path).startswith(problem)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        ("masks.encode(image[:9, :, 0])", "gave 'b' a mask outside its image of 80 x 60 pixels"),
        ("Mask(60, 80, '12')", "ValueError: "),
    ],
)
def test_a_mask_that_cannot_be_is_one_line(tmp_path: Path, mask: str, problem: str) -> None:
    _write(tmp_path, f"Annotation('b', ME, score=1, mask={mask})", "semantic-segmentation")
    assert _complaint(tmp_path).startswith(problem)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("('b', 0.5)", "gave a tuple where an Annotation belongs"),
        ("classes[7]", "line 20: IndexError: list index out of range"),
        ("[] / 3", "line 20: TypeError: unsupported operand type(s) for /: 'list' and 'int'"),
    ],
)
def test_an_answer_that_is_none_is_one_line(tmp_path: Path, answer: str, problem: str) -> None:
    _write(tmp_path, answer)
    assert _complaint(tmp_path) == problem


def _complaint(folder: Path) -> str:
    """What is wrong with an answer for one image and the classes a and b, between the name and the fix."""
    with pytest.raises(ModelError) as error:
        _load(folder).annotate([PICTURE], [()], ("a", "b"))
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(FIX)
    return text.removeprefix("model 'own:my.py': ").removesuffix(FIX)


def test_a_lost_image_is_one_line(tmp_path: Path) -> None:
    file = _write(tmp_path, "")
    file.write_text(file.read_text().replace("zip(images, prior)", "zip(images[1:], prior)"))
    with pytest.raises(ModelError) as error:
        _load(tmp_path).annotate([PICTURE] * 3, [()] * 3, ("a",))
    assert str(error.value) == f"model 'own:my.py': gave 2 answers for 3 images{FIX}"


def test_its_own_message_stays_as_it_is(tmp_path: Path) -> None:
    file = _write(tmp_path, "")
    text = file.read_text().replace(
        "return [self.look", "raise ModelError('no ink', 'buy some')\n        return [self.look"
    )
    file.write_text(text)
    with pytest.raises(ModelError) as error:
        _load(tmp_path).annotate([PICTURE], [()], ("a",))
    assert str(error.value) == "no ink -> buy some"


def test_it_is_asked_in_its_own_words_and_answers_in_the_projects(tmp_path: Path) -> None:
    answer = f"Annotation(c, ME, score=0.5, {BOX}) for c in classes"
    _write(tmp_path, answer, names='names = ("lorry", "bus", "tree")')
    model = _load(tmp_path, class_map={"lorry": "truck"})
    assert model.names == ("truck", "bus", "tree")
    (found,) = model.annotate([PICTURE], [()], ("bus", "truck", "van"))
    assert [a.label for a in found] == ["truck", "bus"]


def test_without_names_it_is_asked_for_the_projects_classes(tmp_path: Path) -> None:
    _write(tmp_path, f"Annotation(c, ME, score=0.5, {BOX}) for c in classes")
    model = _load(tmp_path)
    assert model.names == ()
    assert [a.label for a in model.annotate([PICTURE], [()], ("x", "y"))[0]] == ["x", "y"]


def test_numbers_come_as_json_has_them(tmp_path: Path) -> None:
    """numpy's are what people have at hand, and cannot be written down."""
    shapes = {
        "detection": "box=tuple(np.float32([1, 2, 30, 40]))",
        "oriented-detection": "rotated_box=RotatedBox(*np.float32([20, 20, 16, 8, 30]))",
        "keypoints": "keypoints=tuple(map(tuple, np.float32([[1, 2], [3, 4]])))",
        "instance-segmentation": "polygons=(tuple(map(tuple, np.float32([[1, 2], [9, 2], [9, 7]]))),)",
    }
    for task, shape in shapes.items():
        file = _write(tmp_path, f"Annotation('a', ME, score=np.float32(0.5), {shape})", task)
        file.write_text("import numpy as np\n" + file.read_text())
        (found,) = _load(tmp_path).annotate([PICTURE], [()], ("a",))
        row = json.loads(json.dumps(annotation_to_row(found[0])))
        assert annotation_from_row(row) == found[0]
        assert row["score"] == 0.5


def test_points_go_with_their_object(tmp_path: Path) -> None:
    pairs = "p for n, s in enumerate((0.2, 0.9)) for p in ("
    box = f"Annotation('a', ME, score=s, id=str(n), {BOX}), "
    point = "Annotation('b', ME, score=0.95, parent=str(n), keypoints=((n + 5, 5),)))"
    _write(tmp_path, pairs + box + point, "keypoints")
    (every,) = _load(tmp_path).annotate([PICTURE], [()], ("a", "b"))
    (sure,) = _load(tmp_path, threshold=0.5).annotate([PICTURE], [()], ("a", "b"))
    assert [(a.label, a.id, a.parent) for a in every] == [
        ("b", "", "0"),
        ("b", "", "1"),
        ("a", "1", ""),
        ("a", "0", ""),
    ]
    assert [(a.label, a.id, a.parent) for a in sure] == [("b", "", "1"), ("a", "1", "")]


def test_the_revision_follows_the_file_and_what_it_names(tmp_path: Path) -> None:
    revisions = []
    for answer, names in [("", ""), ("", ""), ("prior", ""), ("", 'revision = "2"')]:
        _write(tmp_path, answer, names=names)
        revisions.append(_load(tmp_path).revision)
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3
    # Nothing is left beside it, and an edit within the file's clock tick is seen.
    assert not (tmp_path / "__pycache__").exists()


def test_an_edit_is_seen_at_once(tmp_path: Path) -> None:
    for label in ("a", "b"):
        file = _write(tmp_path, f"Annotation('{label}', ME, score=0.5, {BOX})")
        os.utime(file, (1e9, 1e9))
        (found,) = _load(tmp_path).annotate([PICTURE], [()], ("a", "b"))
        assert [a.label for a in found] == [label]


def test_it_is_closed_if_it_can_be(tmp_path: Path) -> None:
    file = _write(tmp_path, "")
    _load(tmp_path).close()
    file.write_text(
        file.read_text() + f"\n    def close(self):\n        open({str(tmp_path / 'closed')!r}, 'w')\n"
    )
    _load(tmp_path).close()
    assert (tmp_path / "closed").exists()


SLOW = """
import time
from pathlib import Path


class Model:
    task = "detection"
    names = ("a",)

    def __init__(self, options):
        with Path(__file__).with_name("said").open("a") as file:
            file.write("in ")
        time.sleep(0.1)
        with Path(__file__).with_name("said").open("a") as file:
            file.write("out ")
"""


def test_of_several_threads_one_loads_at_a_time(tmp_path: Path) -> None:
    """As live help does, which has two models; see `models._ALONE`."""
    (tmp_path / "my.py").write_text(SLOW)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _load(tmp_path), range(4)))
    assert (tmp_path / "said").read_text() == "in out " * 4


@pytest.mark.parametrize(
    ("names", "labels", "lines"),
    [
        ('"Lorry", "bus"', {"lorry", "bus"}, ("own:my.py: its class 'Lorry' is taken for 'lorry'",)),
        (
            '"Lorry", "LORRY", "bus"',
            {"bus"},
            tuple(
                f"own:my.py: its class {name!r} may be 'lorry': set preannotate.class_map"
                for name in ("LORRY", "Lorry")
            ),
        ),
        ('"Lorry", "lorry", "bus"', {"lorry", "bus"}, None),
    ],
)
def test_a_name_of_another_case_is_taken_or_told(
    tmp_path: Path, names: str, labels: set[str], lines: tuple[str, ...] | None
) -> None:
    answer = "Annotation(c, ME, box=(0, 0, 9, 9), score=0.9) for c in classes"
    _write(tmp_path, answer, names=f"names = ({names})")
    model = _load(tmp_path)
    (guesses,) = model.annotate([PICTURE], [()], ("lorry", "bus"))
    assert {a.label for a in guesses} == labels
    unclear = ("own:my.py: its class 'Lorry' may be 'lorry': set preannotate.class_map",)
    assert model.shortfalls == (unclear if lines is None else lines)


def test_names_that_are_all_unclear_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "", names='names = ("Lorry", "LORRY")')
    with pytest.raises(ModelError, match=r"'Lorry' may be 'lorry': set preannotate.class_map"):
        _load(tmp_path).annotate([PICTURE], [()], ("lorry",))

"""What annotators said is kept: who is asked again, and about what, when settings, images or disks change."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import build
from workflow.guesses import kept, shards
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows
from workflow.stages import catalog, preannotate

COUNT = 24
# A box as dark as its image is bright, at two scores; a line for each image it is shown.
OWN = """
import time
from workflow.records import Annotation, Provenance

ME = Provenance("model", "me")

class Model:
    task = "detection"
    names = ("a", "b")

    def __init__(self, options):
        self.log = options.project / "asked"

    def annotate(self, images, prior, classes):
        time.sleep({seconds})
        with self.log.open("a") as file:
            file.writelines(f"{{image.max()}}\\n" for image in images)
        return [self.look(int(image.max())) for image in images]

    def look(self, gray):
        return [Annotation(name, ME, box=(0, 0, 1 + gray % 90, 9), score=score)
                for name, score in (("a", 0.9), ("b", 0.4))]
"""
TOML = """
name = "grays"
title = "Grays"
classes = ["a", "b"]
[preannotate]
model = "{model}"
trust = true
"""


def _project(folder: Path, model: str = "own:gray.py", seconds: float = 0.0) -> Project:
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    for number in range(COUNT):
        Image.new("RGB", (96, 64), (number, number, number)).save(images / f"{number:02}.png")
    (folder / "gray.py").write_text(OWN.format(seconds=seconds))
    (folder / "project.toml").write_text(TOML.format(model=model))
    project = load_project(folder)
    catalog.run(project)
    return project


def _with(project: Project, lines: str) -> Project:
    """The project with more lines in its section of pre-annotation."""
    path = project.folder / "project.toml"
    path.write_text(path.read_text() + lines)
    return load_project(project.folder)


def _asked(project: Project) -> list[int]:
    """The grays of the images that the model was shown since this was last asked, sorted."""
    log = project.folder / "asked"
    grays = sorted(map(int, log.read_text().split())) if log.exists() else []
    log.unlink(missing_ok=True)
    return grays


def _labels(project: Project) -> dict[str, list[str]]:
    rows = read_rows(preannotate.predictions_path(project))
    return {row["image"]: [a["label"] for a in row["annotations"]] for row in rows}


def _shards(project: Project) -> list[Path]:
    return sorted(project.data.glob("raw/*/0*.jsonl"))


EVERY = list(range(COUNT))


def test_a_detector_is_asked_once_whatever_is_chosen(tmp_path: Path) -> None:
    """As if it had been asked so each time; and nobody is asked: its weights are out of reach meanwhile."""
    build("rtdetr-v2", tmp_path / "tiny" / "rtdetr-v2")
    project = _project(tmp_path, "detr:tiny/rtdetr-v2")
    text = (tmp_path / "project.toml").read_text().replace('["a", "b"]', '["1", "2", "3"]')
    (tmp_path / "project.toml").write_text(text)
    first = preannotate.run(load_project(tmp_path), "cpu")
    assert not any("nobody was asked" in line for line in first.lines)
    lines = ""
    for setting in (
        "threshold = 0.05",
        'class_map = {"4" = "1", "5" = "1"}',
        "one_label_a_place = true",
        "max_det = 3",
        'thresholds = {"2" = 0.07}',
    ):
        lines += f"{setting}\n"
        (tmp_path / "project.toml").write_text(text + lines)
        project = load_project(tmp_path)
        outcome = preannotate.run(project, "cpu")
        assert f"chosen of what was kept of {COUNT} images; nobody was asked" in outcome.lines
    chosen = preannotate.predictions_path(project).read_bytes()
    assert chosen.count(b'"label"') > 0
    chain = preannotate.load(project, "cpu")
    rows = read_rows(preannotate.predictions_path(project))
    provenance = next(a["provenance"] for row in rows for a in row["annotations"])
    assert provenance == {"kind": "model", "name": chain.name, "revision": chain.revision}
    chain.close()
    anew = preannotate.run(project, "cpu", force=True)
    assert not any("nobody was asked" in line for line in anew.lines)
    assert preannotate.predictions_path(project).read_bytes() == chosen


def test_below_the_floor_it_is_asked_again(tmp_path: Path) -> None:
    build("rtdetr-v2", tmp_path / "tiny" / "rtdetr-v2")
    _project(tmp_path, "detr:tiny/rtdetr-v2")
    text = (tmp_path / "project.toml").read_text().replace('["a", "b"]', '["1", "2", "3"]') + "floor = 0.3\n"
    said = []
    for threshold in (0.4, 0.35, 0.2, 0.1):
        (tmp_path / "project.toml").write_text(f"{text}threshold = {threshold}\n")
        said.append(preannotate.run(load_project(tmp_path), "cpu").lines[-1])
    nobody = f"chosen of what was kept of {COUNT} images; nobody was asked"
    again = "asked anew: what detr:tiny/rtdetr-v2 says depends on threshold"
    assert said[1:] == [nobody, again, again]


def test_who_must_be_asked_anew_is_and_that_is_said(tmp_path: Path) -> None:
    project = _project(tmp_path)
    preannotate.run(project, "cpu")
    assert _asked(project) == EVERY
    assert set(map(tuple, _labels(project).values())) == {("a", "b")}
    higher = _with(project, "threshold = 0.5\n")
    assert "asked anew: what own:gray.py says depends on threshold" in preannotate.run(higher, "cpu").lines
    assert _asked(project) == EVERY
    # A class's own threshold above that of all decides nothing that it says.
    stricter = _with(higher, "thresholds = {a = 0.95}\n")
    preannotate.run(stricter, "cpu")
    assert _asked(project) == []
    assert set(map(tuple, _labels(stricter).values())) == {()}


def test_only_new_images_are_asked_about(tmp_path: Path) -> None:
    project = _project(tmp_path)
    preannotate.run(project, "cpu")
    _asked(project)
    Image.new("RGB", (96, 64), (200, 200, 200)).save(tmp_path / "data" / "images" / "new.png")
    (tmp_path / "data" / "images" / "03.png").unlink()
    catalog.run(project)
    outcome = preannotate.run(project, "cpu")
    assert _asked(project) == [200]
    assert f"{COUNT - 1} images were asked about before, and kept" in outcome.lines
    assert list(_labels(project)) == [r.id for r in read_catalog(project.catalog)]
    preannotate.run(project, "cpu", force=True)
    assert _asked(project) == sorted({*EVERY, 200} - {3})


def test_what_an_earlier_version_did_stays_done(tmp_path: Path) -> None:
    """It kept nothing."""
    project = _project(tmp_path)
    preannotate.run(project, "cpu")
    _asked(project)
    for path in sorted(project.data.glob("raw/**/*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert preannotate.run(project, "cpu").skipped
    assert _asked(project) == []


def _cut(content: bytes) -> bytes:
    return content[: content.rindex(b"\n", 0, -1) + 40]


def _garble(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"guesses":[', b'"guesses":7,[')
    lines[5] = b"\0" * (len(lines[5]) - 1) + b"\n"
    lines[6] = lines[6].replace(b'"score":0.9', b'"score":"0.9"')
    return b"".join(lines)


@pytest.mark.parametrize(("damage", "again"), [(_cut, [COUNT - 1]), (_garble, [4, 5, 6])])
def test_a_damaged_line_is_asked_again_and_no_other(
    tmp_path: Path, damage: Callable[[bytes], bytes], again: list[int]
) -> None:
    project = _project(tmp_path)
    preannotate.run(project, "cpu")
    whole = preannotate.predictions_path(project).read_bytes()
    _asked(project)
    (shard,) = _shards(project)
    shard.write_bytes(damage(shard.read_bytes()))
    (project.marks / "preannotate.json").unlink()
    preannotate.run(project, "cpu")
    assert _asked(project) == again
    assert preannotate.predictions_path(project).read_bytes() == whole


def test_files_are_of_bounded_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LENGTH", 10)
    project = _project(tmp_path)
    preannotate.run(project, "cpu")
    counts = [path.read_bytes().count(b"\n") for path in _shards(project)]
    assert sum(counts) == COUNT and max(counts) < 10 + 8
    (project.marks / "preannotate.json").unlink()
    preannotate.run(project, "cpu")
    assert _asked(project) == EVERY


def test_a_broken_image_is_listed_and_asked_about_once_it_is_whole(tmp_path: Path) -> None:
    project = _project(tmp_path)
    path = tmp_path / "data" / "images" / "07.png"
    content = path.read_bytes()
    path.write_bytes(content[:60])
    outcome = preannotate.run(project, "cpu")
    assert f"quarantined {path}: truncated" in outcome.lines
    assert outcome.did.endswith("none on 0, 1 unreadable")
    assert _asked(project) == [n for n in EVERY if n != 7]
    (file,) = project.data.glob("raw/*/quarantine.jsonl")
    assert [(row["path"], row["reason"]) for row in read_rows(file)] == [("07.png", "truncated")]
    (project.marks / "preannotate.json").unlink()
    outcome = preannotate.run(project, "cpu")
    assert f"quarantined {path}: truncated" in outcome.lines
    assert _asked(project) == []
    path.write_bytes(content)
    (project.marks / "preannotate.json").unlink()
    assert not any("quarantined" in line for line in preannotate.run(project, "cpu").lines)
    assert _asked(project) == [7]
    assert len(_labels(project)) == COUNT


RUN = """
import sys
from pathlib import Path
from workflow.project.paths import load_project
from workflow.stages import preannotate
preannotate.run(load_project(Path(sys.argv[1])), "cpu", batch=2, workers=int(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_killed_it_goes_on_where_it_was(tmp_path: Path, workers: int) -> None:
    """One batch at most is asked about twice: what was answered, and not yet written."""
    project = _project(tmp_path, seconds=0.2)
    child = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), str(workers)])
    end = time.monotonic() + 240
    while not any(path.read_bytes().count(b"\n") >= 4 for path in _shards(project)):
        assert child.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    child.kill()
    child.wait()
    first = _asked(project)
    assert 4 <= len(first) < COUNT
    outcome = preannotate.run(project, "cpu", batch=2, workers=workers)
    assert any("were asked about before, and kept" in line for line in outcome.lines)
    second = _asked(project)
    assert sorted({*first, *second}) == EVERY
    # What was shown in the last moments, of which the answers wait for each other in a few batches.
    assert len({*first} & {*second}) <= 2 * 2 + workers
    assert list(_labels(project)) == [r.id for r in read_catalog(project.catalog)]


def test_what_no_answer_can_say_is_one_line(tmp_path: Path) -> None:
    project = _project(tmp_path)
    preannotate.run(project, "cpu")
    (shard,) = _shards(project)
    lines = shard.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"box":[0.0,0.0', b'"box":[900.0,0.0')
    shard.write_bytes(b"".join(lines))
    found, _ = kept.find(project)
    assert found
    # Such a line was never written: its image has none.
    assert len(found.shards) == COUNT - 1
    found.close()

"""Every state the labels have been in, and the way back."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import orjson
import pytest

from tests.samples import draw_project
from workflow.commands import history as stage
from workflow.errors import StageError
from workflow.labels import history
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_catalog, read_rows, sample_to_row
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import catalog


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = draw_project(tmp_path, "classification", 4)
    catalog.run(project)
    return project


def label(project: Project, number: int, name: str, by: str = "pull") -> bytes:
    """Let one image be labeled so, the others be as they are; what labels.jsonl says then."""
    labels = RowFile(project.labels)
    for at, record in enumerate(read_catalog(project.catalog)):
        if at == number:
            said = (Annotation(name, Provenance("person", "1")),)
            labels.put(record.id, sample_to_row(Sample(record.id, "reviewed", said)))
        elif record.id not in labels:
            labels.put(record.id, sample_to_row(Sample(record.id, "unlabeled")))
    history.save(project, labels, by)
    return project.labels.read_bytes()


def test_every_state_can_be_had_again(project: Project) -> None:
    states = [label(project, 0, "disk"), label(project, 1, "bar"), label(project, 0, "tile")]
    assert [(c.number, c.by, c.images) for c in history.changes(project)] == [
        (1, "pull", 4),
        (2, "pull", 1),
        (3, "pull", 1),
    ]
    for number, state in enumerate(states, 1):
        history.restore(project, number)
        assert project.labels.read_bytes() == state
    # Going back is itself a change, which can be undone.
    assert [c.by for c in history.changes(project)][3:] == ["restore 1", "restore 2", "restore 3"]


def test_no_change_is_written_down_twice(project: Project) -> None:
    label(project, 0, "disk")
    before = project.labels.stat().st_mtime_ns
    label(project, 0, "disk")
    assert len(history.changes(project)) == 1
    assert project.labels.stat().st_mtime_ns == before
    # Killed between the history and the labels, the same pull says the same again.
    old = project.labels.read_bytes()
    label(project, 1, "bar")
    project.labels.write_bytes(old)
    label(project, 1, "bar")
    assert len(history.changes(project)) == 2


def test_labels_of_a_time_before_the_history_are_kept_in_it(project: Project) -> None:
    state = label(project, 0, "disk")
    for path in (project.data / "history").iterdir():
        path.unlink()
    label(project, 0, "bar")
    assert [c.by for c in history.changes(project)] == ["as found", "pull"]
    history.restore(project, 1)
    assert project.labels.read_bytes() == state


def test_what_is_no_change_is_refused(project: Project) -> None:
    with pytest.raises(StageError) as error:
        stage.restore(project, 1)
    assert str(error.value) == "classification has no change 1: there is none -> workflow history"
    label(project, 0, "disk")
    with pytest.raises(StageError, match="has no change 2: there is 1 to 1"):
        stage.restore(project, 2)


def test_it_is_shown_in_lines(project: Project) -> None:
    assert stage.describe(project) == "classification: no labels were pulled or imported yet"
    label(project, 0, "disk")
    label(project, 1, "bar", by="import coco")
    head, first, second = stage.describe(project).splitlines()
    assert head.split() == ["change", "when", "(UTC)", "images", "by"]
    assert (first.split()[0], first.split()[3:]) == ("1", ["4", "pull"])
    assert (second.split()[0], second.split()[3:]) == ("2", ["1", "import", "coco"])
    assert stage.restore(project, 1).startswith("history: 1 images are labeled as after change 1")


def test_images_that_came_later_are_unlabeled_after_going_back(project: Project) -> None:
    label(project, 0, "disk")
    extra = draw_project(project.folder.parent / "more", "classification", 6)
    for path in extra.images.iterdir():
        (project.images / path.name).write_bytes(path.read_bytes())
    catalog.run(project)
    label(project, 5, "bar")
    history.restore(project, 1)
    states = [row["state"] for row in read_rows(project.labels)]
    assert sorted(states) == ["reviewed"] + ["unlabeled"] * 5


def cut(path: Path) -> None:
    """As a full disk or an editor leaves it: without its last lines."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))


def test_a_history_that_lost_lines_is_restored_only_when_asked(project: Project) -> None:
    state = label(project, 0, "disk")
    label(project, 1, "bar")
    first = project.data / "history" / "000001.jsonl"
    cut(first)
    before = project.labels.read_bytes()
    with pytest.raises(StageError) as error:
        history.restore(project, 1)
    assert str(error.value) == (
        "the history does not hold all of change 1: 000001.jsonl has 2 of 4 lines -> "
        "bring them back from a copy, or: workflow history classification --restore 1 --partial"
    )
    assert project.labels.read_bytes() == before
    assert stage.describe(project).splitlines()[1].endswith("pull  (000001.jsonl has 2 of 4 lines)")
    said = stage.restore(project, 1, partial=True)
    assert said.splitlines()[1:] == ["  000001.jsonl has 2 of 4 lines"]
    kept = {row["image"]: row for row in read_rows(project.labels)}
    assert [kept[r["image"]] for r in map(orjson.loads, state.splitlines()[:2])] == [
        orjson.loads(line) for line in state.splitlines()[:2]
    ]


def test_a_history_file_that_was_changed_or_is_gone_is_no_basis(project: Project) -> None:
    for number, name in enumerate(("disk", "bar", "tile")):
        label(project, number, name)
    first, second, third = sorted((project.data / "history").iterdir())
    first.write_bytes(first.read_bytes().replace(b'"disk"', b'"tile"'))
    second.unlink()
    third.write_bytes(b"nonsense\n" + third.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(StageError) as error:
        history.restore(project, 3)
    assert error.value.problem == (
        "the history does not hold all of change 3: 000002.jsonl is gone; 000001.jsonl was changed; "
        "the first line of 000003.jsonl does not read"
    )
    assert len(history.restore(project, 3, partial=True).notes) == 3
    # The next change is written down as ever.
    assert [c.number for c in history.changes(project)] == [1, 3, 4]


def test_a_history_of_the_version_before_is_read(project: Project) -> None:
    """Its headers say neither count nor what labels.jsonl said."""
    states = [label(project, 0, "disk"), label(project, 1, "bar")]
    for path in (project.data / "history").iterdir():
        header, rest = path.read_bytes().split(b"\n", 1)
        old = {key: value for key, value in orjson.loads(header).items() if key in ("at", "by", "content")}
        path.write_bytes(b"\xef\xbb\xbf" + orjson.dumps(old) + b"\n" + rest.replace(b"\n", b"\r\n"))
    label(project, 2, "tile")
    for number, state in enumerate(states, 1):
        assert history.restore(project, number).notes == ()
        assert project.labels.read_bytes() == state
    first = project.data / "history" / "000001.jsonl"
    cut(first)
    with pytest.raises(StageError, match=r"000001\.jsonl was changed -> "):
        history.restore(project, 1)


def test_what_was_edited_by_hand_can_be_had_again(project: Project) -> None:
    label(project, 0, "disk")
    edited = project.labels.read_bytes().replace(b'"disk"', b'"tile"')
    project.labels.write_bytes(edited)
    label(project, 0, "bar")
    assert [(c.by, c.images) for c in history.changes(project)] == [
        ("pull", 4),
        ("edited by hand", 1),
        ("pull", 1),
    ]
    history.restore(project, 2)
    assert project.labels.read_bytes() == edited


def test_labels_that_do_not_read_are_moved_aside_by_going_back(project: Project) -> None:
    state = label(project, 0, "disk")
    project.labels.write_bytes(state + b"half a li")
    restored = history.restore(project, 1)
    (aside,) = project.data.glob("labels.jsonl.20*")
    assert project.labels.read_bytes() == state
    assert aside.read_bytes() == state + b"half a li"
    assert restored.notes[0].endswith(f"; it is now {aside}")


def test_more_changes_than_files_are_kept_open(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "OPEN", 1)
    states = [label(project, number % 4, name) for number, name in enumerate(("disk", "bar", "tile") * 3)]
    for number in (9, 2, 6, 1):
        history.restore(project, number)
        assert project.labels.read_bytes() == states[number - 1]


def test_saving_and_going_back_hold_places_and_no_lines(project: Project) -> None:
    labels = RowFile(project.labels)
    records = read_catalog(project.catalog)
    for number in range(300):
        image = records[number].id if number < len(records) else f"gone-{number}"
        said = (Annotation("disk", Provenance("person", "1")),)
        labels.put(image, sample_to_row(Sample(image, "reviewed", said, {"note": "x" * 100_000})))
    history.save(project, labels, "pull")
    label(project, 0, "bar")
    tracemalloc.start()
    try:
        restored = history.restore(project, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert restored.images == 1
    # of 30 MB of lines
    assert peak < 3_000_000

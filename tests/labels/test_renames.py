"""Classes change while labels use them: by name, and never in what a label means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import draw_project
from workflow.errors import ConfigError, StageError
from workflow.labels import history, renames
from workflow.labels.renames import lock_schema, stored_names
from workflow.labelstudio.project_interface import interface_of
from workflow.project.paths import Project, load_project
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_catalog, read_json, read_rows, sample_to_row, write_rows
from workflow.records import Annotation, Provenance, Sample
from workflow.stages import catalog

ME = Provenance("person", "1")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Classes disk, bar, tile; four images, labeled disk, disk, bar and not at all."""
    project = draw_project(tmp_path, "classification", 4)
    catalog.run(project)
    lock_schema(project)
    records = read_catalog(project.catalog)
    said = [("disk",), ("disk",), ("bar",), ()]
    samples = [
        Sample(r.id, "reviewed", tuple(Annotation(label, ME) for label in labels))
        for r, labels in zip(records, said, strict=True)
    ]
    write_rows(project.labels, sorted(map(sample_to_row, samples), key=lambda row: row["image"]))
    action = {"action": "relabelled", "label": "disk", "was": "bar", "iou": 1.0}
    said = {"at": "2026-01-01", "person": "1", "lead_time": 1.0, "blind": False, "skipped": False}
    write_rows(project.ledger, [said | {"image": records[0].id, "actions": [action]}])
    return project


def changed(project: Project, classes: list[str], more: str = "") -> Project:
    toml = project.folder / "project.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("renamed_from")]
    lines = [f"classes = {classes}\n{more}" if line.startswith("classes") else line for line in lines]
    toml.write_text("\n".join(lines) + "\n")
    return load_project(project.folder)


def labels(project: Project) -> list[str]:
    return sorted(a["label"] for row in read_rows(project.labels) for a in row["annotations"])


@pytest.mark.parametrize(
    "classes",
    [
        ["disk", "bar", "tile", "new"],
        ["new", "tile", "bar", "disk"],
        ["disk", "bar"],
    ],
    ids=["added", "added in front and reordered", "removed what nobody uses"],
)
def test_what_bends_no_label_is_taken(project: Project, classes: list[str]) -> None:
    before = project.labels.read_bytes()
    project = changed(project, classes)
    assert lock_schema(project) == ""
    assert read_json(project.data / "classes.json", []) == classes
    assert project.labels.read_bytes() == before


def test_a_class_in_use_is_not_removed(project: Project) -> None:
    before = [path.read_bytes() for path in (project.labels, project.data / "classes.json")]
    project = changed(project, ["tile", "ring"])
    with pytest.raises(ConfigError) as error:
        lock_schema(project)
    assert error.value.problems == ["classes: labels in use would lose their class: 'disk' (2), 'bar' (1)"]
    assert error.value.fix.startswith('put them back, rename them (renamed_from = {NEW = "OLD"})')
    assert [path.read_bytes() for path in (project.labels, project.data / "classes.json")] == before


def test_a_renamed_class_takes_its_labels_along(project: Project) -> None:
    project = changed(project, ["ring", "bar", "tile"], 'renamed_from = {ring = "disk"}')
    assert lock_schema(project) == "2 labels renamed: disk to ring"
    assert labels(project) == ["bar", "ring", "ring"]
    (row,) = read_rows(project.ledger)
    assert (row["actions"][0]["label"], row["actions"][0]["was"]) == ("ring", "bar")
    assert stored_names(project) == {"ring": "disk"}
    assert [c.by for c in history.changes(project)] == ["as found", "rename disk to ring"]
    # Once done it stays done, with the line in project.toml or without.
    files = [project.labels, project.ledger, renames._stored_path(project)]
    before = [path.read_bytes() for path in files]
    assert lock_schema(project) == ""
    assert lock_schema(changed(project, ["ring", "bar", "tile"])) == ""
    assert [path.read_bytes() for path in files] == before


def test_an_earlier_state_comes_back_by_todays_names(project: Project) -> None:
    """Twice renamed, once while no label had the class any more."""
    history.save(project, RowFile(project.labels), "pull")
    project = changed(project, ["ring", "bar", "tile"], 'renamed_from = {ring = "disk"}')
    dispute = {"what": "label", "labels": {"disk": ["1"], "bar": ["2"]}}
    write_rows(project.disagreements, [{"image": "a", "on": [dispute]}])
    lock_schema(project)
    (row,) = read_rows(project.disagreements)
    assert row["on"][0]["labels"] == {"ring": ["1"], "bar": ["2"]}
    cleared = RowFile(project.labels)
    for image in cleared:
        cleared.put(image, sample_to_row(Sample(image, "unlabeled")))
    history.save(project, cleared, "pull")
    project = changed(project, ["hoop", "tile"], 'renamed_from = {hoop = "ring"}')
    assert lock_schema(project) == "0 labels renamed: ring to hoop"
    assert lock_schema(project) == ""
    assert [c.by for c in history.changes(project)] == [
        "as found",
        "rename disk to ring",
        "pull",
        "rename ring to hoop",
    ]
    before = project.labels.read_bytes()
    with pytest.raises(StageError) as error:
        history.restore(project, 1)
    assert (
        error.value.problem == "change 1 has labels that are no class of classification any more: 'bar' (1)"
    )
    assert project.labels.read_bytes() == before
    project = changed(project, ["hoop", "tile", "bar"])
    # What only a model said was no label that could be lost.
    guessed = RowFile(project.labels)
    some = read_catalog(project.catalog)[3].id
    guessed.put(some, sample_to_row(Sample(some, "predicted", (Annotation("gone", ME),))))
    history.save(project, guessed, "pull")
    history.restore(project, 5)
    for number in (1, 2):
        history.restore(project, number)
        assert labels(project) == ["bar", "hoop", "hoop"]


def test_renamed_again_it_keeps_the_name_the_server_knows(project: Project) -> None:
    lock_schema(changed(project, ["ring", "bar", "tile"], 'renamed_from = {ring = "disk"}'))
    project = changed(project, ["hoop", "bar", "tile"], 'renamed_from = {hoop = "ring"}')
    assert lock_schema(project) == "2 labels renamed: ring to hoop"
    assert labels(project) == ["bar", "hoop", "hoop"]
    assert stored_names(project) == {"hoop": "disk"}
    assert interface_of(project).stored == {"hoop": "disk"}
    assert '<Choice value="hoop" hotkey="1" alias="disk"/>' in interface_of(project).config


@pytest.mark.parametrize("dies_at", ["history.save", "RowFile.write", "write_json"])
@pytest.mark.parametrize("times", [1, 2])
def test_killed_in_between_it_goes_on(
    project: Project, dies_at: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its first or second write of a kind, with a rename before it already done."""
    lock_schema(changed(project, ["ring", "bar", "tile"], 'renamed_from = {ring = "disk"}'))
    project = changed(project, ["hoop", "bar", "tile"], 'renamed_from = {hoop = "ring"}')
    owner: object = renames
    *path, name = dies_at.split(".")
    for part in path:
        owner = getattr(owner, part)
    real, left = getattr(owner, name), [times]

    def die(*args: object, **more: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        try:
            lock_schema(project)
        except KeyboardInterrupt:
            assert left[0] == 0
    lock_schema(project)
    assert labels(project) == ["bar", "hoop", "hoop"]
    assert stored_names(project) == {"hoop": "disk"}
    assert read_json(project.data / "classes.json", []) == ["hoop", "bar", "tile"]
    (row,) = read_rows(project.ledger)
    assert (row["actions"][0]["label"], row["actions"][0]["was"]) == ("hoop", "bar")


@pytest.mark.parametrize(
    ("classes", "renamed", "problem"),
    [
        (["ring"], {"hoop": "disk"}, "renamed_from: 'hoop' is no class"),
        (["disk", "bar"], {"bar": "disk"}, "renamed_from: 'disk' is still a class"),
        (["ring", "hoop"], {"ring": "disk", "hoop": "disk"}, "renamed_from: 'disk' cannot become two"),
    ],
    ids=["to no class", "swapped", "split"],
)
def test_renames_that_make_no_sense_are_refused(
    project: Project, classes: list[str], renamed: dict[str, str], problem: str
) -> None:
    pairs = ", ".join(f'{new} = "{old}"' for new, old in renamed.items())
    with pytest.raises(ConfigError) as error:
        changed(project, classes, f"renamed_from = {{{pairs}}}")
    assert problem in error.value.problems[0]


def test_two_classes_do_not_become_one(project: Project) -> None:
    project = changed(project, ["bar", "tile"], 'renamed_from = {bar = "disk"}')
    with pytest.raises(ConfigError, match="'bar' and 'disk' are two classes already, and would become one"):
        lock_schema(project)
    assert labels(project) == ["bar", "disk", "disk"]


def test_a_new_class_does_not_get_the_name_another_is_stored_under(project: Project) -> None:
    lock_schema(changed(project, ["ring", "bar", "tile"], 'renamed_from = {ring = "disk"}'))
    project = changed(project, ["ring", "bar", "tile", "disk"])
    with pytest.raises(ConfigError, match="'disk' is the name under which Label Studio keeps 'ring'"):
        lock_schema(project)


def test_models_from_before_are_understood(project: Project) -> None:
    project = changed(project, ["ring", "bar"], 'renamed_from = {ring = "disk"}')
    assert project.settings.preannotate.class_map == {"disk": "ring"}


def test_keypoints_are_locked_as_classes_are(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "keypoints", 1)
    lock_schema(project)
    point = Annotation("left", ME, keypoints=((1, 1),))
    write_rows(project.labels, [sample_to_row(Sample("a", "reviewed", (point,)))])
    toml = project.folder / "project.toml"
    text = toml.read_text()
    toml.write_text(text.replace("['left', 'right']", "['right', 'left', 'top']"))
    assert lock_schema(load_project(project.folder)) == ""
    toml.write_text(text.replace("['left', 'right']", "['right']"))
    with pytest.raises(ConfigError) as error:
        lock_schema(load_project(project.folder))
    assert error.value.problems == ["keypoints: labels in use would lose their class: 'left' (1)"]

"""Every task through the real server: guesses made by hand, a simulated reviewer, and what comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.samples import CLASSES, EMPTY, UNREADABLE, pushed_tasks, shifted
from tests.samples import draw_project as draw
from workflow.commands import reviewer
from workflow.dataset import parquet
from workflow.labelstudio import regions
from workflow.labelstudio.client import Client
from workflow.labelstudio.connection import serve
from workflow.labelstudio.tool import LabelStudio
from workflow.project.paths import Project
from workflow.project.rows import (
    annotation_from_row,
    read_catalog,
    read_rows,
    read_samples,
    sample_to_row,
    write_rows,
)
from workflow.records import Annotation, Provenance, Sample
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.stages import catalog, dataset, preannotate, pull, push
from workflow.tasks import TASKS, TaskName

pytestmark = pytest.mark.services
MODEL = Provenance("model", "by hand", "1")
# All images train, so that every one is pushed with its guess.
ALL_TRAIN = "[split]\nvalidation = 0\ntest = 0\n"


def _number(file: str) -> int:
    return int(Path(file).stem.split("-")[-1])


def _truth(project: Project) -> dict[str, list[Annotation]]:
    me = {"provenance": {"kind": "person", "name": "truth"}}
    return {
        row["file"]: [annotation_from_row(a | me) for a in row["annotations"]]
        for row in read_rows(project.data / "truth.jsonl")
    }


Spoil = Callable[[list[Annotation], int], list[Annotation]]


def _guess(project: Project, spoil: Spoil) -> dict[str, list[Annotation]]:
    """Write predictions, the truth as `spoil` makes it of each image, and return them by file."""
    truth = _truth(project)
    guesses: dict[str, list[Annotation]] = {}
    records = read_catalog(project.catalog)
    for record in records:
        number = _number(record.path)
        # In the image that shows nothing, the model sees what the first one shows.
        seen = truth["shapes-00.png"] if number == EMPTY else truth[record.path]
        wrong = [] if number == UNREADABLE else spoil(seen, number)
        names = {a.id: f"g{number}-{n}" for n, a in enumerate(wrong)} | {"": ""}
        guesses[record.path] = [
            replace(a, provenance=MODEL, score=0.5, id=names[a.id], parent=names[a.parent]) for a in wrong
        ]
    samples = [Sample(r.id, "predicted", tuple(guesses[r.path])) for r in records]
    write_rows(preannotate.predictions_path(project), map(sample_to_row, samples))
    return guesses


def _other(label: str) -> str:
    return CLASSES[(CLASSES.index(label) + 1) % 3]


def _misplaced(truth: list[Annotation], number: int) -> list[Annotation]:
    """Objects somewhere else, called something else, forgotten or made up; 0 and 7 are right, 9 nearly."""
    if number == 5:
        return []
    if number == 6:
        return [a for a in truth if truth[0].id in (a.id, a.parent)]
    far = {1: 6, 8: 6, 9: 1}.get(number, 0)
    truth = [shifted(a, far) if far else a for a in truth]
    if number in (4, 8):
        return [a if a.keypoints else replace(a, label=_other(a.label)) for a in truth]
    return truth


def _misnamed(truth: list[Annotation], number: int) -> list[Annotation]:
    """The one label of an image: forgotten in 5, and another in 1, 4 and 8."""
    if number == 5:
        return []
    return [replace(a, label=_other(a.label)) for a in truth] if number in (1, 4, 8) else truth


def _mixed_up(truth: list[Annotation], number: int) -> list[Annotation]:
    """Several labels an image: one forgotten in 1, all in 5, another in 4, one too many in 7."""
    if number == 7:
        return [Annotation(name, MODEL) for name in CLASSES]
    if number == 4:
        return [replace(a, label=_other(a.label)) for a in truth]
    return truth[: {1: 1, 5: 0}.get(number, 2)]


OBJECTS = {"accepted": 6, "moved": 2, "relabelled": 2, "deleted": 1, "added": 3}
PAINTED = {"accepted": 6, "reshaped": 2, "relabelled": 2, "deleted": 1, "added": 3}


@pytest.mark.parametrize(
    ("task", "spoil", "actions", "pulled", "built"),
    [
        (
            "classification",
            _misnamed,
            {"accepted": 4, "relabelled": 3, "deleted": 1, "added": 1},
            "8 labels, 1 empty",
            "8 train: 8 labels, 0 empty images; LEFT OUT, 1 images without a label left out",
        ),
        (
            "multilabel-classification",
            _mixed_up,
            {"accepted": 9, "deleted": 3, "added": 4},
            "13 labels, 1 empty",
            "9 train: 13 labels, 1 empty images; LEFT OUT",
        ),
        (
            "detection",
            _misplaced,
            OBJECTS,
            "13 boxes, 1 empty",
            "9 train: 13 boxes, 1 empty images; LEFT OUT",
        ),
        (
            "oriented-detection",
            _misplaced,
            OBJECTS,
            "13 rotated boxes, 1 empty",
            "9 train: 13 rotated boxes, 1 empty images; LEFT OUT",
        ),
        (
            "keypoints",
            _misplaced,
            {"accepted": 19, "moved": 7, "relabelled": 2, "deleted": 3, "added": 7},
            "35 boxes and keypoints, 1 empty",
            "9 train: 35 boxes and keypoints, 1 empty images; LEFT OUT",
        ),
        (
            "instance-segmentation",
            _misplaced,
            PAINTED,
            "13 masks, 1 empty",
            "9 train: 13 masks, 1 empty images; LEFT OUT",
        ),
        (
            "semantic-segmentation",
            _misplaced,
            PAINTED,
            "13 masks, 1 empty",
            "9 train: 13 masks, 1 empty images; LEFT OUT",
        ),
    ],
)
def test_a_task_through_the_server(
    task: TaskName,
    spoil: Spoil,
    actions: dict[str, int],
    pulled: str,
    built: str,
    tmp_path: Path,
    client: Client,
) -> None:
    project = draw(tmp_path, task, 10, ALL_TRAIN)
    catalog.run(project)
    guesses = _guess(project, spoil)
    assert push.run(project, LabelStudio(client, str(serve(project)))).did.endswith(
        f"10 new tasks, 0 unchanged, {sum(map(bool, guesses.values()))} new predictions"
    )
    assert "0 new tasks, 10 unchanged, 0 new predictions" in push.run(project, LabelStudio(client, None)).did
    assert reviewer.run(project, LabelStudio(client)).did.startswith(
        "10 tasks reviewed by a simulated reviewer, 1 of"
    )
    assert (
        pull.run(project, LabelStudio(client)).did
        == f"9 reviewed ({pulled}), 1 skipped, 0 waiting, 10 changed"
    )
    rows = [a for row in read_rows(project.ledger) for a in row["actions"]]
    assert Counter(a["action"] for a in rows) == actions
    truth = _truth(project)
    # What was nearly right was left as it was.
    truth["shapes-09.png"] = guesses["shapes-09.png"]
    files = {r.id: r.path for r in read_catalog(project.catalog)}
    labels = {files[image]: list(s.annotations) for image, s in read_samples(project.labels).items()}
    assert labels.keys() == truth.keys()
    for file, found in labels.items():
        _check_same(found, truth[file])
    assert dataset.run(project).did == built.replace("LEFT OUT", "left out 1 skipped, 0 unlabeled")
    points = project.settings.keypoints
    held = {
        row["file"]: a for row, a in parquet.read(project.dataset, "train", Schema.of(task, CLASSES, points))
    }
    left_out = {"shapes-03.png"} | ({"shapes-02.png"} if task == "classification" else set())
    assert held.keys() == truth.keys() - left_out
    for file, found in held.items():
        _check_same(found, truth[file])
    assert dataset.run(project).skipped


def _check_same(found: list[Annotation], wanted: list[Annotation]) -> None:
    """The same labels in the same places, masks to the pixel; a point on the same object."""
    assert sorted(map(_key, found)) == sorted(map(_key, wanted))
    for one, other in zip(sorted(found, key=_key), sorted(wanted, key=_key), strict=True):
        assert one.mask == other.mask
        assert _numbers(one) == pytest.approx(_numbers(other), abs=1e-6)
        assert _parent_key(one, found) == _parent_key(other, wanted)


def _key(a: Annotation) -> tuple[str, str, int]:
    # Each image has at most one object of a class, and points to its left and right.
    return a.label, a.geometry, round(_numbers(a)[0]) if a.keypoints else 0


def _numbers(a: Annotation) -> list[float]:
    turned = a.rotated_box
    if turned:
        return [turned.cx, turned.cy, turned.width, turned.height, turned.angle]
    return list(a.box or (a.keypoints[0] if a.keypoints else ()))


def _parent_key(a: Annotation, among: list[Annotation]) -> Any:
    return next((_key(b) for b in among if a.parent and b.id == a.parent), None)


def test_masks_as_outlines(tmp_path: Path, client: Client) -> None:
    """People correct outlines; what is drawn anew has the truth's pixels, but for the holes of disks."""
    project = draw(tmp_path, "instance-segmentation", 10, ALL_TRAIN + '[push]\nmasks = "polygon"\n')
    catalog.run(project)
    _guess(project, _misplaced)
    # One disk each in 0, 1, 2, 6, 7 and 9.
    assert push.run(project, LabelStudio(client, str(serve(project)))).did.endswith(
        "8 new predictions, 6 holes of masks filled"
    )
    reviewer.run(project, LabelStudio(client))
    assert (
        pull.run(project, LabelStudio(client)).did
        == "9 reviewed (13 masks, 1 empty), 1 skipped, 0 waiting, 10 changed"
    )
    truth = _truth(project)
    files = {r.id: r.path for r in read_catalog(project.catalog)}
    for image, sample in read_samples(project.labels).items():
        for found in sample.annotations:
            (wanted,) = [a for a in truth[files[image]] if a.label == found.label]
            assert found.polygons is not None
            assert len(found.polygons) == (2 if found.label == "bar" else 1)
            drawn = masks.from_polygons(found.polygons, wanted.mask.height, wanted.mask.width)
            assert masks.iou([drawn], [wanted.mask])[0, 0] > 0.85
            if _number(files[image]) in (1, 5):
                filled = masks.from_polygons(masks.outlines(wanted.mask)[0], drawn.height, drawn.width)
                assert drawn == (filled if found.label == "disk" else wanted.mask)
    assert dataset.run(project).did.startswith("9 train: 13 masks, 1 empty images;")


def test_an_image_with_two_labels_where_one_belongs_keeps_both_and_has_no_row(
    tmp_path: Path, client: Client
) -> None:
    project = draw(tmp_path, "classification", 4, ALL_TRAIN)
    catalog.run(project)
    _guess(project, _misnamed)
    push.run(project, LabelStudio(client, str(serve(project))))
    tasks = pushed_tasks(project)
    first, second = [r for r in read_catalog(project.catalog) if _number(r.path) < 2]
    region = {"id": "c", "from_name": "label", "to_name": "image", "type": "choices"}
    for record, labels in ((first, ["bar"]), (second, ["bar", "disk"])):
        result = [region | {"value": {"choices": labels}}]
        client.annotate(tasks[record.id], {"result": result, "was_cancelled": False, "lead_time": 1})
    did = pull.run(project, LabelStudio(client)).did
    assert (
        did == "2 reviewed (3 labels, 0 empty), 0 skipped, 2 waiting, 4 changed, 1 images with several labels"
    )
    found = [a.label for a in read_samples(project.labels)[second.id].annotations]
    assert found == ["bar", "disk"]
    left = "left out 0 skipped, 2 unlabeled, 1 images of several labels left out"
    assert dataset.run(project).did == f"1 train: 1 labels, 0 empty images; {left}"


def test_a_name_of_the_other_control_is_listed(tmp_path: Path, client: Client) -> None:
    """The server takes a point called like a class; we do not."""
    project = draw(tmp_path, "keypoints", 4, ALL_TRAIN)
    catalog.run(project)
    _guess(project, _misplaced)
    push.run(project, LabelStudio(client, str(serve(project))))
    record = read_catalog(project.catalog)[0]
    result = regions.to_result(
        [Annotation("disk", MODEL, keypoints=((5, 5),))],
        record.width,
        record.height,
        controls=regions.controls(TASKS["keypoints"]),
    )
    task = pushed_tasks(project)[record.id]
    client.annotate(task, {"result": result, "was_cancelled": False, "lead_time": 1})
    (line,) = pull.run(project, LabelStudio(client)).lines
    assert line.startswith(f"task {task} ({record.path}), person ")
    assert line.endswith(": 'disk' is a class and no keypoint -> relabel it there")

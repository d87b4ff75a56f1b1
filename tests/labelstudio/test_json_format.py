"""Label Studio's JSON export: which annotation counts, whose image it is, and what nobody labeled."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import SHARED
from tests.foreign import draw, look_up, make_project, there_and_back
from workflow.commands import import_
from workflow.errors import FormatError
from workflow.formats.fit import fit
from workflow.formats.page import Options, Page, Reading
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog, read_rows
from workflow.project.settings import Pull
from workflow.records import Annotation, Kind, Provenance
from workflow.stages import catalog

ME = Provenance("person", "me")
SIZES = {"a.png": (200, 100)}


def _region(label: str, x: float = 10) -> dict:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": [label]}
    return {"id": label, "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": value}


def _done(label: str, at: str = "2026-01-01T00:00:00Z", **more: object) -> dict:
    return {"id": 1, "result": [_region(label)], "was_cancelled": False, "updated_at": at} | more


def _read(folder: Path, *tasks: dict, kind: Kind = "import") -> tuple[dict[str, Page], Reading]:
    source = folder / "export.json"
    source.write_text(
        json.dumps([{"id": n, "data": {"image": "a.png"}} | task for n, task in enumerate(tasks, 1)])
    )
    return look_up("label-studio", source, "detection", SIZES, kind=kind)


def test_a_region_is_in_percent_of_the_upright_image(tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, {"annotations": [_done("cat")]})
    assert [(a.label, a.box) for a in pages["a.png"].annotations] == [("cat", (20, 10, 60, 30))]
    assert (reading.losses, reading.problems) == ({}, [])


@pytest.mark.parametrize(
    "data",
    [
        {"image": "https://images.example/some/a.png?sig=1", "title": "a"},
        {"image": "/data/upload/18/0a1b2c3d-a.png"},
        {"photo": "/data/local-files/?d=pets/a.png"},
        {"image": "s3://bucket/x.png", "file": "a.png"},
    ],
)
def test_the_image_is_told_by_its_address(data: dict, tmp_path: Path) -> None:
    source = tmp_path / "export.json"
    source.write_text(json.dumps([{"data": data, "annotations": [_done("cat")]}]))
    sizes = dict.fromkeys(("some/a.png", "pets/a.png", "a.png", "data/upload/18/a.png"), (200, 100))
    pages, _ = look_up("label-studio", source, "detection", sizes)
    assert [Path(name).name for name in pages] == ["a.png"]


def test_the_latest_annotation_counts_and_the_others_are_counted(tmp_path: Path) -> None:
    older, latest = _done("dog", "2026-01-01"), _done("cat", "2026-02-01")
    pages, reading = _read(
        tmp_path, {"annotations": [latest, older, _done("dog", "2026-03-01", was_cancelled=True)]}
    )
    assert [a.label for a in pages["a.png"].annotations] == ["cat"]
    assert reading.losses == {"annotations older than an image's latest": 1}


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"annotations": []}, "images that nobody labeled"),
        ({"annotations": [_done("cat", was_cancelled=True)]}, "images that were skipped"),
        ({"data": {"image": "z.png"}, "annotations": [_done("cat")]}, "images that are not there"),
    ],
)
def test_what_is_no_label_is_counted(task: dict, reason: str, tmp_path: Path) -> None:
    pages, reading = _read(tmp_path, task)
    assert pages == {}
    assert reading.losses == {reason: 1}


def test_predictions_are_the_latest_with_their_scores(tmp_path: Path) -> None:
    new = {"id": 2, "result": [_region("cat") | {"score": 0.75}]}
    pages, reading = _read(
        tmp_path, {"predictions": [{"id": 1, "result": []}, new]}, {"predictions": [7]}, kind="model"
    )
    assert [(a.label, a.score) for a in pages["a.png"].annotations] == [("cat", 0.75)]
    assert reading.losses == {"predictions older than an image's latest": 1, "images without predictions": 1}


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ({"data": None}, "task 1: has no data; export as JSON, not as JSON_MIN"),
        ({"data": {"text": "a"}}, "task 1: names no image"),
    ],
)
def test_what_is_no_task_of_images_is_named(task: dict, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, task)
    assert reading.problems == [f"{tmp_path / 'export.json'}: {problem}"]


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("[")
    with pytest.raises(FormatError, match="not JSON"):
        look_up("label-studio", tmp_path / "export.json", "detection", SIZES)


def test_what_is_written_can_be_imported_by_label_studio(tmp_path: Path) -> None:
    there_and_back("label-studio", "classification", [Annotation("cat", ME)], (40, 30), tmp_path)
    (task,) = json.loads((tmp_path / "out").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=pets/x.png"
    (annotation,) = task["annotations"]
    assert [r["value"] for r in annotation["result"]] == [{"choices": ["cat"]}]


CASES = SHARED / "label-studio-cases" / "sdk_converter" / "data"


@pytest.mark.skipif(not CASES.is_dir(), reason="no Label Studio cases here")
def test_a_real_export_of_poses() -> None:
    """Case 5: a rectangle without a label and three points that belong to it, and five relations."""
    source = CASES / "test_export_yolo" / "data_keypoints.json"
    pages, reading = look_up("label-studio", source, "keypoints", {"data/upload/18/image1.jpg": (640, 480)})
    (page,) = pages.values()
    assert Counter(a.label for a in page.annotations if a.keypoints) == Counter(
        ["nose", "left_eye", "right_eye"]
    )
    assert len(page.relations) == 5


@pytest.mark.skipif(not CASES.is_dir(), reason="no Label Studio cases here")
def test_a_real_export_of_several_shapes_fits_detection() -> None:
    """Case 1: a rectangle, a polygon and two points; the box is the golden COCO file's."""
    source = CASES / "test_export_coco" / "data.json"
    pages, reading = look_up("label-studio", source, "detection", {"test_image1.jpg": (500, 320)})
    boxes = [a.box for a in fit(pages["test_image1.jpg"], ()) if a.label == "rectangle_label"]
    x, y, w, h = 159.70961887477313, 13.163120567375884, 31.76043557168784, 31.773049645390074
    assert boxes == [pytest.approx((x, y, x + w, y + h))]
    assert reading.losses == {
        "outlines, now the boxes round them": 1,
        "points, which detection has none of": 2,
    }


# Tasks of several images

TWO = dict.fromkeys(("a.png", "b.png", "r.png"), (200, 100))


def _of(to_name: str, label: str = "cat", x: float = 10, **more: object) -> dict:
    return _region(label, x) | {"id": f"{to_name}{x}", "to_name": to_name} | more


def _several(
    folder: Path, *tasks: tuple[dict, list[dict]], keys: tuple[str, ...] = ()
) -> tuple[dict[str, list], Reading]:
    """The labels of each image of tasks, each its data and one person's regions."""
    source = folder / "export.json"
    rows = [
        {"id": n, "data": data, "annotations": [_done("cat") | {"result": result}]}
        for n, (data, result) in enumerate(tasks, 1)
    ]
    source.write_text(json.dumps(rows))
    options = Options(image_keys=keys)
    pages, reading = look_up("label-studio", source, "detection", TWO, options=options)
    return {name: [(a.label, a.box[0]) for a in page.annotations] for name, page in pages.items()}, reading


def test_a_region_is_of_the_image_its_to_name_names(tmp_path: Path) -> None:
    pair = {"before": "a.png", "after": "b.png"}
    labels, reading = _several(
        tmp_path, (pair, [_of("before"), _of("after", "dog", 40)]), ({"before": "r.png"}, [_of("before")])
    )
    assert labels == {"a.png": [("cat", 20)], "b.png": [("dog", 80)], "r.png": [("cat", 20)]}
    assert (reading.losses, reading.problems) == ({}, [])


def test_an_image_shown_for_reference_is_no_image_without_labels(tmp_path: Path) -> None:
    data = {"reference": "r.png", "image": "a.png"}
    labels, reading = _several(tmp_path, (data, [_of("image")]), (data | {"image": "b.png"}, []))
    # Whoever submitted the second saw nothing on it.
    assert labels == {"a.png": [("cat", 20)], "b.png": []}
    assert reading.losses == {"images of which no region of the source is, left out": 2}


def test_where_nobody_can_tell_it_is_asked(tmp_path: Path) -> None:
    pair = {"before": "a.png", "after": "b.png"}
    regions_of = [_of("img-1"), _of("img-2", "dog", 40)]
    _, reading = _several(tmp_path, (pair, regions_of))
    (problem,) = reading.problems
    assert problem.endswith(
        "task 1: shows several images (before, after)"
        " -> --image-key KEY, or NAME=KEY for each <Image> of the labeling interface"
    )
    labels, reading = _several(tmp_path, (pair, regions_of), keys=("img-1=before", "img-2=after"))
    assert labels == {"a.png": [("cat", 20)], "b.png": [("dog", 80)]}
    assert reading.problems == []
    # One key: its images are meant, and what is told of another is counted.
    labels, reading = _several(tmp_path, (pair, [_of("before"), _of("after", "dog", 40)]), keys=("after",))
    assert labels == {"b.png": [("dog", 80)]}
    with pytest.raises(FormatError, match="--image-key names before and after: which <Image> shows which"):
        _several(tmp_path, (pair, regions_of), keys=("before", "after"))


def test_of_a_list_of_images_item_index_says_which(tmp_path: Path) -> None:
    pages = {"pages": ["a.png", "b.png", "r.png"]}
    labels, reading = _several(
        tmp_path, (pages, [_of("img", item_index=0), _of("img", "dog", 40, item_index=1)])
    )
    # One person saw all pages, and drew nothing on the third.
    assert labels == {"a.png": [("cat", 20)], "b.png": [("dog", 80)], "r.png": []}
    assert (reading.losses, reading.problems) == ({}, [])


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ({}, "pages is a list of 2 images, and a region has no item_index"),
        ({"item_index": 2}, "a region is of image 2 of pages, which has 2"),
        ({"item_index": "0"}, "a region is of image '0' of pages, which has 2"),
    ],
)
def test_an_index_that_is_none_is_a_problem(index: dict, problem: str, tmp_path: Path) -> None:
    _, reading = _several(tmp_path, ({"pages": ["a.png", "b.png"]}, [_of("img", **index)]))
    assert {line.partition(": task 1: ")[2] for line in reading.problems} == {problem}


def test_a_relation_goes_with_its_image(tmp_path: Path) -> None:
    one, two, three = _of("before"), _of("before", "dog", 40), _of("after", "dog", 40)
    links = [
        {"type": "relation", "from_id": one["id"], "to_id": other["id"], "direction": "right"}
        for other in (two, three)
    ]
    source = tmp_path / "export.json"
    data = {"before": "a.png", "after": "b.png"}
    answer = _done("cat") | {"result": [one, two, three, *links]}
    source.write_text(json.dumps([{"id": 1, "data": data, "annotations": [answer]}]))
    pages, reading = look_up("label-studio", source, "detection", TWO)
    assert {name: len(page.relations) for name, page in pages.items()} == {"a.png": 1, "b.png": 0}
    assert reading.losses == {"relation of a region that is not carried": 2}


# Several people


def _people(folder: Path, policy: Pull | None, *answers: dict) -> tuple[dict[str, Page], Reading]:
    source = folder / "export.json"
    rows = [answer | {"id": n} for n, answer in enumerate(answers, 1)]
    source.write_text(json.dumps([{"id": 1, "data": {"image": "a.png"}, "annotations": rows}]))
    return look_up("label-studio", source, "detection", SIZES, policy=policy)


CAT = _done("cat", "2026-01-01", completed_by=1, ground_truth=True)
DOG = _done("dog", "2026-01-02", completed_by={"id": 2, "email": "b@example.com"})
CAT_TOO = _done("cat", "2026-01-03", completed_by=3)
NOTHING = _done("cat", "2026-01-04", completed_by=4) | {"result": []}


@pytest.mark.parametrize(
    ("policy", "answers", "label"),
    [
        (None, (CAT, DOG), ["cat"]),
        (Pull(annotators="latest"), (CAT, DOG), ["dog"]),
        (Pull(annotators="ground-truth"), (CAT, DOG), ["cat"]),
        (Pull(annotators="ground-truth"), (DOG,), None),
        (Pull(annotators="all"), (CAT, DOG), ["cat", "dog"]),
        (Pull(annotators="agreement"), (CAT, DOG), None),
        (Pull(annotators="agreement"), (CAT, DOG, CAT_TOO), ["cat"]),
        (None, (DOG, CAT_TOO, NOTHING), []),
        (None, (DOG, _done("cat", "2026-03-01", completed_by=9, was_cancelled=True)), ["dog"]),
    ],
)
def test_of_several_people_those_count_that_pull_would_count(
    policy: Pull | None, answers: tuple[dict, ...], label: list[str] | None, tmp_path: Path
) -> None:
    pages, reading = _people(tmp_path, policy, *answers)
    found = [a.label for a in pages["a.png"].annotations] if pages else None
    assert found == label
    if label is None:
        assert reading.losses["images people have not agreed on"] == 1


def test_disagreements_are_listed_as_pull_lists_them(tmp_path: Path) -> None:
    pages, _ = _people(tmp_path, None, CAT, DOG)
    row = pages["a.png"].disagreement
    assert row is not None
    assert (row["task"], row["people"]) == (1, ["1", "2"])
    assert [(place["what"], place["labels"]) for place in row["on"]] == [
        ("label", {"cat": ["1"], "dog": ["2"]})
    ]
    pages, _ = _people(tmp_path, None, CAT, CAT_TOO)
    assert pages["a.png"].disagreement is None


def test_a_dispute_that_nobody_settled_is_listed_though_nothing_is_carried(tmp_path: Path) -> None:
    with (make_project(tmp_path).folder / "project.toml").open("a") as file:
        file.write('[pull]\nannotators = "agreement"\n')
    project = load_project(tmp_path / "projects" / "pets")
    for name in ("a.png", "b.png"):
        draw(project.images / name)
    catalog.run(project)
    image = {r.path: r.id for r in read_catalog(project.catalog)}
    answers = [[CAT, DOG], [CAT, CAT_TOO]]
    tasks = [
        {
            "id": n,
            "data": {"image": name},
            "annotations": [a | {"id": 10 * n + k} for k, a in enumerate(some)],
        }
        for n, (name, some) in enumerate(zip(("a.png", "b.png"), answers, strict=True), 1)
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    for _ in range(2):
        import_.run(project, "label-studio", tmp_path / "export.json", project.images)
        (row,) = read_rows(project.disagreements)
        assert (row["image"], row["file"], row["task"]) == (image["a.png"], "a.png", 1)
        assert row["people"] == ["1", "2"]


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        ([{"id": 1, "data": {"image": "a.png"}, "annotations": [7]}], "task 1: is 7, not an object with"),
        ([{"id": 1, "data": {"image": "a.png"}, "annotations": "x"}], "annotations is 'x', not a list"),
        ([{"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [3]}]}], "not an object"),
    ],
)
def test_what_has_another_type_is_a_problem(tasks: list, problem: str, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    _, reading = look_up("label-studio", tmp_path / "export.json", "detection", SIZES)
    assert [problem in line for line in reading.problems] == [True]


def test_a_task_id_twice_is_refused(tmp_path: Path) -> None:
    task = {"id": 7, "data": {"image": "a.png"}, "annotations": []}
    (tmp_path / "export.json").write_text(json.dumps([task, task]))
    with pytest.raises(FormatError, match=r"task\[0\] and task\[1\] both have the id 7"):
        look_up("label-studio", tmp_path / "export.json", "detection", SIZES)


def test_predictions_of_a_source_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as error:
        _read(tmp_path, {"annotations": [_done("cat")], "predictions": [7]}, kind="model")
    assert error.value.problem == f"{tmp_path / 'export.json'} has no predictions"
    assert error.value.fix == "leave --as predictions out, or export with predictions in full"


def test_regions_that_cannot_be_carried_are_counted_as_dropped(tmp_path: Path) -> None:
    flat = _region("dog") | {"id": "flat"}
    flat["value"] = flat["value"] | {"width": 0}
    pages, reading = _read(tmp_path, {"annotations": [_done("cat") | {"result": [_region("cat"), flat]}]})
    assert reading.losses == {"box without an area": 1}
    assert (reading.dropped, pages["a.png"].lost) == (1, True)

from __future__ import annotations

from pathlib import Path

import pytest

from workflow.errors import ConfigError
from workflow.project.paths import find_project, load_project

GOOD = 'name = "zips"\ntitle = "ZIP codes"\nclasses = ["a", "b"]\n'


def _project(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.toml").write_text(text)
    return folder


def test_defaults(tmp_path: Path) -> None:
    project = load_project(_project(tmp_path, GOOD))
    assert project.settings.classes == ("a", "b")
    assert project.images == tmp_path / "data" / "images"
    assert project.settings.push.blind == ("test",)


def test_five_mistakes_are_five_lines(tmp_path: Path) -> None:
    text = (
        'name = "zips"\ntitle = "ZIP codes"\nclases = ["a"]\n\n[split]\ntest = 1.5\n\n'
        "[train]\nepoch = 3\nbatch = 0\n\n[preanotate]\nthreshold = 0.5\n"
    )
    with pytest.raises(ConfigError) as error:
        load_project(_project(tmp_path, text))
    assert sorted(error.value.problems) == [
        "project.toml:10: train.batch: Input should be greater than or equal to 1, got 0",
        "project.toml:12: preanotate: unknown key; did you mean 'preannotate'?",
        "project.toml:1: classes: is missing",
        "project.toml:3: clases: unknown key; did you mean 'classes'?",
        "project.toml:6: split.test: Input should be less than 1, got 1.5",
        "project.toml:9: train.epoch: unknown key; did you mean 'epochs'?",
    ]
    assert error.value.fix == f"edit {tmp_path / 'project.toml'}"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('["a", "b"]', '["a", "a"]', "project.toml:3: classes: names 'a' more than once"),
        ('["a", "b"]', "[]", "project.toml:3: classes: names no class"),
        (
            'title = "ZIP codes"',
            "title = 3",
            "project.toml:2: title: Input should be a valid string, got 3",
        ),
    ],
)
def test_one_mistake(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_project(_project(tmp_path, GOOD.replace(old, new)))
    assert error.value.problems == [problem]


@pytest.mark.parametrize(
    ("tail", "problem"),
    [
        (
            '[split]\ngroup = "no-group"',
            "project.toml:5: split.group: needs exactly one (group) in its regular expression,"
            " got 'no-group'",
        ),
        (
            "[split]\ntest = 0.5\nvalidation = 0.5",
            "project.toml:4: split: validation 0.5 + test 0.5 leave nothing to train on",
        ),
        (
            '[preannotate.class_map]\ntruck = "car"',
            "project.toml:4: preannotate.class_map: 'truck' leads to 'car', which is no class",
        ),
        (
            '[push]\nimage_url = "https://x.example/"',
            "project.toml:5: push.image_url: needs {path}, where an image's path goes, got 'https://x.example/'",
        ),
        (
            '[preannotate.prompts]\nc = ["a sea"]',
            "project.toml:4: preannotate.prompts: 'c' is no class",
        ),
        (
            "[preannotate.thresholds]\nc = 0.5",
            "project.toml:4: preannotate.thresholds: 'c' is no class",
        ),
        (
            '[preannotate]\ntemplates = ["a photo"]',
            "project.toml:5: preannotate.templates: 'a photo' needs one {}, where the class goes",
        ),
        ('keypoints = ["nose"]', "project.toml:4: keypoints: are not labeled where task is detection"),
        ('task = "keypoints"', "project.toml:1: keypoints: names no point, and task is keypoints"),
        (
            'task = "keypoints"\nkeypoints = ["beak", "tail"]\nkeypoint_sigmas = [0.1]',
            "project.toml:6: keypoint_sigmas: has 1 numbers for 2 keypoints; give one each, in their order",
        ),
        (
            'task = "keypoints"\nkeypoints = ["a"]',
            "project.toml:5: keypoints: 'a' is a class too",
        ),
        (
            'task = "semantic"',
            "project.toml:4: task: Input should be 'classification', 'multilabel-classification',"
            " 'detection', 'oriented-detection', 'keypoints', 'instance-segmentation' or"
            " 'semantic-segmentation',"
            " got 'semantic'",
        ),
    ],
)
def test_sections_that_contradict_themselves(tmp_path: Path, tail: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_project(_project(tmp_path, f"{GOOD}{tail}\n"))
    assert error.value.problems == [problem]


def test_background_is_no_class_to_paint(tmp_path: Path) -> None:
    text = GOOD.replace('"b"', '"background"') + 'task = "semantic-segmentation"\n'
    with pytest.raises(ConfigError) as error:
        load_project(_project(tmp_path, text))
    assert error.value.problems == [
        "project.toml:3: classes: 'background' is what nobody painted, and no class"
    ]


def test_a_model_or_a_chain_of_them(tmp_path: Path) -> None:
    one = load_project(_project(tmp_path, GOOD)).settings.preannotate
    assert one.models == ("yolo11n.pt",)
    chain = '[preannotate]\nmodel = ["grounding-dino", "sam2"]\n'
    assert load_project(_project(tmp_path, GOOD + chain)).settings.preannotate.models == (
        "grounding-dino",
        "sam2",
    )


def test_broken_toml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_project(_project(tmp_path, "name = "))
    assert error.value.problems == [
        f"{tmp_path / 'project.toml'}: not TOML: Invalid value (at end of document)"
    ]


def test_projects_are_found_by_name_path_or_default(tmp_path: Path) -> None:
    zips = _project(tmp_path / "projects" / "zips", GOOD)
    assert find_project(None, tmp_path) == zips
    assert find_project("zips", tmp_path) == zips
    assert find_project("projects/zips", tmp_path) == zips
    assert find_project(None, zips) == zips
    with pytest.raises(ConfigError) as error:
        find_project("zip", tmp_path)
    assert str(error.value) == (
        "no project 'zip': neither projects/zip nor zip has a project.toml -> did you mean 'zips'?"
    )


def test_an_image_path_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    project = load_project(_project(tmp_path, GOOD))
    with pytest.raises(ConfigError):
        project.image_path("../../project.toml")


@pytest.mark.parametrize("folder", sorted((Path(__file__).parents[2] / "projects").glob("*/project.toml")))
def test_the_shipped_projects_are_valid(folder: Path) -> None:
    assert load_project(folder.parent).settings.name == folder.parent.name

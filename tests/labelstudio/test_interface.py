"""A user's own labeling interface: read, checked in full, and kept as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.samples import draw_project
from workflow.errors import ConfigError
from workflow.labelstudio.interface import TAGS, read_interface
from workflow.labelstudio.project_interface import interface_of
from workflow.project.paths import Project, load_project
from workflow.records import Annotation, Provenance
from workflow.schema import Schema

ME = Provenance("person", "1")
GOOD = """<View>
  <Header value="Shapes"/>
  <div style="padding: 4px"><Text name="hint" value="$hint"/></div>
  <Image name="photo" value="$url" zoom="true"/>
  <RectangleLabels name="box" toName="photo">
    <View><Label value="disk" alias="d" background="red"/></View>
    <Label value="bar"/>
  </RectangleLabels>
  <Choices name="quality" toName="photo"><Choice value="sharp"/><Choice value="blurred"/></Choices>
</View>
"""


def read(
    text: str,
    task: str = "detection",
    classes: tuple[str, ...] = ("disk", "bar"),
    keypoints: tuple[str, ...] = (),
    **more: object,
):
    return read_interface(text, "mine.xml", Schema.of(task, classes, keypoints), **more)  # type: ignore[arg-type]


def problems(text: str, task: str = "detection", **more: object) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(text, task, **more)
    return error.value.problems


def test_its_own_names_are_used_both_ways_and_the_text_is_kept() -> None:
    interface = read(GOOD)
    assert interface.config == GOOD
    assert interface.controls == {"rectanglelabels": "box"}
    assert (interface.image, interface.data_key, interface.stored) == ("photo", "url", {"disk": "d"})
    boxes = [Annotation(label, ME, box=(10, 10, 30, 20), id=label) for label in ("disk", "bar")]
    regions = interface.write(boxes, 100, 50)
    assert [(r["from_name"], r["to_name"], r["value"]["rectanglelabels"]) for r in regions] == [
        ("box", "photo", ["d"]),
        ("box", "photo", ["bar"]),
    ]
    other = {"type": "choices", "from_name": "quality", "to_name": "photo", "value": {"choices": ["sharp"]}}
    reading = interface.read([*regions, other], 100, 50, ME)
    assert [(a.label, a.box) for a in reading.annotations] == [(a.label, a.box) for a in boxes]
    assert reading.lost == {"choices region": 1}


def test_categories_are_the_numbers_of_labels() -> None:
    numbered = GOOD.replace('value="bar"', 'value="bar" category="10"')
    assert read(numbered).categories == {"bar": 10}
    assert problems(numbered.replace('"10"', '"ten"')) == ["mine.xml:7: category='ten' is no number"]
    twice = numbered.replace('value="disk"', 'value="disk" category="10"')
    assert problems(twice) == ["mine.xml:7: category='10' is there twice"]


TO = 'box" toName="photo"'
WRONG = [
    ("<Image", "<Imgae", ["4: <Imgae> is no tag of Label Studio; did you mean <Image>?"]),
    ("RectangleLabels", "RectangelLabels", ["did you mean <RectangleLabels>?", "detection needs a control"]),
    ("RectangleLabels", "rectanglelabels", ["5: <rectanglelabels> is no tag of Label", "needs a control"]),
    (TO, 'box"', ['5: <RectangleLabels> has no toName="...", the name of an <Image>']),
    (TO, 'box" toName="foto"', ["5: toName='foto' is no object; there is hint, photo"]),
    (TO, 'box" toName="hint"', ["3: 'hint' is no <Image>, but <Text>"]),
    (TO, f'{TO} value="$labels"', ["5: labels that come with each task cannot be checked"]),
    ('name="quality"', 'name="box"', ["9: the name 'box' is there 2 times"]),
    ('name="quality" ', "", ['9: <Choices> has no name="..."']),
    ('<Label value="bar"/>', "", ["5: <RectangleLabels> has no label for 'bar'"]),
    ('value="bar"', 'value="disk"', ["6: the label 'disk' is there 2 times", "no label for 'bar'"]),
    (
        'value="bar"',
        'value="bra"',
        ["7: the label 'bra' is none of the project's classes; did you mean 'bar'"],
    ),
    ('"bar"/>', '"bar"/><Label value="zebra"/>', ["'zebra' is none of the project's classes; add it"]),
    ('value="$url"', 'value="url"', ['4: <Image> needs value="$image", or another key of the task, got']),
    ('value="$url"', 'value="$file"', ["4: value='$file': that key holds something else here"]),
    ('value="$url"', 'valueList="$url"', ['4: <Image> needs value="$image"']),
    ("<View>", "<View><View>", ["11: no XML: no element found"]),
    ("<View>", '<!DOCTYPE x [<!ENTITY a "b">]>\n<View>', ["1: has a DOCTYPE"]),
]


@pytest.mark.parametrize(("old", "new", "expected"), WRONG)
def test_what_is_wrong_is_said_with_its_line(old: str, new: str, expected: list[str]) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 2 if old == "RectangleLabels" else 1))
    for text in expected:
        assert any(text in problem for problem in found), found
    assert all(problem.startswith("mine.xml:") for problem in found)


def test_everything_is_said_at_once_in_the_order_of_the_lines() -> None:
    wrong = GOOD.replace("<Header", "<Heading").replace('value="bar"', 'value="bra"').replace("$url", "url")
    found = problems(wrong)
    assert [int(problem.split(":")[1]) for problem in found] == [2, 4, 5, 7]


def test_two_controls_of_the_kind_are_refused() -> None:
    more = '  <RectangleLabels name="more" toName="photo"><Label value="x"/></RectangleLabels>\n'
    twice = GOOD.replace("  <Choices", f"{more}  <Choices")
    assert "detection needs one control <RectangleLabels>, and there are 2: lines 5, 9" in problems(twice)[0]
    # The tools that ask a model for a mask are none to label with.
    smart = twice.replace('name="more"', 'name="more" smartOnly="true"')
    assert read(smart).controls == {"rectanglelabels": "box"}


@pytest.mark.parametrize(
    ("task", "tags", "controls"),
    [
        ("classification", ["Choices"], {"choices": "c0"}),
        ("multilabel-classification", ["Choices"], {"choices": "c0"}),
        ("oriented-detection", ["RectangleLabels"], {"rectanglelabels": "c0"}),
        (
            "keypoints",
            ["RectangleLabels", "KeyPointLabels"],
            {"rectanglelabels": "c0", "keypointlabels": "c1"},
        ),
        ("instance-segmentation", ["BrushLabels"], {"brushlabels": "c0"}),
        ("instance-segmentation", ["PolygonLabels"], {"polygonlabels": "c0"}),
        ("semantic-segmentation", ["BrushLabels"], {"brushlabels": "c0"}),
    ],
)
def test_each_task_needs_its_controls(task: str, tags: list[str], controls: dict[str, str]) -> None:
    def control(number: int, tag: str) -> str:
        names = ("left",) if tag == "KeyPointLabels" else ("disk", "bar")
        label = "Choice" if tag == "Choices" else "Label"
        inner = "".join(f'<{label} value="{name}"/>' for name in names)
        return f'<{tag} name="c{number}" toName="i">{inner}</{tag}>'

    image = '<View><Image name="i" value="$image"/>'
    whole = image + "".join(control(n, tag) for n, tag in enumerate(tags)) + "</View>"
    assert read(whole, task, keypoints=("left",)).controls == controls
    assert f"{task} needs a control <" in problems(image + "</View>", task, keypoints=("left",))[0]


def test_a_taxonomys_leaves_are_classes_by_their_path() -> None:
    text = """<View><Image name="i" value="$image"/><Taxonomy name="t" toName="i">
    <Choice value="animal"><Choice value="cat"/><Choice value="a/b"/></Choice><Choice value="stone"/>
    </Taxonomy></View>"""
    classes = ("animal/cat", "animal/a\\/b", "stone")
    interface = read(text, "classification", classes)
    (region,) = interface.write([Annotation("animal/a\\/b", ME)], 10, 10)
    assert region["value"] == {"taxonomy": [["animal", "a/b"]]}
    assert [a.label for a in interface.read([region], 10, 10, ME).annotations] == ["animal/a\\/b"]


def test_a_renamed_class_needs_the_alias_it_is_kept_under() -> None:
    found = problems(GOOD, kept_as={"bar": "old"})
    assert found == ["mine.xml:5: the label 'bar' needs alias='old': so Label Studio keeps it"]
    read(GOOD.replace('value="bar"', 'value="bar" alias="old"'), kept_as={"bar": "old"})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = draw_project(tmp_path, "detection", 1, '[push]\nlabel_config = "mine.xml"\n')
    (project.folder / "mine.xml").write_text(
        GOOD.replace('value="bar"/>', 'value="bar"/><Label value="tile"/>')
    )
    return load_project(project.folder)


def test_the_settings_name_it(project: Project) -> None:
    assert interface_of(project).controls == {"rectanglelabels": "box"}
    (project.folder / "mine.xml").unlink()
    with pytest.raises(
        ConfigError,
        match=r"push.label_config: .*mine.xml cannot be read \(No such file or directory\) -> put the file",
    ):
        interface_of(project)


def test_the_generated_interface_passes_its_own_check(tmp_path: Path) -> None:
    from workflow.tasks import TASKS

    for task in TASKS:
        project = draw_project(tmp_path, task, 1)  # type: ignore[arg-type]
        made = interface_of(project)
        settings = project.settings
        again = read_interface(made.config, "made.xml", settings.schema)
        assert (again.controls, again.image, again.data_key) == (made.controls, made.image, made.data_key)


def test_no_tag_is_listed_twice() -> None:
    assert len(TAGS) == len(set(TAGS))

"""MaskStyle as PNG: by value, by colour, and what no class has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.foreign import draw, labels, look_up, make_project, take, there_and_back
from workflow.errors import FormatError
from workflow.formats import masks as reader
from workflow.formats.page import Options, Page, Reading
from workflow.project.paths import Project
from workflow.records import Annotation, Provenance
from workflow.shapes import masks

ME = Provenance("person", "me")
PAINTED = np.zeros((30, 40), dtype=np.uint8)
PAINTED[:, 10:20], PAINTED[5:9, 15:30] = 1, 2


ZERO = Options(background="0")


def _read(
    folder: Path, image: Image.Image, labelmap: str = "", options: Options = ZERO
) -> tuple[dict[str, Page], Reading]:
    image.save(folder / "a.png")
    if labelmap:
        (folder / "labelmap.txt").write_text(labelmap)
    sizes = {"images/a.jpg": (40, 30)}
    return look_up("masks", folder, "semantic-segmentation", sizes, options=options)


def _areas(pages: dict[str, Page]) -> dict[str, list[tuple[str, int]]]:
    return {n: [(a.label, masks.area(a.mask)) for a in p.annotations if a.mask] for n, p in pages.items()}


FOUND = {"images/a.jpg": [("cat", 280), ("dog", 60)]}


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_a_value_is_a_class(mode: str, tmp_path: Path) -> None:
    image = (
        Image.fromarray(PAINTED.astype(np.uint16))
        if mode == "I;16"
        else Image.fromarray(PAINTED).convert(mode)
    )
    pages, reading = _read(tmp_path, image)
    assert _areas(pages) == FOUND
    assert (reading.losses, reading.problems) == ({}, [])


def test_colours_are_named_by_the_labelmap(tmp_path: Path) -> None:
    """As CVAT and Datumaro write them, in any order."""
    colours = np.array([[0, 0, 0], [10, 20, 30], [200, 0, 5]], dtype=np.uint8)
    labelmap = "# label:color_rgb:parts:actions\ndog:200,0,5::\nbackground:0,0,0::\ncat:10,20,30::\n"
    pages, reading = _read(tmp_path, Image.fromarray(colours[PAINTED]), labelmap)
    assert sorted(_areas(pages)["images/a.jpg"]) == FOUND["images/a.jpg"]
    assert reading.problems == []


@pytest.mark.parametrize(
    ("labelmap", "problem"),
    [
        ("", "a.png: is in colour, and labelmap.txt does not say what they mean"),
        ("cat:1,2,3::\n", "a.png: labelmap.txt has no colour 9,9,9"),
        ("cat 9,9,9\n", "labelmap.txt:1: 'cat 9,9,9' is no `name:red,green,blue::`"),
    ],
)
def test_colours_without_a_name_are_problems(labelmap: str, problem: str, tmp_path: Path) -> None:
    _, reading = _read(tmp_path, Image.new("RGB", (40, 30), (9, 9, 9)), labelmap)
    assert reading.problems[0] == f"{tmp_path}/{problem}"


def test_what_is_no_png_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    _, reading = look_up("masks", tmp_path, "semantic-segmentation", {"a.jpg": (40, 30)})
    assert reading.problems[0].startswith(f"{tmp_path / 'a.png'}: no PNG (")


def _project(tmp_path: Path, painted: np.ndarray, name: str = "a.png") -> tuple[Project, Path, Path]:
    project = make_project(tmp_path, "semantic-segmentation")
    draw(tmp_path / "photos" / "a.jpg")
    (tmp_path / "in").mkdir()
    Image.fromarray(painted).save(tmp_path / "in" / name)
    return project, tmp_path / "in", tmp_path / "photos"


def test_what_0_means_is_asked(tmp_path: Path) -> None:
    """Read the wrong way, every class would be shifted by one."""
    project, source, photos = _project(tmp_path, PAINTED)
    with pytest.raises(FormatError) as error:
        take(project, "masks", source, images=photos)
    assert error.value.problem == (
        f"{source}: say what 0 means: --background 0 (nobody painted it, and 1 is cat) or --background none "
        "(0 is cat); --void VALUE is nobody's, --class-map VALUE=CLASS names one; "
        "values: 0 in 1 masks (71.7%), 1 in 1 masks (23.3%), 2 in 1 masks (5.0%)"
    )
    assert not project.data.exists()


@pytest.mark.parametrize(
    ("options", "areas"),
    [
        (Options(background="0"), {"cat": 280, "dog": 60}),
        (Options(background="none", void=("2",)), {"cat": 860, "dog": 280}),
        (Options(background="2"), {"cat": 860, "dog": 280}),
        (Options(background="0", void=("2",)), {"cat": 280}),
        (Options(class_map={"0": "", "1": "dog", "2": "cat"}), {"dog": 280, "cat": 60}),
        (Options(background="0", class_map={"2": "cat"}), {"cat": 340}),
    ],
)
def test_people_say_what_values_mean(options: Options, areas: dict[str, int], tmp_path: Path) -> None:
    project, source, photos = _project(tmp_path, PAINTED)
    take(project, "masks", source, images=photos, options=options, class_map=options.class_map)
    sample = labels(project)["a.jpg"]
    assert {a.label: masks.area(a.mask) for a in sample.annotations if a.mask and not a.ignored} == areas


@pytest.mark.parametrize("background", ["0", "none"])
def test_a_value_without_a_class_is_refused_with_all_there_are(background: str, tmp_path: Path) -> None:
    painted = PAINTED.copy()
    painted[:3] = 255
    project, source, photos = _project(tmp_path, painted)
    with pytest.raises(FormatError) as error:
        take(project, "masks", source, images=photos, options=Options(background=background))
    missing = "255" if background == "0" else "2, 255"
    assert f": no class has the value {missing}; --void VALUE is nobody's" in error.value.problem
    assert "values: 0 in 1 masks (" in error.value.problem
    assert "255 in 1 masks (10.0%)" in error.value.problem
    void = Options(background="0", void=("255",))
    lines = take(project, "masks", source, images=photos, options=void)
    assert lines == []
    voids = [masks.area(a.mask) for a in labels(project)["a.jpg"].annotations if a.mask and a.ignored]
    assert voids == [120]
    named = {"255": "dog"}
    take(project, "masks", source, images=photos, options=ZERO, class_map=named)
    areas = [masks.area(a.mask) for a in labels(project)["a.jpg"].annotations if a.mask]
    assert areas == [280 - 30, 60 + 120]


def test_a_mask_that_is_void_all_over_says_nothing(tmp_path: Path) -> None:
    project, source, photos = _project(tmp_path, np.full((30, 40), 255, dtype=np.uint8))
    take(project, "masks", source, images=photos, options=Options(background="0", void=("255",)))
    (annotation,) = labels(project)["a.jpg"].annotations
    assert annotation.ignored and annotation.mask and masks.area(annotation.mask) == 1200


def test_a_mask_without_its_image_is_no_image(tmp_path: Path) -> None:
    project = make_project(tmp_path, "semantic-segmentation")
    draw(tmp_path / "in" / "images" / "a.png")
    (tmp_path / "in" / "masks").mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(PAINTED).save(tmp_path / "in" / "masks" / name)
    assert take(project, "masks", tmp_path / "in", options=ZERO) == ["1 images that are not there: c"]
    assert list(labels(project)) == ["images/a.png"]


def test_all_that_is_wrong_with_masks_is_said_at_once(tmp_path: Path) -> None:
    project = make_project(tmp_path, "semantic-segmentation")
    draw(tmp_path / "in" / "images" / "a.png")
    (tmp_path / "in" / "masks").mkdir()
    for name in ("a.png", "c.png"):
        Image.fromarray(PAINTED).save(tmp_path / "in" / "masks" / name)
    with pytest.raises(FormatError) as error:
        take(project, "masks", tmp_path / "in")
    first, second = error.value.problem.split("\n")
    assert first.startswith(f"{tmp_path / 'in'}: say what 0 means: ")
    assert second == "1 images that are not there: c"


@pytest.mark.parametrize("masks_lie_in", ["masks", "."])
def test_masks_may_have_a_suffix_of_their_own(masks_lie_in: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, "semantic-segmentation")
    draw(tmp_path / "in" / ("images" if masks_lie_in == "masks" else ".") / "a.jpg")
    (tmp_path / "in" / masks_lie_in).mkdir(exist_ok=True)
    Image.fromarray(PAINTED).save(tmp_path / "in" / masks_lie_in / "a_mask.png")
    with pytest.raises(FormatError) as error:
        take(project, "masks", tmp_path / "in", options=ZERO)
    assert error.value.problem == (
        f"{tmp_path / 'in'} labels no image that is here: 1 images that are not there: a_mask; "
        "1 masks whose names end alike (--mask-suffix _mask takes that off)"
    )
    told = Options(background="0", mask_suffix="_mask")
    assert take(project, "masks", tmp_path / "in", options=told) == []
    assert [len(sample.annotations) for sample in labels(project).values()] == [2]


def test_vocs_masks_lie_beside_their_images(tmp_path: Path) -> None:
    project = make_project(tmp_path, "semantic-segmentation")
    draw(tmp_path / "in" / "JPEGImages" / "a.jpg")
    for name in ("SegmentationClass", "SegmentationObject"):
        (tmp_path / "in" / name).mkdir()
        Image.fromarray(PAINTED).save(tmp_path / "in" / name / "a.png")
    assert take(project, "masks", tmp_path / "in", options=ZERO) == []
    assert list(labels(project)) == ["JPEGImages/a.jpg"]


def test_a_mask_of_another_size_is_left_out(tmp_path: Path) -> None:
    project, source, photos = _project(tmp_path, np.zeros((29, 40), dtype=np.uint8))
    with pytest.raises(FormatError, match=r"1 images of another size than the source says \(40x29\): a.jpg"):
        take(project, "masks", source, images=photos, options=ZERO)
    assert not project.data.exists()


def test_what_the_background_is_must_be_a_value(tmp_path: Path) -> None:
    project, source, photos = _project(tmp_path, PAINTED)
    with pytest.raises(FormatError) as error:
        take(project, "masks", source, images=photos, options=Options(background="sky"))
    assert str(error.value) == (
        "--background 'sky' is neither a value nor none -> "
        "--background 0, or --background none where 0 is a class"
    )


def test_layers_are_written_one_over_the_other_and_read_alike_by_all(tmp_path: Path) -> None:
    import cv2

    layers = [
        Annotation("dog", ME, mask=masks.encode(PAINTED > 0)),
        Annotation("cat", ME, mask=masks.encode(PAINTED == 1)),
    ]
    found, written, _ = there_and_back("masks", "semantic-segmentation", layers, (40, 30), tmp_path)
    assert written == {"pixels painted twice (the later layer counts)": 280}
    assert {a.label: masks.area(a.mask) for a in found if a.mask} == {"cat": 280, "dog": 60}
    image = Image.open(tmp_path / "out" / "masks" / "x.png")
    assert (np.asarray(image) == PAINTED).all()
    # Whoever asks for gray or for colour gets the values too, and no colour's luminance.
    assert (np.asarray(image.convert("L")) == PAINTED).all()
    for flag in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED):
        assert (cv2.imread(str(tmp_path / "out" / "masks" / "x.png"), flag) == PAINTED).all()
    assert (tmp_path / "out" / "labelmap.txt").read_text().splitlines()[1:] == [
        "background:0,0,0::",
        "cat:1,1,1::",
        "dog:2,2,2::",
    ]


@pytest.mark.parametrize("pixels", [1000, reader.MANY_PIXELS])
def test_all_colours_are_found_however_large_a_mask_is(pixels: int) -> None:
    colours = np.array([0, 7, 1 << 16, (1 << 24) - 1], dtype=np.int32)
    codes = np.random.default_rng(0).choice(colours, pixels)
    assert reader._distinct(codes).tolist() == colours.tolist()

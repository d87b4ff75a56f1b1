"""Images in slices, by real models that find ink by its colour: what they should say is known exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from workflow.cli import app
from workflow.errors import ModelError
from workflow.models import Guesses, Options
from workflow.models.chain import Chain, load_chain
from workflow.project.settings import Slices
from workflow.shapes import masks
from workflow.shapes.overlap import as_box

# Each finds the connected ink of one colour, and says where it is in its own way. What is larger than `sees`
# pixels is too large for it: in that it finds nothing, as networks find nothing small in large images.
FILE = """
import numpy as np
from scipy.ndimage import label

from workflow import masks
from workflow.records import Annotation, Provenance, RotatedBox

ME = Provenance("model", "me")
COLOURS = {{"a": (255, 0, 0), "b": (0, 0, 255)}}


class Model:
    task = "{task}"
    names = ("a", "b", "top")

    def __init__(self, options):
        pass

    def annotate(self, images, prior, classes):
        with open({log!r}, "a") as file:
            file.write(" ".join(str(image.shape[1]) for image in images) + "\\n")
        if len(images) > {most}:
            raise MemoryError
        return [list(self.look(image)) if image.shape[1] <= {sees} else [] for image in images]

    def look(self, image):
        for name, colour in COLOURS.items():
            ink = (image == colour).all(axis=-1)
            groups, count = label(ink, structure=np.ones((3, 3)))
            for number in range(1, count + 1):
                bits = groups == number if {apart} else ink
                rows, columns = (np.flatnonzero(bits.any(axis=k)) for k in (1, 0))
                box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                # The more of it is seen, the surer.
                score = min(0.5 + int(bits.sum()) / 10000, 1.0)
                yield from self.said(name, score, bits, tuple(map(float, box)), f"{{name}}{{number}}")
                if not {apart}:
                    break

    def said(self, name, score, bits, box, number):
        x1, y1, x2, y2 = box
        {said}
"""
SAID = {
    "box": "yield Annotation(name, ME, box=box, score=score)",
    "rotated_box": (
        "yield Annotation(name, ME, score=score,"
        " rotated_box=RotatedBox((x1 + x2) / 2, (y1 + y2) / 2, y2 - y1, x2 - x1, 90.0))"
    ),
    "mask": "yield Annotation(name, ME, mask=masks.encode(bits), score=score)",
    "polygons": (
        "yield Annotation(name, ME, score=score, polygons=(((x1, y1), (x2, y1), (x2, y2), (x1, y2)),))"
    ),
    "keypoints": (
        "yield Annotation(name, ME, box=box, score=score, id=number)\n"
        '        yield Annotation("top", ME, keypoints=((x1 + 1, y1 + 2),), score=score, parent=number)'
    ),
    "painted": "yield Annotation(name, ME, mask=masks.encode(bits), score=score)",
}
TASKS = {
    "box": "detection",
    "rotated_box": "oriented-detection",
    "mask": "instance-segmentation",
    "polygons": "instance-segmentation",
    "keypoints": "keypoints",
    "painted": "semantic-segmentation",
}
CLASSES = ("a", "b", "top")
# Squares of 100 pixels, of which neighbours share 20: they begin at 0, 80, 160, 200 and at 0, 80, 100.
SLICES = Slices(size=100, overlap=0.2)
HEIGHT, WIDTH = 200, 300
# x1, y1, x2, y2: in one slice only; in what two, and in what four share; across a seam, with less on either
# side than the object; over all the slices of a row; over four of them, at the image's last corner.
PLACES = [
    ("a", (10, 10, 30, 25)),
    ("b", (84, 10, 96, 20)),
    ("a", (83, 84, 96, 97)),
    ("a", (110, 40, 210, 60)),
    ("b", (30, 150, 275, 160)),
    ("b", (230, 70, 300, 130)),
]


def canvas(places: list[tuple[str, tuple[int, int, int, int]]], hole: bool = False) -> NDArray[np.uint8]:
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for name, (x1, y1, x2, y2) in places:
        pixels[y1:y2, x1:x2] = (255, 0, 0) if name == "a" else (0, 0, 255)
        if hole:
            pixels[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4] = 255
    return pixels


def loaded(
    folder: Path, kind: str, slices: Slices | None = SLICES, sees: int = 100, most: int = 99, **more: Any
) -> Chain:
    said = SAID[kind]
    apart = kind != "painted"
    text = FILE.format(
        task=TASKS[kind], log=str(folder / "log"), most=most, sees=sees, apart=apart, said=said
    )
    (folder / "finder.py").write_text(text)
    options = Options(threshold=0.0, slices=slices, trust=True, device="cpu", **more)
    return load_chain(["own:finder.py"], folder, None, options)


def ask(annotator: Chain, image: NDArray[np.uint8]) -> Guesses:
    (guesses,) = annotator.annotate([image], [()], CLASSES)
    annotator.close()
    return guesses


def sorted_boxes(guesses: Guesses) -> list[tuple[str, tuple[float, ...]]]:
    """To the billionth of a pixel: sines and cosines of a turned box leave less."""
    boxes = [(a.label, as_box(a) or ()) for a in guesses if a.geometry != "keypoints"]
    return sorted((label, tuple(round(v, 9) for v in box)) for label, box in boxes)


@pytest.mark.parametrize("sees", [100, 1000], ids=["slices only", "and the whole image"])
@pytest.mark.parametrize("kind", ["box", "rotated_box", "mask", "polygons", "keypoints"])
def test_each_object_comes_once_and_exactly_where_it_is(tmp_path: Path, kind: str, sees: int) -> None:
    guesses = ask(loaded(tmp_path, kind, sees=sees), canvas(PLACES))
    assert sorted_boxes(guesses) == sorted((name, tuple(map(float, box))) for name, box in PLACES)
    scores = [a.score or 0 for a in guesses]
    assert scores == sorted(scores, reverse=True)
    if kind == "keypoints":
        objects = {a.id: a for a in guesses if not a.parent}
        points = [a for a in guesses if a.parent]
        assert len(objects) == len(points) == len(PLACES)
        # Of what is put together of pieces the best piece says where its points are: not always the first.
        seen_whole = {(1.0 + x1, 2.0 + y1) for _, (x1, y1, x2, y2) in PLACES if sees > 100 or x2 - x1 < 50}
        assert seen_whole <= {a.keypoints[0] for a in points if a.keypoints}
        assert all(a.score == objects[a.parent].score for a in points)
    else:
        assert {a.geometry for a in guesses} == {kind}
    revision = loaded(tmp_path, kind, None).revision
    assert {a.provenance.revision for a in guesses} != {revision}


@pytest.mark.parametrize("kind", ["mask", "painted"])
def test_masks_are_put_together_to_the_pixel(tmp_path: Path, kind: str) -> None:
    """With holes, which outlines would fill; of a class's pixels each slice has its say on its own part."""
    image = canvas(PLACES[3:], hole=True)
    guesses = ask(loaded(tmp_path, kind), image)
    painted = {
        name: (image == colour).all(axis=-1) for name, colour in (("a", [255, 0, 0]), ("b", [0, 0, 255]))
    }
    assert len(guesses) == (3 if kind == "mask" else 2)
    for name, bits in painted.items():
        said = masks.union([a.mask for a in guesses if a.mask and a.label == name])
        assert said == masks.encode(bits)


def test_a_class_is_as_sure_as_its_pixels_are_in_the_mean(tmp_path: Path) -> None:
    """The slice from 0 sees 80 columns, of which 70 count; that from 80 sees 35, of which 25 count."""
    (guess,) = ask(
        loaded(tmp_path, "painted", Slices(size=100, overlap=0.2)), canvas([("a", (20, 0, 115, 10))])
    )
    parts = [(70 * 10, 0.5 + 80 * 10 / 1e4), (25 * 10, 0.5 + 35 * 10 / 1e4)]
    assert guess.score == pytest.approx(sum(n * s for n, s in parts) / 950, abs=1e-12)
    assert guess.mask == masks.encode(canvas([("a", (20, 0, 115, 10))])[..., 1] == 0)


def test_an_image_of_one_slice_is_asked_about_as_it_is(tmp_path: Path) -> None:
    image = canvas(PLACES)
    unsliced = ask(loaded(tmp_path, "box", None, sees=1000), image)
    (tmp_path / "log").unlink()
    sliced = ask(loaded(tmp_path, "box", Slices(size=300), sees=1000), image)
    assert (tmp_path / "log").read_text() == "300\n"
    assert [(a.label, a.box, a.score) for a in sliced] == [(a.label, a.box, a.score) for a in unsliced]


def test_slices_are_shown_in_batches_and_fewer_where_memory_is_short(tmp_path: Path) -> None:
    widths = ["100 " * 8, "100 " * 4 + "300"]
    boxes = sorted_boxes(ask(loaded(tmp_path, "box"), canvas(PLACES)))
    assert (tmp_path / "log").read_text().splitlines() == [line.strip() for line in widths]
    (tmp_path / "log").unlink()
    annotator = loaded(tmp_path, "box", most=3)
    assert sorted_boxes(ask(annotator, canvas(PLACES))) == boxes
    asked = [len(line.split()) for line in (tmp_path / "log").read_text().splitlines()]
    assert asked == [8, 4, 2, 2, 2, 2, 2, 2, 1]
    with pytest.raises(MemoryError):
        ask(loaded(tmp_path, "box", most=0), canvas(PLACES))


def test_the_bound_is_of_the_image_not_of_a_slice(tmp_path: Path) -> None:
    places = [("a", (x, y, x + 10 + x // 50, y + 10)) for x in range(10, 290, 30) for y in (20, 150)]
    annotator = loaded(tmp_path, "box", max_det=4)
    guesses = ask(annotator, canvas(places))
    every = ask(loaded(tmp_path, "box"), canvas(places))
    assert len(every) == len(places)
    assert [a.box for a in guesses] == [a.box for a in every[:4]]
    assert annotator.shortfalls == ("own:finder.py found more than 4 objects on 1 images, and kept the best",)


def test_what_goes_on_with_what_was_drawn_is_shown_the_whole_image(tmp_path: Path) -> None:
    loaded(tmp_path, "box").close()
    text = (tmp_path / "finder.py").read_text().replace(str(tmp_path / "log"), str(tmp_path / "second"))
    (tmp_path / "second.py").write_text(text.replace("<= 100", "<= 1000"))
    options = Options(threshold=0.0, slices=SLICES, trust=True, device="cpu")
    chain = load_chain(["own:finder.py", "own:second.py"], tmp_path, None, options)
    assert len(ask(chain, canvas(PLACES))) == len(PLACES)
    assert (tmp_path / "second").read_text() == "300\n"


def test_what_names_whole_images_is_refused(tmp_path: Path) -> None:
    text = FILE.format(task="classification", log="log", most=9, sees=9, apart=True, said="pass")
    (tmp_path / "finder.py").write_text(text)
    options = Options(slices=SLICES, trust=True, device="cpu")
    with pytest.raises(ModelError) as error:
        load_chain(["own:finder.py"], tmp_path, None, options)
    assert str(error.value) == (
        "model 'own:finder.py' names whole images, and only what draws can be shown slices"
        " -> take preannotate.slices out"
    )


def test_predict_takes_slices_by_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(tmp_path, "box").close()
    Image.fromarray(canvas(PLACES)).save(tmp_path / "canvas.png")
    monkeypatch.chdir(tmp_path)
    asked = ["predict", "canvas.png", "--model", "own:finder.py", "--trust", "--json"]
    for flag, count in (([], 0), (["--slices", "100"], len(PLACES)), (["--slices", "100,0.5"], len(PLACES))):
        done = CliRunner().invoke(app, [*asked, *flag])
        (row,) = json.loads(done.stdout)
        assert len(row["predictions"]) == count
    wrong = CliRunner().invoke(app, [*asked, "--slices", "a lot"])
    assert str(wrong.exception) == (
        "--slices a lot: size input should be a valid integer, unable to parse string as an integer"
        " -> --slices 640,0.2"
    )

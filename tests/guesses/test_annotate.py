"""What an annotator is given: what people see, in batches that memory holds, at a scale that is enough."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from tests.images.awkward import CASES, COPIED
from workflow.errors import OutOfMemory
from workflow.guesses.annotate import annotate_all
from workflow.guesses.engine import BATCH, SORTED, Limits, Source, _Asking, _Picture, ask_all, batches
from workflow.guesses.tally import Tally, described
from workflow.images.decode import View
from workflow.models import Guesses, Pixels, Size, Whole
from workflow.project.paths import load_project
from workflow.project.rows import read_catalog
from workflow.records import Annotation, Provenance
from workflow.stages import catalog

MODEL = Provenance("model", "m")


class Looker:
    """An annotator that keeps what it is shown, and says the brightest pixel of each image."""

    def __init__(self, holds: int = 10**9, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.images: list[Pixels] = []
        self.counts: list[int] = []
        self.holds, self.error = holds, error

    def annotate(self, images: Sequence[Pixels], prior: Any, classes: Sequence[str]) -> list[Guesses]:
        self.counts.append(len(images))
        if len(images) > self.holds:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.images += images
        return [(Annotation(str(image.max()), MODEL, score=0.5),) for image in images]


class Reducer(Looker):
    """One that needs no more than `side` pixels of the longer side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.wholes: list[Whole] = []

    def least(self, height: int, width: int) -> Size | None:
        scale = self.side / max(height, width)
        return round(height * scale), round(width * scale)

    def annotate_reduced(
        self, images: Sequence[Pixels], wholes: Sequence[Whole], classes: Sequence[str]
    ) -> list[Guesses]:
        self.wholes += wholes
        return self.annotate(images, (), classes)


def test_the_model_is_given_what_people_see(tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_text('name = "pets"\ntitle = "Pets"\nclasses = ["cat"]\n')
    folder = tmp_path / "data" / "images"
    folder.mkdir(parents=True)
    for name, content in COPIED.items() | {(name, content) for name, (content, _) in CASES.items()}:
        (folder / name).write_bytes(content)
    project = load_project(tmp_path)
    catalog.run(project)
    records = read_catalog(project.catalog)
    looker = Looker()
    parts = list(annotate_all(looker, project, records, ("cat",)))  # type: ignore[arg-type]
    assert [record for part, _ in parts for record in part] == records
    assert sorted(i.shape for i in looker.images) == sorted((r.height, r.width, 3) for r in records)
    guesses = [one for _, answers in parts for one in answers]
    brightest = {r.path: int(one.label) for r, (one,) in zip(records, guesses, strict=True)}
    # 4,000 and 3,000 of 4,095.
    assert (brightest["deep.png"], brightest["deep.tif"]) == (249, 187)


def _picture(number: int, height: int, width: int = 0) -> _Picture[int]:
    pixels = np.zeros((height, width or height, 3), np.uint8)
    view = View(pixels, *pixels.shape[:2])
    return _Picture(number, Source(number, Path(str(number)), pixels.nbytes), view)


@pytest.mark.parametrize(
    ("sides", "most", "counts"),
    [
        ([10] * 20, 10**9, [8, 8, 4]),
        ([10] * 5, 600, [2, 2, 1]),
        ([10, 100, 100, 10, 10], 600, [1, 1, 1, 2]),
        ([], 600, []),
    ],
)
def test_batches_are_smaller_where_images_are_large(sides: list[int], most: int, counts: list[int]) -> None:
    """A side of 10 pixels takes 300 bytes."""
    pictures = [_picture(number, side) for number, side in enumerate(sides)]
    parts = list(batches(pictures, _Asking(Looker(), (), BATCH, Tally()), most))  # type: ignore[arg-type]
    assert [len(part) for part in parts] == counts
    assert [picture for part in parts for picture in part] == pictures


def test_batches_are_of_one_shape_and_none_waits_for_long() -> None:
    shapes = [(8, 6), (6, 8)] * 20 + [(5, 5)] + [(8, 6)] * 100
    pictures = [_picture(number, *shape) for number, shape in enumerate(shapes)]
    asked = _Asking(Looker(), (), BATCH, Tally())  # type: ignore[arg-type]
    drawn: list[int] = []

    def drawing() -> Any:
        for picture in pictures:
            drawn.append(picture.number)
            yield picture

    parts = []
    for part in batches(drawing(), asked, 10**9):
        parts.append(part)
        waiting = len(drawn) - sum(map(len, parts))
        assert waiting <= SORTED * BATCH
    assert sorted(p.number for part in parts for p in part) == list(range(len(shapes)))
    assert {len({p.view.pixels.shape for p in part if p.view}) for part in parts} == {1}
    assert [len(part) for part in parts].count(BATCH) >= len(shapes) // BATCH - 3


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Photographs of two shapes, each of one gray that says which it is; one is no image any more."""
    paths = []
    for number in range(23):
        size = (64, 48) if number % 3 else (48, 64)
        path = tmp_path / f"{number:02}.png"
        Image.new("RGB", size, (number, number, number)).save(path)
        paths.append(path)
    paths[7].write_bytes(paths[7].read_bytes()[:60])
    paths[9].unlink()
    return paths


def _sources(paths: Sequence[Path]) -> list[Source[str]]:
    return [Source(path.stem, path, 3 * 64 * 48) for path in paths]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_answers_come_in_order_whatever_the_workers(photographs: list[Path], workers: int) -> None:
    tally = Tally()
    answers = ask_all(Looker(), _sources(photographs), (), Limits(), 4, workers, tally)  # type: ignore[arg-type]
    labels = {key: one.label for part in answers for key, (one,) in part}
    assert labels == {f"{n:02}": str(n) for n in range(23) if n not in (7, 9)}
    assert list(labels) == sorted(labels)
    broken = {Path(path).name: error.reason for path, error in tally.quarantined.items()}
    assert broken == {"07.png": "truncated", "09.png": "missing"}
    assert [line for line in tally.lines() if line.startswith("quarantined")] == [
        f"quarantined {photographs[7]}: truncated",
        f"quarantined {photographs[9]}: missing",
    ]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, OutOfMemory])
def test_out_of_memory_halves_the_batch_and_goes_on(photographs: list[Path], error: type[Exception]) -> None:
    looker, tally = Looker(holds=2, error=error), Tally()
    paths = [path for path in photographs if path.stem not in ("07", "09")]
    answers = ask_all(looker, _sources(paths), (), Limits(), 8, 2, tally)  # type: ignore[arg-type]
    labels = [one.label for part in answers for _, (one,) in part]
    assert labels == [str(int(path.stem)) for path in paths]
    # Eight at a time once, then four, then two for the rest.
    assert [count for count in looker.counts if count > 2] == [8, 4]
    assert tally.batch == 2
    assert "memory was short: the model was shown 2 images at a time in the end" in tally.lines()


def test_what_is_too_much_alone_is_said_in_one_line(photographs: list[Path]) -> None:
    answers = ask_all(Looker(holds=0), _sources(photographs[:1]), (), Limits())  # type: ignore[arg-type]
    with pytest.raises(OutOfMemory) as error:
        list(answers)
    said = "out of memory, though it was shown to the model alone"
    fix = "--device cpu, a smaller image_size, or a smaller model"
    assert str(error.value) == f"{photographs[0]}: {said} -> {fix}"


def test_other_errors_are_not_taken_for_a_lack_of_memory(photographs: list[Path]) -> None:
    looker = Looker(holds=0, error=RuntimeError)
    with pytest.raises(RuntimeError):
        list(ask_all(looker, _sources(photographs[:4]), (), Limits()))  # type: ignore[arg-type]
    assert len(looker.counts) == 1


def test_jpegs_come_at_the_least_scale_that_is_enough(tmp_path: Path) -> None:
    sizes = {"a.jpg": (640, 480), "b.jpg": (1283, 801), "c.jpg": (150, 90), "d.png": (640, 480)}
    for name, size in sizes.items():
        Image.new("RGB", size, "gray").save(tmp_path / name)
    reducer = Reducer(160)
    sources = [Source(name, tmp_path / name, 0) for name in sizes]
    list(ask_all(reducer, sources, (), Limits(), 1))  # type: ignore[arg-type]
    # What is shown whole needs no word of its size.
    assert reducer.wholes == [Whole(480, 640, 4), Whole(801, 1283, 8)]
    assert [i.shape for i in reducer.images] == [(120, 160, 3), (101, 161, 3), (90, 150, 3), (480, 640, 3)]


def test_memory_stays_flat_and_no_thread_is_left(tmp_path: Path) -> None:
    """Of 300 images that take 3 MB each, a few are there at a time; so it is when the asker goes early."""
    path = tmp_path / "a.png"
    Image.new("RGB", (1000, 1000)).save(path)
    sources = [Source(number, path, 3 * 10**6) for number in range(300)]

    class Forgetful(Looker):
        def annotate(self, images: Sequence[Pixels], prior: Any, classes: Sequence[str]) -> list[Guesses]:
            return [() for _ in images]

    threads = threading.active_count()
    before, most = psutil.Process().memory_info().rss, 0
    for _ in ask_all(Forgetful(), sources, (), Limits(memory=0.06), 8, 2):  # type: ignore[arg-type]
        most = max(most, psutil.Process().memory_info().rss)
    assert most - before < 150e6
    answers = ask_all(Forgetful(), sources, (), Limits(memory=0.06), 8, 2)  # type: ignore[arg-type]
    next(answers)
    answers.close()
    assert threading.active_count() == threads


def test_a_summary_tells_classes_and_scores() -> None:
    guesses = [Annotation("cat", MODEL, score=score) for score in (0.95, 1.0, 0.91, 0.42)]
    guesses.append(Annotation("dog", MODEL, score=0.05))
    assert described(guesses) == ["by class: cat 4, dog 1", "scores: 0 |▃   ▃    █| 1"]
    assert described([]) == []

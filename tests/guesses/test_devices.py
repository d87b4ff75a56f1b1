"""A process a device: the same answers in the same order as one, also where processes die."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir, closing
from pathlib import Path
from random import Random

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import MakeProject
from tests.guesses.grays import MODEL, but_times, load_gray
from workflow.cli import app
from workflow.errors import ConfigError, ImageError, ModelError
from workflow.guesses.crew import Crew, Job, crew_of
from workflow.guesses.devices import AHEAD, LONGEST, Board
from workflow.guesses.engine import RUN, Limits, Source
from workflow.guesses.tally import Tally
from workflow.models.device import pick_device
from workflow.stages import catalog, preannotate

COUNT = 90
BROKEN = 41


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Photographs of one gray each, its number; one is none."""
    (tmp_path / "gray.py").write_text(MODEL.format(folder=str(tmp_path)))
    paths = [tmp_path / f"{number:02}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        Image.new("RGB", (32, 24 if number % 3 else 20), (number, number, number)).save(path)
    paths[BROKEN].write_bytes(b"none")
    return paths


def _crew(folder: Path, device: str) -> Crew:
    crew = crew_of(Job(("own:gray.py",), folder, load_gray, folder / "logs"), device)
    assert isinstance(crew, Crew)
    return crew


def _asked(crew: Crew, paths: list[Path], tally: Tally | None = None) -> Iterator[tuple[str, str]]:
    sources = [Source(path.stem, path, 2304) for path in paths]
    classes = [str(number) for number in range(256)]
    with closing(crew.ask(sources, classes, Limits(), 1, 2, tally or Tally())) as answers:
        for part in answers:
            yield from ((key, one.label) for key, (one,) in part)


EXPECTED = [(f"{number:02}", str(number)) for number in range(COUNT) if number != BROKEN]


def test_what_dies_is_started_anew_or_given_up_and_nothing_is_lost_or_twice(
    photographs: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = photographs[0].parent
    (folder / "once-50").touch()
    tally = Tally()
    with closing(_crew(folder, "good,bad")) as crew:
        assert list(_asked(crew, photographs, tally)) == EXPECTED
        # It may be asked again.
        assert list(_asked(crew, photographs[:5])) == EXPECTED[:5]
    assert list(tally.quarantined) == [str(photographs[BROKEN])] and tally.images == COUNT - 1
    told = [line for line in capfd.readouterr().err.splitlines() if "the model's process ended" in line]
    assert sorted(line.split(";")[0] for line in told) == [
        "bad: the model's process ended (exit code -9), and is given up",
        "bad: the model's process ended (exit code -9), and is started anew",
        "good: the model's process ended (exit code -9), and is started anew",
    ]


def test_the_image_that_is_too_much_for_a_model_is_named(photographs: list[Path]) -> None:
    folder = photographs[0].parent
    (folder / "deadly-60").touch()
    with closing(_crew(folder, "left,right")) as crew, pytest.raises(ModelError) as raised:
        got = []
        for one in _asked(crew, photographs):
            got.append(one)
    assert got == EXPECTED[: len(got)] and len(got) < 60
    ended = f"{photographs[60]}: the model's process ended (exit code -9) each time it was shown this image"
    assert raised.value.problem == ended
    assert raised.value.fix.startswith("take it out of the images, or read ")


def test_predict_asks_several_devices(photographs: list[Path]) -> None:
    asked = ["predict", *map(str, photographs[:3]), "--model", "own:gray.py", "--trust", "--json"]
    answers = []
    with chdir(photographs[0].parent):
        for device in ("cpu", "left,right"):
            result = CliRunner().invoke(app, [*asked, "--device", device])
            assert result.exit_code == 0, result.exception
            answers.append(json.loads(result.stdout))
    assert answers[0] == answers[1]
    assert [row["predictions"][0]["label"] for row in answers[0]] == ["0", "1", "2"]


def test_what_is_no_device_is_named(photographs: list[Path]) -> None:
    import torch

    with pytest.raises(ConfigError) as missing:
        _crew(photographs[0].parent, "cpu,")
    assert str(missing.value) == "--device 'cpu,': a device is missing -> --device cuda:0,cuda:1, say"
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ", ".join(["auto", *gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"])
    for device in ("tpu", "cuda:99", "cpu,cpu"):
        with pytest.raises(ModelError) as raised:
            pick_device(device)
        assert str(raised.value) == f"--device {device}: no such device -> here: {there}"


def test_errors_of_images_come_through_pipes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ImageError("a.jpg: is cut off", "truncated", "fetch it anew")))
    assert (error.problem, error.reason, error.fix) == ("a.jpg: is cut off", "truncated", "fetch it anew")


@pytest.mark.parametrize(("total", "batch", "seats"), [(0, 8, 2), (1, 8, 3), (9000, 8, 2), (777, 3, 4)])
def test_images_are_given_out_in_whole_runs_and_answers_come_in_order(
    total: int, batch: int, seats: int
) -> None:
    """Now and then one dies in the middle of its part."""
    board = Board([Source(number, Path(), 1) for number in range(total)], batch, seats)
    random = Random(total)
    out, got, deaths = [], [], 0
    while not board.finished:
        while len(out) < seats and (part := board.next()):
            assert part.sources[0].key % (RUN * batch) == 0
            out.append(part)
        part = out.pop(random.randrange(len(out)))
        numbers = [source.key for source in part.sources]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[-1] < len(got) + (AHEAD * seats + 1) * LONGEST * RUN * batch
        dies = part.deaths == 0 and random.random() < 0.3
        answered = random.randrange(len(numbers)) if dies else len(numbers)
        board.answer([(number, ()) for number in numbers[:answered]])
        if dies:
            board.again(part, part.sources[answered:])
            deaths += 1
        got += [number for number, _ in board.ready()]
    assert got == list(range(total))
    assert board.next() is None and (deaths > 0) == (total > 1)


@pytest.mark.slow
def test_two_devices_write_what_one_writes(make_project: MakeProject) -> None:
    """Guesses, summary and all, to the byte."""
    project = make_project(count=48)
    catalog.run(project)
    one = preannotate.run(project, "cpu", batch=1)
    path = preannotate.predictions_path(project)
    content = path.read_bytes()
    two = preannotate.run(project, "cpu,cpu", batch=1, force=True)
    assert path.read_bytes() == content and two.did == one.did
    assert but_times(two) == but_times(one) and but_times(one)[-1].endswith(" runs on PyTorch, cpu")

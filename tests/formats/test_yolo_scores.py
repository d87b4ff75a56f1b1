"""Where the score stands in YOLO's lines of all kinds: told by their geometry, or asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tests.foreign import draw, look_up
from workflow.formats.page import Options
from workflow.records import Annotation
from workflow.tasks import TaskName

Columns = Literal["", "last", "second"]


def blob(rng: np.random.Generator, points: int) -> np.ndarray:
    """A star-shaped outline (points, 2) in shares of its image."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, points))
    reach = rng.uniform(0.05, 0.15, 2) * (1 + 0.3 * np.sin(3 * turns))[:, None]
    return rng.uniform(0.25, 0.75, 2) + np.stack([np.cos(turns), np.sin(turns)], 1) * reach


def outlines(points: int, count: int = 30) -> list[tuple[np.ndarray, float]]:
    rng = np.random.default_rng(points)
    return [(blob(rng, points), round(rng.uniform(0.25, 1), 4)) for _ in range(count)]


def text(lines: list[tuple[np.ndarray, float]], order: str) -> str:
    def line(points: np.ndarray, score: float) -> str:
        numbers = [f"{n:.6f}" for n in points.reshape(-1)]
        return " ".join(["0", *([*numbers, str(score)] if order == "last" else [str(score), *numbers])])

    return "".join(line(*one) + "\n" for one in lines)


def read(
    folder: Path, task: TaskName, lines: str, columns: Columns = "", yaml: str = "names: [cat]\n"
) -> tuple[list[Annotation], list[str], dict[str, int]]:
    for name in ("labels", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(f"{yaml}train: images\n")
    (folder / "labels" / "a.txt").write_text(lines)
    draw(folder / "images" / "a.png", 1000, 1000)
    options = Options(columns=columns)
    sizes = {"images/a.png": (1000, 1000)}
    pages, reading = look_up("yolo", folder, task, sizes, kind="model", options=options)
    return [a for page in pages.values() for a in page.annotations], reading.problems, reading.losses


@pytest.mark.parametrize("points", [4, 6, 9, 40])
@pytest.mark.parametrize("order", ["last", "second"])
def test_of_outlines_their_shape_tells(points: int, order: str, tmp_path: Path) -> None:
    own = outlines(points)
    annotations, problems, losses = read(tmp_path, "instance-segmentation", text(own, order))
    assert problems == []
    assert [a.score for a in annotations] == [score for _, score in own]
    for a, (corners, _) in zip(annotations, own, strict=True):
        assert a.polygons is not None
        assert np.array(a.polygons[0]) == pytest.approx(corners * 1000, abs=1e-2)
    second = "lines whose score stands second, as their geometry says"
    assert dict(losses) == ({second: 30} if order == "second" else {})


@pytest.mark.parametrize(("points", "count"), [(3, 30), (40, 2)])
@pytest.mark.parametrize("order", ["last", "second"])
def test_what_a_few_outlines_leave_open_is_asked(
    points: int, count: int, order: Columns, tmp_path: Path
) -> None:
    own = outlines(points, count)
    _, problems, _ = read(tmp_path, "instance-segmentation", text(own, order))
    (problem,) = problems
    assert problem.startswith(f"{tmp_path}: where do the scores stand? Of {count} outlines ")
    assert problem.endswith("say --columns last or --columns second")
    annotations, problems, _ = read(tmp_path, "instance-segmentation", text(own, order), order)
    assert problems == []
    assert [a.score for a in annotations] == [score for _, score in own]


def test_outlines_that_contradict_each_other_are_asked(tmp_path: Path) -> None:
    lines = text(outlines(9), "last") + text(outlines(40), "second")
    _, problems, _ = read(tmp_path, "instance-segmentation", lines)
    assert len(problems) == 1


def test_outlines_without_a_score_have_none(tmp_path: Path) -> None:
    lines = "0 0.1 0.1 0.5 0.1 0.5 0.6\n0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n"
    annotations, problems, losses = read(tmp_path, "instance-segmentation", lines)
    assert ([a.score for a in annotations], problems, dict(losses)) == ([None, None], [], {})


TURNED = "0.5 0.2 0.8 0.5 0.5 0.8 0.2 0.5"
POSE = "0.9 0.9 0.1 0.1 0.9 0.9 1"


@pytest.mark.parametrize(
    ("task", "shape", "yaml"),
    [
        ("oriented-detection", TURNED, "names: [cat]\n"),
        ("keypoints", POSE, "names: [cat]\nkpt_shape: [1, 3]\nkpt_names: {0: [tip]}\n"),
    ],
)
@pytest.mark.parametrize("order", ["last", "second"])
def test_turned_boxes_and_poses(task: TaskName, shape: str, yaml: str, order: str, tmp_path: Path) -> None:
    line = f"0 {shape} 0.7" if order == "last" else f"0 0.7 {shape}"
    annotations, problems, _ = read(tmp_path, task, line, yaml=yaml)
    assert problems == []
    assert annotations[0].score == 0.7
    if annotations[0].box:
        assert annotations[0].box == pytest.approx((850, 850, 950, 950))
    else:
        turned = annotations[0].rotated_box
        assert turned is not None
        assert (turned.cx, turned.cy) == pytest.approx((500, 500))

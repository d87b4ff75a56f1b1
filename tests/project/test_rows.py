from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import StageError
from workflow.project.rows import (
    append_rows,
    appending,
    atomic,
    drop_half_line,
    read_rows,
    read_samples,
    sample_from_row,
    sample_to_row,
    write_rows,
    write_rows_if_changed,
)
from workflow.records import Annotation, Mask, Provenance, RotatedBox, Sample

MODEL = Provenance("model", "yolo", "abc", "2026-01-01T00:00:00Z")
EVERY_KIND = (
    Annotation("cat", MODEL),
    Annotation("cat", MODEL, box=(0.0, 0.1, 10.25, 20.5), score=0.5, id="r1"),
    Annotation("cat", MODEL, rotated_box=RotatedBox(5, 5, 4, 2, 30)),
    Annotation("cat", MODEL, mask=Mask(4, 4, "04444")),
    Annotation("nose", MODEL, keypoints=((1.0, 2.0), (3.0, 4.5)), parent="r1"),
    Annotation(
        "cat", MODEL, polygons=(((0.0, 0.0), (9.5, 0.1), (4.0, 4.0)), ((1, 1), (2, 1), (2, 2), (1, 2)))
    ),
)


def test_every_kind_of_annotation_survives_a_file(tmp_path: Path) -> None:
    sample = Sample("i1", "reviewed", EVERY_KIND, {"task": 7})
    write_rows(tmp_path / "a.jsonl", [sample_to_row(sample)])
    assert read_samples(tmp_path / "a.jsonl") == {"i1": sample}


@given(st.tuples(*[st.floats(0, 5000)] * 2), st.tuples(*[st.floats(1e-3, 5000)] * 2), st.floats(0, 1))
def test_coordinates_survive_to_the_last_bit(corner: tuple, size: tuple, score: float) -> None:
    box = (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    sample = Sample("i", "reviewed", (Annotation("a", MODEL, box=box, score=score),))
    import orjson

    assert sample_from_row(orjson.loads(orjson.dumps(sample_to_row(sample)))) == sample


def test_a_failed_write_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_rows(path, [{"n": 1}])

    def rows():
        yield {"n": 2}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(path, rows())
    assert list(read_rows(path)) == [{"n": 1}]
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_half_line_is_cut_and_appending_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "shard.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2')
    assert list(read_rows(path, repair=True)) == [{"n": 1}]
    drop_half_line(path)
    with appending(path) as file:
        append_rows(file, [{"n": 3}])
    assert list(read_rows(path)) == [{"n": 1}, {"n": 3}]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n":1}\nnope\n')
    with pytest.raises(StageError) as error:
        list(read_rows(path))
    assert error.value.problem.startswith(f"{path}:2: not a JSON line (")
    assert error.value.fix == "mend or delete that line"


def test_the_same_rows_leave_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert write_rows_if_changed(path, [{"n": 1}])
    before = path.stat().st_mtime_ns
    assert not write_rows_if_changed(path, [{"n": 1}])
    assert path.stat().st_mtime_ns == before
    assert write_rows_if_changed(path, [{"n": 2}])


def test_partials_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.jsonl.partial").write_text("half of what was longer")
    (tmp_path / ".b.jsonl.partial").write_text("another file's")
    write_rows(tmp_path / "a.jsonl", [])
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.jsonl.partial", "a.jsonl"]
    assert (tmp_path / "a.jsonl").read_bytes() == b""


@pytest.mark.parametrize("name", ["水" * 80 + ".jsonl", "a" * 250, os.fsdecode(b"caf\xe9.jsonl")])
def test_a_file_may_have_any_name_that_its_system_takes(name: str, tmp_path: Path) -> None:
    write_rows(tmp_path / name, [{"n": 1}])
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_two_who_write_one_file_write_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    def write(number: int) -> None:
        with atomic(path) as file:
            for _ in range(50):
                file.write(b"%d" % number)
                file.flush()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [1, 2, 3, 4, 5, 6, 7, 8] * 5))
    assert len(set(path.read_bytes())) == 1
    assert len(path.read_bytes()) == 50
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import StageError
from workflow.project.rowfile import RowFile
from workflow.project.rows import (
    append_rows,
    appending,
    atomic,
    cached_rows,
    drop_half_line,
    read_catalog,
    read_json,
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


LINE = {
    "image": "i",
    "state": "reviewed",
    "annotations": [{"label": "cat", "provenance": {"kind": "person", "name": "me"}, "box": [1, 2, 3, 4]}],
}
BOX = "annotations.0.box"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"state": None}, "state: input should be 'unlabeled', 'predicted', 'reviewed' or 'skipped'"),
        ({"state": "done"}, "state: input should be 'unlabeled', 'predicted', 'reviewed' or 'skipped'"),
        ({"annotations": {}}, "annotations: input should be a valid array"),
        ({"state": "skipped"}, "image i is skipped, yet has annotations"),
        (
            {"box": [3, 2, 1, 4]},
            "annotations.0: box (3, 2, 1, 4) has no area: x2 > x1 and y2 > y1 are needed",
        ),
        ({"box": ["1", 2, 3, 4]}, f"{BOX}.0: input should be a valid number, and is '1'"),
        ({"box": [1, 2, 3]}, f"{BOX} has too few numbers"),
        ({"box": [1, 2, 3, True]}, f"{BOX}.3: input should be a valid number, and is True"),
        ({"lable": "cat"}, "annotations.0.lable: unknown key; did you mean 'label'?"),
        ({"label": 7}, "annotations.0.label: input should be a valid string, and is 7"),
        ({"label": ""}, "annotations.0: an annotation needs a label"),
        ({"provenance": None}, "annotations.0.provenance: input should be an object"),
        (
            {"provenance": {"kind": "god", "name": ""}},
            "annotations.0.provenance.kind: input should be 'model'",
        ),
        ({"score": 1.5}, "annotations.0: score 1.5 is not in [0, 1]"),
        (
            {"box": None, "polygons": [[[1, 1], [2, 2]]]},
            "annotations.0: annotation 'cat': a polygon needs three",
        ),
        (
            {"box": None, "mask": {"height": 2, "width": 2, "counts": "zz~"}},
            "annotations.0: mask.counts are no",
        ),
        (
            {"box": None, "mask": {"height": 0, "width": 2, "counts": "0"}},
            "annotations.0: a mask of 0 x 2 pixels",
        ),
    ],
)
def test_a_line_mended_badly_by_hand_names_its_field(tmp_path: Path, change: dict, problem: str) -> None:
    (annotation,) = LINE["annotations"]
    inner = {key: value for key, value in change.items() if key not in LINE}
    row = LINE | {"annotations": [annotation | inner]} | {k: v for k, v in change.items() if k in LINE}
    write_rows(tmp_path / "labels.jsonl", [LINE | {"image": "first"}, row])
    for read in (read_samples, RowFile, lambda path: list(read_rows(path))):
        with pytest.raises(StageError) as error:
            read(tmp_path / "labels.jsonl")
        assert error.value.problem.startswith(f"{tmp_path / 'labels.jsonl'}:2: {problem}")
        assert error.value.fix == (
            "mend or delete that line, or take an earlier state: workflow history --restore N"
        )


def test_all_bad_lines_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "a.jsonl"
    bad = {key: value for key, value in LINE.items() if key != "state"}
    write_rows(path, [LINE, LINE, bad, bad | {"image": "j", "annotations": 1}, bad, LINE | {"image": "k"}])
    with pytest.raises(StageError) as error:
        read_samples(path)
    assert str(error.value) == (
        f"{path}:2: image 'i' stands on line 1 already; line 3: state is missing; "
        "line 4: state is missing (and 1 more); and 1 more lines -> mend or delete those lines"
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"width": 0}, "image a.png: size 0x48 is not positive"),
        ({"width": "64"}, "width: input should be a valid integer, and is '64'"),
        ({"split": "dev"}, "split: input should be 'train', 'validation' or 'test', and is 'dev'"),
        ({"hight": 48}, "hight: unknown key; did you mean 'height'?"),
        ({}, "path 'a.png' stands on line 1 already"),
    ],
)
def test_a_damaged_catalog_names_line_and_field(tmp_path: Path, change: dict, problem: str) -> None:
    row = {"id": "i", "path": "a.png", "width": 64, "height": 48, "split": "train", "group": None}
    write_rows(tmp_path / "catalog.jsonl", [row, row | {"id": "k"} | change])
    with pytest.raises(StageError) as error:
        read_catalog(tmp_path / "catalog.jsonl")
    assert error.value.problem == f"{tmp_path / 'catalog.jsonl'}:2: {problem}"


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\n" + content.replace(b"\n", b"\n\n") + b"  \n",
        lambda content: content.rstrip(b"\n"),
        lambda content: b"".join(reversed(content.splitlines(keepends=True))),
    ],
    ids=["byte order mark", "Windows newlines", "empty lines", "no last newline", "another order"],
)
def test_what_an_editor_does_to_a_file_is_read(tmp_path: Path, edit: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "labels.jsonl"
    rows = [LINE | {"image": name} for name in "abc"]
    write_rows(path, rows)
    whole = path.read_bytes()
    path.write_bytes(edit(whole))
    assert sorted(read_rows(path), key=lambda row: row["image"]) == rows
    file = RowFile(path)
    assert [file.row(name) for name in file] == rows
    file.put("d", LINE | {"image": "d"})
    file.drop("d")
    assert b"".join(file.lines(file)) == whole
    file.write()
    assert path.read_bytes() == whole


def test_a_cache_that_does_not_read_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "measured.jsonl"
    path.write_bytes(b'{"stat": ["a.png", 1, 2], "limit": 1.0, "path": "a.png"}\n')
    assert cached_rows(path) == [] and not path.exists()
    path.write_bytes(
        b'{"stat": ["a.png", 1, 2], "limit": 1, "path": "a", "reason": "r", "problem": "p"}\n{"st'
    )
    assert [row["path"] for row in cached_rows(path)] == ["a"]


@pytest.mark.parametrize(("content", "problem"), [(b"[1", "not JSON ("), (b"7", "not a JSON object")])
def test_json_that_does_not_read_is_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "label-studio.json"
    path.write_bytes(content)
    with pytest.raises(StageError) as error:
        read_json(path, {})
    assert error.value.problem.startswith(f"{path}: {problem}")
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    mark = tmp_path / ".stages" / "pull.json"
    mark.parent.mkdir()
    mark.write_bytes(content)
    assert read_json(mark, {}) == {}

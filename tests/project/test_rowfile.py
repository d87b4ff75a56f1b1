"""Rows by image, without holding them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import StageError
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_rows, write_rows

OLD = [{"image": "a", "n": 1}, {"image": "c", "n": 2}, {"image": "c", "n": 3}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_rows(tmp_path / "rows.jsonl", OLD)
    return tmp_path / "rows.jsonl"


def test_rows_are_found_by_image(path: Path) -> None:
    rows = RowFile(path)
    assert list(rows) == ["a", "c"]
    assert rows.rows("c") == OLD[1:]
    assert rows.row("c") == {"image": "c", "n": 3}
    assert rows.row("b") is None
    assert "b" not in rows
    assert rows.changed() == []


def test_changes_are_written_sorted_and_only_where_there_are_any(path: Path) -> None:
    rows = RowFile(path)
    before = path.stat().st_mtime_ns
    rows.put("a", {"image": "a", "n": 1})
    assert not rows.write()
    assert path.stat().st_mtime_ns == before
    rows.put("b", {"image": "b", "n": 9})
    rows.put("c")
    assert rows.changed() == ["b", "c"]
    assert b"".join(rows.lines_before()) == path.read_bytes()
    assert rows.write()
    assert list(read_rows(path)) == [{"image": "a", "n": 1}, {"image": "b", "n": 9}]
    assert [p.name for p in path.parent.iterdir()] == ["rows.jsonl"]


def test_a_row_put_back_is_no_change(path: Path) -> None:
    rows = RowFile(path)
    rows.put("a", {"image": "a", "n": 2})
    rows.put("a", {"image": "a", "n": 1})
    rows.drop("c")
    rows.put("c", *OLD[1:])
    assert rows.changed() == []


def test_the_same_in_another_order_of_keys_is_no_change(path: Path) -> None:
    rows = RowFile(path)
    rows.put("a", {"n": 1, "image": "a"})
    rows.put("c", *reversed(OLD[1:]))
    assert rows.changed() == ["c"]


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    rows = RowFile(tmp_path / "new" / "rows.jsonl")
    assert list(rows) == []
    rows.put("a", {"image": "a"})
    assert rows.write()
    assert list(read_rows(rows.path)) == [{"image": "a"}]


def test_a_half_line_is_passed_over_where_one_may_be(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"image": "d", "n"')
    assert list(RowFile(path, repair=True)) == ["a", "c"]
    with pytest.raises(StageError, match="rows.jsonl:4: not a JSON line"):
        RowFile(path)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 9), max_size=2)), max_size=8))
def test_it_is_a_dictionary_of_lists(steps: list[tuple[str, list[int]]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        write_rows(file, OLD)
        rows, model = RowFile(file), {"a": OLD[:1], "c": OLD[1:]}
        for image, numbers in steps:
            model[image] = [{"image": image, "n": n} for n in numbers]
            rows.put(image, *model[image])
        rows.write()
        assert list(read_rows(file)) == [row for image in sorted(model) for row in model[image]]


GROW = """
import resource, sys
from pathlib import Path
from workflow.project.rowfile import RowFile
rows = RowFile(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number in range(2000):
    rows.put(f"{number:04d}", {"image": f"{number:04d}", "mask": "x" * 50_000})
rows.write()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_a_hundred_megabytes_of_rows_stay_on_the_disk(tmp_path: Path) -> None:
    """In a process of its own, whose memory nobody else has grown."""
    path = tmp_path / "rows.jsonl"
    done = subprocess.run([sys.executable, "-c", GROW, str(path)], capture_output=True, text=True, check=True)
    assert path.stat().st_size > 100_000_000
    assert int(done.stdout) < 20_000

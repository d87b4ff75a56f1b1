"""What was read out of a file is remembered until the file changes, in whatever way."""

import os
import time

import pytest

from workflow.project.known import COARSE, remembered


@pytest.fixture
def reading(tmp_path):
    """`reading(way)`: what is remembered of a file, and how often the file was read for it."""
    path, counts = tmp_path / "labels.jsonl", []

    def read(way=1):
        value = remembered(tmp_path / ".stages", "labels", {"labels": path}, way, lambda: counted())
        return value, len(counts)

    def counted():
        counts.append(1)
        return {"text": path.read_text() if path.exists() else ""}

    return path, read


def settle():
    time.sleep(0.05)


def test_a_file_is_read_once(reading):
    path, read = reading
    path.write_text("one")
    settle()
    assert [read(), read(), read()] == [({"text": "one"}, 1)] * 3


def test_a_file_that_is_not_there_and_then_is(reading):
    path, read = reading
    assert [read(), read()] == [({"text": ""}, 1)] * 2
    path.write_text("one")
    assert read() == ({"text": "one"}, 2)


@pytest.mark.parametrize("how", ["longer", "of the same size", "of the same size and time", "replaced"])
def test_a_change_is_seen(reading, how):
    path, read = reading
    path.write_text("one")
    settle()
    read()
    before = path.stat()
    settle()
    if how == "replaced":
        path.with_name("new").write_text("two")
        os.utime(path.with_name("new"), ns=(before.st_atime_ns, before.st_mtime_ns))
        path.with_name("new").replace(path)
    else:
        path.write_text("two, and more" if how == "longer" else "two")
    if how.endswith("and time"):
        # the time of the inode, which nobody can set, is another
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read() == ({"text": path.read_text()}, 2)


def test_of_a_file_just_written_nothing_is_kept(reading):
    path, read = reading
    path.write_text("one")
    # a file system with whole seconds shows the same time two seconds long
    os.utime(path, ns=(0, (time.time_ns() // COARSE) * COARSE))
    assert read() == ({"text": "one"}, 1)
    assert read()[1] == 2


def test_another_way_of_reading_reads_again(reading):
    path, read = reading
    path.write_text("one")
    settle()
    assert [read(1)[1], read(2)[1], read(2)[1]] == [1, 2, 2]


def test_what_is_kept_and_does_not_read_is_made_anew(reading, tmp_path):
    path, read = reading
    path.write_text("one")
    settle()
    read()
    (tmp_path / ".stages" / "known-labels.json").write_text("{")
    assert read() == ({"text": "one"}, 2)


def test_an_error_is_kept_nowhere(tmp_path):
    (tmp_path / "labels.jsonl").write_text("x")
    settle()
    files = {"labels": tmp_path / "labels.jsonl"}
    with pytest.raises(ValueError, match="broken"):
        remembered(tmp_path / ".stages", "labels", files, 1, lambda: broken())
    assert not (tmp_path / ".stages").exists()


def broken():
    raise ValueError("broken")

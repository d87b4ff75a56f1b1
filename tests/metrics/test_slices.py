"""Which images are looked at by themselves."""

from workflow.metrics.slices import slices_of
from workflow.records import ImageRecord


def records(count, folders=("a",)):
    paths = [f"{folders[n % len(folders)]}/{n}.png" for n in range(count)]
    return [ImageRecord(f"i{n:03}", path, 9, 9, "test") for n, path in enumerate(paths)]


def test_folders_thirds_and_tags():
    rows = records(18, ("a", "b", "c"))
    # Falling brightness, and all as blurred as each other.
    measures = {row.id: {"brightness": 100.0 - n, "blur": 7.0} for n, row in enumerate(rows[:16])}
    tags = {"night": [row.id for row in rows[:5]], "few": [rows[0].id], "gone": ["x"] * 9}
    assert slices_of(rows, measures, tags) == {
        "folder a": [0, 3, 6, 9, 12, 15],
        "folder b": [1, 4, 7, 10, 13, 16],
        "folder c": [2, 5, 8, 11, 14, 17],
        "darkest third": [11, 12, 13, 14, 15],
        "middle third by brightness": [6, 7, 8, 9, 10],
        "brightest third": [0, 1, 2, 3, 4, 5],
        "tag night": [0, 1, 2, 3, 4],
    }


def test_what_tells_nothing_is_no_slice():
    rows = records(14)
    assert slices_of(rows) == {}
    sharp = {row.id: {"blur": float(n)} for n, row in enumerate(rows)}
    # 14 images make thirds of 4 and 5.
    assert slices_of(rows, sharp) == {
        "middle third by blur": [4, 5, 6, 7, 8],
        "sharpest third": [9, 10, 11, 12, 13],
    }
    assert slices_of(rows, {}, {"all": [row.id for row in rows]}) == {}
    many = records(75, tuple(f"f{n:02}" for n in range(15)))
    assert list(slices_of(many)) == [f"folder f{n:02}" for n in range(12)]
    assert slices_of([]) == {}

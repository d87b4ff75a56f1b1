"""Near-copies on one side of the split, whatever order the images came in, and no catalogued image moved."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alike.pictures import COPIES, picture
from workflow.alike.groups import keys_of
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows
from workflow.project.settings import SplitRule
from workflow.records import Split
from workflow.stages import catalog
from workflow.stages.catalog import assign_split

RULE = SplitRule(test=0.4, validation=0.2)
NAMES = "abcdefghij"


def split_of(key: str) -> Split:
    return assign_split(key, RULE)


@given(
    near=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12),
    own=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["left", "right"]), max_size=5),
    order=st.permutations(NAMES),
    batch=st.integers(1, 10),
)
def test_whatever_comes_in_which_order(
    near: list[tuple[str, str]], own: dict[str, str], order: list[str], batch: int
) -> None:
    """Batch by batch: what is there never moves, and what is new tears nothing apart that was together."""
    keys: dict[str, str] = {}
    for start in range(0, len(order), batch):
        here = order[: start + batch]
        pairs = [(a, b) for a, b in near if a in here and b in here]
        groups = {image: own.get(image) for image in here}
        after = keys_of(groups, pairs, keys, split_of)
        assert after.keys() == set(here)
        assert all(after[image] == key for image, key in keys.items())
        for image in set(here) - keys.keys():
            others = [b if a == image else a for a, b in pairs if image in (a, b)]
            others += [o for o in here if groups[image] and groups[o] == groups[image]]
            sides = {split_of(keys[o]) for o in others if o in keys}
            if "test" in sides:
                assert split_of(after[image]) == "test"
            assert all(after[o] == after[image] for o in others if o not in keys)
        keys = after
    alone = set(order) - {image for pair in near for image in pair} - own.keys()
    assert all(keys[image] == image for image in alone)


def test_all_at_once_nothing_straddles() -> None:
    own = dict.fromkeys("abcdef") | {"c": "sender", "f": "sender"}
    keys = keys_of(own, [("a", "b"), ("b", "c"), ("d", "e")], {}, split_of)
    assert keys == {"a": "sender", "b": "sender", "c": "sender", "f": "sender", "d": "d", "e": "d"}


@pytest.mark.parametrize("sides", [("test", "train"), ("validation", "train"), ("train", "test")])
def test_a_new_copy_of_a_test_image_goes_to_test(sides: tuple[Split, Split]) -> None:
    names = (f"image-{n}" for n in range(1000))
    one, other = (next(n for n in names if split_of(n) == side) for side in sides)
    own = dict.fromkeys((one, other, "new"))
    keys = keys_of(own, [(one, "new"), ("new", other)], {one: one, other: other}, split_of)
    assert (keys[one], keys[other]) == (one, other)
    assert split_of(keys["new"]) == min(sides, key=["test", "validation", "train"].index)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "data" / "images").mkdir(parents=True)
    toml = 'name = "copies"\ntitle = "Copies"\nclasses = ["a"]\n[split]\ntest = 0.4\nnear_duplicates = true\n'
    (tmp_path / "project.toml").write_text(toml)
    return load_project(tmp_path)


def straddling(project: Project) -> list[str]:
    """The originals of whose copies some are on another side; a file is called as its original."""
    sides: dict[str, set[str]] = {}
    for record in read_catalog(project.catalog):
        sides.setdefault(Path(record.path).stem.partition("-")[0], set()).add(record.split)
    return [name for name, found in sides.items() if len(found) > 1]


def test_planted_copies_do_not_straddle_in_the_catalog(project: Project) -> None:
    count, rng = 200, random.Random(0)
    files = {f"{n}": picture(n, 120, 90) for n in range(count)}
    kinds = [copy for name, copy in COPIES.items() if name != "cropped"]
    planted = rng.sample(range(count), count // 10)
    files |= {f"{n}-copy": kinds[k % len(kinds)](files[f"{n}"]) for k, n in enumerate(planted)}
    names = sorted(files)
    rng.shuffle(names)
    sides: dict[str, str] = {}
    for part in (names[:90], names[90:150], names[150:]):
        for name in part:
            files[name].save(project.images / f"{name}.png")
        did = catalog.run(project).did
        assert straddling(project) == []
        now = {r.path: r.split for r in read_catalog(project.catalog)}
        assert {path: now[path] for path in sides} == sides
        sides = now
    assert f"{2 * len(planted)} images with near-copies (workflow duplicates)" in did
    grouped = [r for r in read_catalog(project.catalog) if r.group]
    assert len(grouped) == 2 * len(planted)
    joined = {row["image"] for row in read_rows(project.groups)}
    assert len(joined) == len(planted)
    # Nor does anything move where nobody looks for copies any more, or the catalog is lost.
    toml = project.folder / "project.toml"
    project.catalog.unlink()
    assert {r.path: r.split for r in run_anew(project)} == sides
    toml.write_text(toml.read_text().replace("near_duplicates = true", ""))
    assert {r.path: r.split for r in run_anew(load_project(project.folder))} == sides
    # Another rule draws all anew, and copies together.
    toml.write_text(toml.read_text() + 'salt = "other"\nnear_duplicates = true\n')
    assert {r.path: r.split for r in run_anew(load_project(project.folder))} != sides
    assert straddling(project) == []


def run_anew(project: Project) -> list:
    catalog.run(project, force=True)
    return read_catalog(project.catalog)


def test_a_catalog_of_before_keeps_its_sides_and_says_what_straddles(project: Project) -> None:
    toml = project.folder / "project.toml"
    text = toml.read_text()
    toml.write_text(text.replace("near_duplicates = true", ""))
    for n in range(12):
        picture(n, 120, 90).save(project.images / f"{n}.png")
        picture(n, 120, 90).resize((80, 60)).save(project.images / f"{n}-small.png")
    catalog.run(load_project(project.folder))
    torn, before = len(straddling(project)), project.catalog.read_bytes()
    assert torn > 2 and not project.groups.exists()
    toml.write_text(text)
    did = catalog.run(project).did
    assert f"24 images with near-copies, {torn} pairs of them on different sides since before" in did
    assert project.catalog.read_bytes() == before

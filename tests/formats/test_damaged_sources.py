"""Strangers' files, damaged in every way: an import is right, or says one line and does nothing."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.foreign import make_project, review_by_truth
from tests.samples import CLASSES, KEYPOINTS, draw_project
from workflow.__main__ import main
from workflow.cli import shared
from workflow.commands import export
from workflow.formats.page import FORMATS
from workflow.tasks import TaskName

pytestmark = pytest.mark.slow
# Format, task, and which of the files that it writes are damaged.
SOURCES: tuple[tuple[str, TaskName, str], ...] = (
    ("coco", "detection", "out"),
    ("coco", "instance-segmentation", "out"),
    ("csv", "classification", "out"),
    ("cvat", "keypoints", "out"),
    ("cvat", "semantic-segmentation", "out"),
    ("folder", "classification", "out/*/*/*.png"),
    ("label-studio", "detection", "out"),
    ("labelme", "semantic-segmentation", "out/*.json"),
    ("masks", "semantic-segmentation", "out/labelmap.txt"),
    ("masks", "semantic-segmentation", "out/masks/*.png"),
    ("voc", "detection", "out/Annotations/*.xml"),
    ("yolo", "detection", "out/data.yaml"),
    ("yolo", "detection", "out/labels/*/*.txt"),
    ("yolo", "keypoints", "out/labels/*/*.txt"),
)
IDS = [f"{name}-{task}-{Path(file).suffix or 'file'}" for name, task, file in SOURCES]


class Source:
    """Labels of a stranger, the file of them that gets damaged, and what an import of them says."""

    def __init__(self, root: Path, name: str, task: TaskName, file: str) -> None:
        self.name, self.root = name, root
        drawn = review_by_truth(draw_project(root / "a", task, count=4))
        export.run(drawn, name, root / "out")
        self.images = drawn.images
        self.project = make_project(root / "b", task, CLASSES, KEYPOINTS if task == "keypoints" else ())
        found = [path for path in sorted(root.glob(file)) if path.is_file()]
        # The one that says most: an image without objects has little to damage.
        self.file = max(found, key=lambda path: path.stat().st_size)
        self.content = self.file.read_bytes()
        self.clean: tuple[int, str, str] | None = None
        self.text = "" if self.file.suffix == ".png" else self.content.decode()

    def take(self, content: bytes, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
        """Import with the file's content replaced: the exit code, what was said, and as an error."""
        self.file.write_bytes(content)
        images = () if self.name in ("folder", "yolo") else ("--images", str(self.images))
        words = [self.name, str(self.root / "out"), str(self.project.folder), *images, "--dry-run"]
        shared.locks.clear()
        capsys.readouterr()
        sys.argv = ["workflow", "import", *words]
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            self.file.write_bytes(self.content)
        said = capsys.readouterr()
        out = re.sub(r"\d+\.\d+ s|\d+ ms", "", said.out)
        return int(ended.value.code or 0), out, said.err


@pytest.fixture(scope="module", params=SOURCES, ids=IDS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("source"), *request.param)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Faults are written down here, and nowhere of the user's; the words typed are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKFLOW_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "argv", [])
    yield


def _check(source: Source, content: bytes, capsys: Any, what: str, wanted: str = "") -> None:
    """Import the damaged file; `wanted` is that it says the `same` as the whole one, or is `refused`."""
    if source.clean is None:
        source.clean = source.take(source.content, capsys)
    clean = source.clean
    assert clean[0] == 0, clean
    code, out, error = source.take(content, capsys)
    assert code in (0, 1), (what, error)
    assert "fault of workflow" not in error, (what, error)
    assert (code == 1) == bool(error), (what, out, error)
    assert all(line.startswith("error: ") for line in error.splitlines()), (what, error)
    assert len(error) < 6000, (what, len(error))
    if wanted == "same":
        assert (code, out) == (0, clean[1]), (what, error)
    elif wanted == "refused":
        assert code == 1, (what, out)
    elif code == 0 and out.splitlines()[0] != clean[1].splitlines()[0]:
        # What is not carried is said, a line a reason.
        assert len(out.splitlines()) > 1, (what, out)


def _text_only(source: Source) -> None:
    if not source.text:
        pytest.skip("no text")


MARKED = {"utf-8-sig": "utf-8-sig", "utf-16": "utf-16", "utf-32": "utf-32"}


@pytest.mark.parametrize("encoding", MARKED)
def test_text_may_be_of_any_unicode_with_its_mark(encoding: str, source: Source, capsys: Any) -> None:
    _text_only(source)
    _check(source, source.text.encode(encoding), capsys, encoding, "same")


def test_newlines_may_be_windows_own(source: Source, capsys: Any) -> None:
    _text_only(source)
    for sign in ("\r\n", "\r"):
        _check(source, source.text.replace("\n", sign).encode(), capsys, repr(sign), "same")


def test_other_encodings_and_binary_are_refused(source: Source, capsys: Any) -> None:
    _text_only(source)
    half = len(source.content) // 2
    for what, content in {
        "latin-1": source.content[:half] + b"caf\xe9" + source.content[half:],
        "binary": bytes(range(256)) * 8,
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
    }.items():
        _check(source, content, capsys, what, "refused")
    _check(source, source.content[:half] + b"\0\0" + source.content[half:], capsys, "zeros")
    # XML begins in a way that tells it.
    wanted = "same" if source.text[:2] == "<?" else "refused"
    _check(source, source.text.encode("utf-16-le"), capsys, "utf-16 without a mark", wanted)


def test_what_is_cut_off_is_right_or_refused(source: Source, capsys: Any) -> None:
    length = len(source.content)
    for share in (0, 1, length // 3, length // 2, length - 30):
        framed = source.text[:1] in ("[", "{", "<") or source.file.suffix == ".png"
        wanted = "refused" if framed else ""
        if source.name == "folder":
            wanted = ""
        _check(source, source.content[:share], capsys, f"{share} bytes", wanted)


def test_what_nests_without_end_is_refused(source: Source, capsys: Any) -> None:
    _text_only(source)
    for what, content in {
        "lists": "[" * 100_000,
        "objects": '{"a":' * 100_000,
        "elements": "<annotation>" * 20_000 + "</annotation>" * 20_000,
        "entities": '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>',
    }.items():
        _check(source, content.encode(), capsys, what, "refused")


WRONG = (None, "x", [[]], {}, -1, 10**30)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values, the first of each list standing for the others."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, (*path, key))
    if isinstance(value, list) and value:
        # The fullest one has most to damage.
        place = max(range(len(value)), key=lambda n: len(json.dumps(value[n])))
        yield from _leaves(value[place], (*path, place))


def _with(value: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> str:
    """The value's JSON after `change` was made to the holder of what lies at `path`."""
    changed = copy.deepcopy(value)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return json.dumps(changed)


def test_wrong_types_are_right_or_one_line(source: Source, capsys: Any) -> None:
    if source.text[:1] not in ("{", "["):
        pytest.skip("no JSON")
    value = json.loads(source.text)
    for path in _leaves(value):
        for wrong in WRONG:

            def put(holder: Any, key: Any, wrong: Any = wrong) -> None:
                holder[key] = wrong

            _check(source, _with(value, path, put).encode(), capsys, f"{path} is {wrong!r}")
        _check(source, _with(value, path, lambda h, k: h.pop(k)).encode(), capsys, f"{path} is not there")


def test_what_is_no_number_and_keys_that_stand_twice_are_refused(source: Source, capsys: Any) -> None:
    if source.text[:1] not in ("{", "["):
        pytest.skip("no JSON")
    number = re.search(r"(?<=[\[:, ])\d+(\.\d+)?(?=[,\]}\s])", source.text)
    assert number is not None
    for word in ("NaN", "Infinity", "-Infinity", "0x10", "01", "1e999"):
        content = source.text[: number.start()] + word + source.text[number.end() :]
        _check(source, content.encode(), capsys, word, "" if word == "1e999" else "refused")
    key = re.search(r'"(\w+)":', source.text)
    assert key is not None
    content = source.text[: key.start()] + f'"{key[1]}":0,' + source.text[key.start() :]
    _check(source, content.encode(), capsys, f"{key[1]} twice", "refused")


@pytest.mark.parametrize("word", ["", "x", "-1", "NaN", "1e999", "1_0", "9" * 400])
def test_any_word_may_be_another(word: str, source: Source, capsys: Any) -> None:
    """In XML, tables and label files: each kind of value once, by the words round it."""
    if not source.text or source.text[:1] in ("{", "["):
        pytest.skip("no such text")
    done = set()
    for found in re.finditer(r"(?<![\w.])-?\d+(\.\d+)?(?![\w.])", source.text):
        before = re.sub(r"[\d.]+", "0", source.text[max(0, found.start() - 12) : found.start()])
        if before in done or len(done) > 9:
            continue
        done.add(before)
        content = source.text[: found.start()] + word + source.text[found.end() :]
        _check(source, content.encode(), capsys, f"{word} after {before!r}")


def test_every_format_is_damaged() -> None:
    assert {name for name, *_ in SOURCES} == set(FORMATS)

"""Files of data/ that were damaged, or edited by hand: every command is right, or says one line."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.foreign import review_by_truth
from tests.ledger_rows import action, row
from tests.samples import draw_project
from workflow.__main__ import main
from workflow.cli import shared
from workflow.commands import export
from workflow.errors import StageError
from workflow.labels import history
from workflow.project.paths import Project, load_project
from workflow.project.rowfile import RowFile
from workflow.project.rows import read_catalog, read_rows, write_json, write_rows
from workflow.stages import dataset, preannotate

Json = dict[str, Any]
COMMANDS = (
    ("status",),
    ("dataset",),
    ("export", "coco", "out.json"),
    ("import", "coco"),
    ("history", "--restore", "1"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which every file of data/ has a line or more."""
    project = review_by_truth(draw_project(tmp_path_factory.mktemp("whole"), "detection", 4))
    labels = RowFile(project.labels)
    first = read_catalog(project.catalog)[0].id
    history.save(project, labels, "pull")
    labels.put(first, {**(labels.row(first) or {}), "task": 8})
    history.save(project, labels, "pull")
    predicted = preannotate.predictions_path(project)
    write_rows(
        predicted, ({**r, "state": "predicted"} for r in read_rows(project.labels) if r["annotations"])
    )
    ids = [r.id for r in read_catalog(project.catalog)]
    write_rows(project.ledger, [row(n, action("accepted", "disk"), image=i) for n, i in enumerate(ids)])
    write_rows(project.pushed, [{"image": i, "task": n, "versions": ["m@1"]} for n, i in enumerate(ids)])
    place = {"what": "label", "labels": {"disk": ["1"], "bar": ["2"]}}
    write_rows(project.disagreements, [{"image": i, "people": ["1", "2"], "on": [place]} for i in ids])
    write_json(project.data / "label-studio.json", {"url": "http://127.0.0.1:1", "key": "k", "project": 1})
    dataset.run(project)
    export.run(project, "coco", project.folder.parent / "source.json")
    return project.folder


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A copy of it, in a workspace where no server runs."""
    folder = tmp_path / "projects" / whole.name
    shutil.copytree(whole, folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKFLOW_STATE", str(tmp_path / "state"))
    yield load_project(folder)
    shared.locks.clear()


def type_in(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line here; its exit code."""
    shared.locks.clear()
    monkeypatch.setattr(sys, "argv", ["workflow", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def changed(line: bytes, change: Callable[[Json], object]) -> bytes:
    value = json.loads(line)
    if isinstance(value, list):
        value = {"a list": value}
    change(value)
    return json.dumps(value).encode() + b"\n"


def first_annotation(change: Callable[[Json], object]) -> Callable[[Json], object]:
    def do(value: Json) -> None:
        for annotation in value.get("annotations", ())[:1]:
            change(annotation)

    return do


def boxed(*box: object) -> Callable[[Json], object]:
    return first_annotation(lambda annotation: annotation.update(box=list(box)))


# What is done to the second line of a file.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda line: line[: len(line) // 2] + b"\n",
    "binary": lambda line: b"\x00\xff\xfe" + line,
    "utf-16": lambda line: line.decode().encode("utf-16"),
    "a list": lambda line: b"[" + line.strip() + b"]\n",
    "a number": lambda line: b"7\n",
    "null": lambda line: b"null\n",
    "nothing in it": lambda line: b"{}\n",
    "nan": lambda line: line.replace(b":", b":NaN,", 1),
    "infinite": lambda line: line.replace(b"[", b"[1e999,", 1),
    "unknown key": lambda line: changed(line, lambda v: v.update(unheard=1)),
    "no first key": lambda line: changed(line, lambda v: v.pop(next(iter(v)))),
    "no last key": lambda line: changed(line, lambda v: v.pop(list(v)[-1])),
    "all null": lambda line: changed(line, lambda v: v.update(dict.fromkeys(v))),
    "all lists": lambda line: changed(line, lambda v: v.update({k: [] for k in v})),
    "all text": lambda line: changed(line, lambda v: v.update(dict.fromkeys(v, "x"))),
    "all numbers": lambda line: changed(line, lambda v: v.update(dict.fromkeys(v, -1))),
    "deep": lambda line: b"[" * 5000 + b"\n",
    "no provenance": lambda line: changed(line, first_annotation(lambda a: a.pop("provenance"))),
    "another key in it": lambda line: changed(line, first_annotation(lambda a: a.update(lable="x"))),
    "reversed box": lambda line: changed(line, boxed(50, 50, 10, 10)),
    "text in a box": lambda line: changed(line, boxed("1", 2, 30, 40)),
    "three numbers": lambda line: changed(line, boxed(1, 2, 30)),
    "five numbers": lambda line: changed(line, boxed(1, 2, 30, 40, 50)),
    "null in a box": lambda line: changed(line, boxed(1, 2, None, 40)),
    "twice": lambda line: line + line,
}
READ_BY = {
    "labels.jsonl": COMMANDS,
    "catalog.jsonl": (
        ("status",),
        ("dataset",),
        ("export", "coco", "out.json"),
        ("history", "--restore", "1"),
    ),
    "ledger.jsonl": (("ledger",),),
    "history/000001.jsonl": (("history",), ("history", "--restore", "2")),
    ".stages/measured.jsonl": (("catalog", "--force"),),
    ".stages/catalog.json": (("status",), ("catalog",)),
    "classes.json": (("dataset",),),
}


def damages(path: Path) -> dict[str, bytes]:
    """A file's content, its second line (its only one, or all of a JSON file) damaged in each way."""
    content = path.read_bytes()
    lines = [content] if path.suffix == ".json" else content.splitlines(keepends=True)
    at = min(1, len(lines) - 1)
    return {name: b"".join([*lines[:at], do(lines[at]), *lines[at + 1 :]]) for name, do in DAMAGES.items()}


@pytest.mark.parametrize("file", READ_BY)
def test_every_command_reads_a_damaged_file_right_or_says_one_line(
    project: Project,
    whole: Path,
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = project.data / file
    source = ("--images", str(project.images), str(whole.parent / "source.json"))
    more = {"export": ("--force",), "import": source}
    refused, wrong = set(), []
    for name, content in damages(path).items():
        for words in READ_BY[file]:
            shutil.copytree(whole, project.folder, dirs_exist_ok=True)
            path.write_bytes(content)
            code = type_in(monkeypatch, *words, *more.get(words[0], ()))
            error = capsys.readouterr().err
            one_line = error.count("\n") == 1 and "fault of workflow" not in error and path.name in error
            if (code, error) != (0, "") and not (code == 1 and one_line):
                wrong.append((name, words, error))
            refused |= {name} if code else set()
    assert wrong == []
    assert refused >= {"cut", "a list", "null"} or ".stages" in file


def test_a_damaged_dataset_is_told_from_none(project: Project) -> None:
    """Which the stages after it ask for its version."""
    path = project.dataset / "dataset.json"
    whole = path.read_bytes()
    said = set()
    for content in damages(path).values():
        path.write_bytes(content)
        try:
            dataset.version(project)
        except StageError as error:
            said.add(str(error).partition(" (")[0])
    path.write_bytes(whole)
    assert len(dataset.version(project)) == 16
    assert said >= {
        f"{path}: not JSON",
        f"{path}: not a JSON object -> mend the file, or delete it and run again",
        f"{path}: says no version -> workflow dataset --force",
    }

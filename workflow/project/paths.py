"""`project.toml` -> checked settings and paths. Parsed once; below a stage, functions take values.

Unknown keys are refused, and all mistakes are reported together, each with its line and, where a
name was misspelt, the nearest valid one.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workflow.errors import ConfigError, FormatError
from workflow.project.remote import Remote, is_address
from workflow.project.settings import Settings
from workflow.project.text import read_text
from workflow.records import ImageRecord


@dataclass(frozen=True)
class Project:
    """A project folder and its settings; every path a stage reads or writes."""

    folder: Path
    settings: Settings

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def images(self) -> Path:
        """The folder of raw images. ConfigError where they lie elsewhere, and this is about files here."""
        if isinstance(self.image_root, Remote):
            what = f"images.folder is {self.image_root}: this needs the images on this machine"
            raise ConfigError([what], "copy them here and set images.folder to the copy; ids and labels stay")
        return self.image_root

    @property
    def image_root(self) -> Path | Remote:
        """Where the raw images are: a folder here, or an address."""
        folder = self.settings.images.folder
        return Remote(folder.rstrip("/")) if is_address(folder) else self.resolve(folder)

    @property
    def instructions(self) -> Path:
        """What annotators read before they label, in Markdown; there need not be one."""
        return self.folder / "instructions.md"

    @property
    def catalog(self) -> Path:
        return self.data / "catalog.jsonl"

    @property
    def quarantine(self) -> Path:
        return self.data / "quarantine.jsonl"

    @property
    def duplicates(self) -> Path:
        return self.data / "duplicates.jsonl"

    @property
    def groups(self) -> Path:
        """The images that go with their near-copies, and not by their own names."""
        return self.data / "groups.jsonl"

    @property
    def set_aside(self) -> Path:
        """The near-copies that `workflow duplicates --drop` leaves out of the catalog."""
        return self.data / "set-aside.jsonl"

    @property
    def measures(self) -> Path:
        return self.data / "measures.jsonl"

    @property
    def pushed(self) -> Path:
        return self.data / "pushed.jsonl"

    @property
    def labels(self) -> Path:
        return self.data / "labels.jsonl"

    @property
    def ledger(self) -> Path:
        return self.data / "ledger.jsonl"

    @property
    def disagreements(self) -> Path:
        return self.data / "disagreements.jsonl"

    @property
    def people(self) -> Path:
        """What those who label are called."""
        return self.data / "people.json"

    @property
    def simulated(self) -> Path:
        return self.data / "simulated.jsonl"

    @property
    def tags(self) -> Path:
        """The tags that people set, a line each."""
        return self.data / "tags.jsonl"

    @property
    def excluded(self) -> Path:
        """Images that are left out from now on, and why."""
        return self.data / "excluded.jsonl"

    @property
    def dataset(self) -> Path:
        return self.data / "dataset"

    @property
    def runs(self) -> Path:
        return self.data / "runs"

    @property
    def promotions(self) -> Path:
        return self.data / "promotions.jsonl"

    @property
    def marks(self) -> Path:
        return self.data / ".stages"

    @property
    def workspace(self) -> Path:
        """The folder that holds `projects/`, or the project's own where it stands alone."""
        return self.folder.parent.parent if self.folder.parent.name == "projects" else self.folder

    def resolve(self, path: str) -> Path:
        """A path of project.toml, relative to the project folder."""
        return (self.folder / Path(path).expanduser()).resolve()

    @property
    def copies(self) -> Path:
        """PNGs of the images that browsers do not show as they are; the catalog's records name them."""
        return self.data / "copies"

    @property
    def copied(self) -> Path:
        """Which images have a copy, and why."""
        return self.data / "copies.jsonl"

    def shown_path(self, record: ImageRecord) -> Path | Remote:
        """The file whose pixels people see and models are given: the image itself, or its copy."""
        return self.copies / Path(record.png).name if record.png else self.image_path(record.path)

    def image_path(self, relative: str) -> Path | Remote:
        """An image of the catalog; one whose path leads out of the image folder is refused."""
        root = self.image_root
        if isinstance(root, Remote):
            path: Path | Remote = root / relative
            inside = ".." not in relative.split("/")
        else:
            path = Path(os.path.normpath(root / relative))
            inside = path.is_relative_to(root)
        if not inside:
            raise ConfigError([f"{self.catalog}: {relative!r} leads out of {root}"])
        return path


def find_project(name: str | None, start: Path) -> Path:
    """The folder of a project given by path or by name under `projects/`; the only one by default."""
    projects = start / "projects"
    known = sorted(p.parent.name for p in projects.glob("*/project.toml"))
    if name is None:
        if (start / "project.toml").exists():
            return start
        if len(known) == 1:
            return projects / known[0]
        raise ConfigError([f"which project? {start} has {', '.join(known) or 'none'}"], "workflow STAGE NAME")
    for folder in (projects / name, start / name):
        if (folder / "project.toml").exists():
            return folder.resolve()
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"workflow new {name}"
    raise ConfigError([f"no project {name!r}: neither projects/{name} nor {name} has a project.toml"], hint)


def load_project(folder: Path) -> Project:
    """Parse and check `folder/project.toml`. ConfigError lists every mistake, with its line."""
    path = folder / "project.toml"
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise ConfigError([f"{path} does not exist"], "workflow new NAME") from None
    except FormatError as error:
        raise ConfigError([error.problem], error.fix) from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    try:
        return Project(folder.resolve(), Settings(**values))
    except ValidationError as error:
        problems = [_problem(path.name, text, e) for e in error.errors()]
        raise ConfigError(problems, f"edit {path}") from None


def _problem(file: str, text: str, error: Any) -> str:
    """One pydantic error as one line: where, what, and what was probably meant."""
    keys = [str(k) for k in error["loc"] if not isinstance(k, int)]
    what = error["msg"].removeprefix("Value error, ")
    if not keys:
        # What two sections contradict each other in has no place of its own, so it begins with its key.
        key, _, what = what.partition(": ")
        keys = key.split(".")
    where = f"{file}:{_line(text, keys)}: {'.'.join(keys)}".removesuffix(": ")
    if error["type"] == "extra_forbidden":
        valid = _fields(keys[:-1])
        near = difflib.get_close_matches(keys[-1], valid, 1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(valid)}"
        return f"{where}: unknown key; {meant}"
    if error["type"] == "missing":
        return f"{where}: is missing"
    value = error.get("input")
    shown = f", got {value!r}" if isinstance(value, str | int | float | bool) else ""
    return f"{where}: {what}{shown}"


def _fields(keys: list[str]) -> list[str]:
    model: Any = Settings
    for key in keys:
        model = model.model_fields[key].annotation
    return list(model.model_fields)


def _line(text: str, keys: list[str]) -> int:
    """The line on which a key, or the table that should hold it, stands; 1 where neither does."""
    table: list[str] = []
    nearest = 1
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = [part.strip(" \"'") for part in header[1].split(".")]
            if table == keys[: len(table)]:
                nearest = number
        elif (key := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]", line)) and [*table, key[1]] == keys[
            : len(table) + 1
        ]:
            return number
    return nearest

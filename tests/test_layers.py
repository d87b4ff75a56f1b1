"""Which room may import which, as docs/architecture.md has it; and a command line without heavy libraries."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workflow"
ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"
FILES = sorted(PACKAGE.rglob("*.py"))
# The rooms every room may import from.
GROUND = {"errors", "records", "tasks", "schema", "colours"}


def _table() -> dict[str, set[str]]:
    """Room -> rooms it may import from, by the table of docs/architecture.md."""
    rows = re.findall(r"^\| `([\w.]+)` \|([^|]*)\| [^|]+ \|$", ARCHITECTURE.read_text(), re.M)
    rooms = {room: set(re.findall(r"\w+", below)) - {"the", "ground"} for room, below in rows}
    return {room: below | (set() if room in GROUND else GROUND) for room, below in rooms.items()}


ROOMS = _table()


def _room(module: str) -> str:
    """workflow.labels.ledger -> labels"""
    return module.split(".")[1] if "." in module else ""


def _imports(path: Path) -> set[str]:
    """The rooms of ours that a file imports from, at its top or within functions."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{name.name}" for name in node.names}
    return {_room(name) for name in modules if name.split(".")[0] == "workflow"} - {"", "__version__"}


def _room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_is_in_the_table() -> None:
    assert {_room_of(path) for path in FILES} - {"__init__", "templates"} == set(ROOMS)


def test_rooms_are_drawn_from_the_ground_up() -> None:
    order = list(ROOMS)
    assert list(TopologicalSorter(ROOMS).static_order())
    for room, below in ROOMS.items():
        assert all(order.index(other) < order.index(room) for other in below), room


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_only_what_the_table_allows(path: Path) -> None:
    room = _room_of(path)
    if room != "__init__":
        strangers = _imports(path) - {room} - ROOMS[room]
        assert not strangers, f"{path.relative_to(PACKAGE)} imports from {sorted(strangers)}"


def test_one_place_picks_the_wing() -> None:
    """Another tool to review in is a second wing, and a line there."""
    assert {room for room, below in ROOMS.items() if "labelstudio" in below} == {"wing"}


def test_every_arrow_of_the_table_is_walked() -> None:
    walked = {(_room_of(path), other) for path in FILES for other in _imports(path)}
    idle = {(room, other) for room, below in ROOMS.items() for other in below - GROUND} - walked
    assert not idle


HEAVY = "torch, fiftyone, datasets, transformers, ultralytics, numpy, httpx, pydantic"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['workflow', '--help']\n"
        "from workflow.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        f"print(sorted(set('{HEAVY}'.split(', ')) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "preannotate" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"

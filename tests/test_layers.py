"""Imports point down, and the command line answers without the heavy libraries."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "workflow"
LAYERS = {
    "workflow": 0,
    "workflow.errors": 0,
    "workflow.records": 0,
    "workflow.geometry": 0,
    "workflow.masks": 0,
    "workflow.tasks": 0,
    "workflow.overlap": 1,
    "workflow.store": 1,
    "workflow.settings": 1,
    "workflow.project": 1,
    "workflow.runner": 1,
    "workflow.progress": 1,
    "workflow.worker": 1,
    "workflow.probes": 1,
    "workflow.ahead": 1,
    "workflow.rowfile": 1,
    "workflow.formats": 2,
    "workflow.models": 2,
    "workflow.images": 2,
    "workflow.label_studio": 2,
    "workflow.services": 2,
    "workflow.metrics": 2,
    "workflow.ledger": 2,
    "workflow.matching": 1,
    "workflow.training": 3,
    "workflow.app_dataset": 3,
    "workflow.figures": 3,
    "workflow.report": 3,
    "workflow.connection": 3,
    "workflow.exchange": 3,
    "workflow.backend": 3,
    "workflow.stages": 4,
    "workflow.cli": 5,
    "workflow.__main__": 5,
}
# Records and geometry are both of L0, as errors are; store, runner and project build on each other within L1;
# the report is drawn by its figures. Everything else imports from strictly below, or from its own folder.
WITHIN_LAYER = {0, 1, 4, 5}
NEIGHBOURS = {("workflow.report", "workflow.figures")}


def _room(module: str) -> str:
    """The entry of LAYERS a module belongs to: itself, or its folder."""
    parts = module.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else module


def _imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, at its top or within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names} | {node.module}
    rooms = {_room(name) for name in found if name.split(".")[0] == "workflow"}
    return {room for room in rooms if room in LAYERS and room != "workflow"}


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_file_has_its_layer() -> None:
    names = {_room(".".join(p.relative_to(PACKAGE.parent).with_suffix("").parts)) for p in FILES}
    assert {name.removesuffix(".__init__") for name in names} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    room = _room(module)
    for other in _imports(path) - {room}:
        allowed = LAYERS[other] < LAYERS[room] or (
            LAYERS[other] == LAYERS[room] and LAYERS[room] in WITHIN_LAYER
        )
        assert allowed or (room, other) in NEIGHBOURS, f"{module} imports {other}, which is not below it"


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

from __future__ import annotations

from pathlib import Path

from workflow import cli
from workflow.cli import COMMANDS


def test_a_command_is_the_file_of_its_name() -> None:
    places = {name: f"{command.__module__}.{command.__name__}" for name, command in COMMANDS.items()}
    files = {name: f"{name}_" if name in ("app", "import") else name for name in COMMANDS}
    assert places == {name: f"workflow.cli.{file}.{file}" for name, file in files.items()}


def test_no_file_of_a_command_is_forgotten() -> None:
    folder = Path(cli.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "shared"}
    assert files == {command.__module__.rpartition(".")[2] for command in COMMANDS.values()}

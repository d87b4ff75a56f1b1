from __future__ import annotations

from workflow.cli import COMMANDS


def test_a_command_is_the_file_of_its_name() -> None:
    places = {name: f"{command.__module__}.{command.__name__}" for name, command in COMMANDS.items()}
    files = {name: f"{name}_" if name in ("app", "import") else name for name in COMMANDS}
    assert places == {name: f"workflow.cli.{file}.{file}" for name, file in files.items()}

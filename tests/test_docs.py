"""What the documents say is what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from workflow.cli import app
from workflow.commands import new
from workflow.models import MODELS
from workflow.project.paths import load_project
from workflow.project.settings import Settings
from workflow.stages import STAGES, Stage

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
SETTINGS = (REPOSITORY / "docs" / "settings.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
MAKEFILE = (REPOSITORY / "Makefile").read_text()
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


def _sections() -> list[tuple[str, str, object]]:
    """Every setting as (section, key, default)."""
    rows = []
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += [(name, key, field.default) for key, field in kind.model_fields.items()]
        else:
            rows.append(("", name, info.default))
    return rows


@pytest.mark.parametrize(("section", "key", "default"), _sections(), ids=lambda v: str(v)[:20])
def test_every_setting_is_described_with_its_default(section: str, key: str, default: object) -> None:
    part = SETTINGS.split(f"**[{section}]**")[1].split("**[")[0] if section else SETTINGS.split("**[")[0]
    (row,) = [line for line in part.splitlines() if line.startswith(f"| `{key}` |")]
    shown = row.split("|")[2].strip().strip("`")
    if isinstance(default, bool | int | float | str):
        expected = str(default).lower() if isinstance(default, bool) else str(default)
        assert shown.strip('"') == expected


def test_no_setting_is_described_that_is_not_there() -> None:
    described = re.findall(r"^\| `(\w+)` \|", SETTINGS, re.M)
    assert sorted(described) == sorted(key for _, key, _ in _sections())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert "Example: workflow" in done.output


@pytest.mark.parametrize("stage", [*STAGES, "review", "ledger", "up", "down", "status", "doctor", "demo"])
def test_every_stage_is_a_command_and_a_target(stage: str) -> None:
    assert stage in COMMANDS
    assert re.search(rf"^{stage}:.*## ", MAKEFILE, re.M)


@pytest.mark.parametrize("stage", STAGES)
def test_the_readme_draws_every_stage(stage: str) -> None:
    assert re.search(rf"^  \d {stage} ", README, re.M)


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_a_stage_says_the_same_of_itself_everywhere(stage: Stage) -> None:
    (command,) = [c for c in app.registered_commands if c.callback and c.callback.__name__ == stage.name]
    assert command.callback and (command.callback.__doc__ or "").splitlines()[0] == stage.what
    reads, writes = (", ".join(f"`{name}`" for name in names) for names in (stage.reads, stage.writes))
    assert f"| `{stage.name}` | {stage.what} | {reads} | {writes} |" in ARCHITECTURE
    assert hasattr(stage.module, "plan") == stage.planned
    assert hasattr(stage.module, "state") != stage.planned


def test_a_stage_comes_after_those_whose_files_it_reads() -> None:
    order = list(STAGES)
    for stage in STAGES.values():
        assert all(order.index(other) < order.index(stage.name) for other in stage.after)


def test_make_alone_lists_the_targets() -> None:
    done = subprocess.run(["make", "-C", str(REPOSITORY)], capture_output=True, text=True, check=True)
    listed = re.findall(r"^  make (\w+) +\S", done.stdout, re.M)
    assert listed == re.findall(r"^(\w+):.*## ", MAKEFILE, re.M)


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^(\w+):", MAKEFILE, re.M))
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    named = {
        word
        for line in "\n".join(blocks).splitlines()
        for call in re.findall(r"make ((?:[a-z]+ ?)+)", line.split("#")[0])
        for word in call.split()
    }
    assert {"demo", "test", "setup", "up", "catalog", "evaluate"} <= named <= targets


def test_links_and_pictures_are_there() -> None:
    for document in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} -> {target}"


def test_every_model_family_is_named_in_the_documents() -> None:
    assert all(family in README for family in MODELS)


def test_a_new_project_is_valid(tmp_path: Path) -> None:
    folder = new.run(tmp_path, "my-street")
    project = load_project(folder)
    assert (project.name, project.settings.title) == ("my-street", "My street")
    assert project.images.is_dir()


def test_ultralytics_licence_is_stated() -> None:
    assert "ultralytics" in README and "AGPL-3.0" in README
